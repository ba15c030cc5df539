"""An iteration's episodes put together for PPO, and their advantages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from generator.policies.policy import Policy
from generator.rollout import Rollout


@dataclass(frozen=True)
class Batch:
    """All steps of an iteration's episodes, one after the other: n in total."""

    features: Tensor
    """Normalised observation and pattern. Shape: (n, P + K)."""
    patterns: Tensor
    """z, or zeros without patterns. Shape: (n,), int64."""
    trace: Mapping[str, Tensor]
    """What the policy noted of its decisions, n rows each."""
    time: Tensor
    """Step / horizon. Shape: (n,)."""
    decided: Tensor
    """Whether the step decided something, or carried out what was decided before. Shape: (n,)."""
    lengths: list[int]
    """Steps of each episode."""
    success: Tensor
    """Whether the step's episode succeeded. Shape: (n,), bool."""
    seen_by_critic: Tensor
    """`features`, or of the simulator's states where the policy observes something else."""
    memory: float
    """Of the motion's noise that the episodes were acted with."""

    @property
    def firsts(self) -> np.ndarray:
        """Index of each episode's first step. Shape: (episodes,)."""
        return np.cumsum([0, *self.lengths[:-1]])

    @property
    def begins(self) -> Tensor:
        """Whether the step is its episode's first. Shape: (n,), bool."""
        found = torch.zeros(len(self.features), dtype=torch.bool)
        found[self.firsts] = True
        return found


def make_batch(policy: Policy, episodes: Sequence[Rollout], horizon: int = 1) -> Batch:
    """Put episodes together; `horizon` is what time is a share of."""
    patterns = np.concatenate([np.full(len(e), max(e.spec.pattern, 0)) for e in episodes])
    observations = torch.from_numpy(np.concatenate([e.observations for e in episodes]))
    z = torch.from_numpy(patterns)
    time = np.concatenate([(e.spec.first + np.arange(len(e))) / horizon for e in episodes])
    trace = {
        name: torch.from_numpy(np.concatenate([e.trace[name] for e in episodes]))
        for name in episodes[0].trace
    }
    with torch.no_grad():
        features = seen = policy.features(observations, z)
        if policy.observes != "state":
            states = torch.from_numpy(np.concatenate([e.states for e in episodes]))
            seen = policy.critic_features(states, z)
    return Batch(
        features=features,
        patterns=z,
        trace=trace,
        time=torch.from_numpy(time.astype(np.float32)),
        decided=trace["length"] > 0 if "length" in trace else torch.ones(len(z), dtype=torch.bool),
        lengths=[len(e) for e in episodes],
        success=torch.from_numpy(np.concatenate([np.full(len(e), e.success) for e in episodes])),
        seen_by_critic=seen,
        memory=episodes[0].exploration.memory,
    )


def sums(values: np.ndarray, lengths: Sequence[int]) -> np.ndarray:
    """Return the sums over consecutive episodes of (n,) values. Shape: (episodes,)."""
    return np.add.reduceat(values, np.cumsum([0, *lengths[:-1]]))


def advantages_and_returns(
    values: np.ndarray,
    rewards: np.ndarray,
    lengths: Sequence[int],
    gamma: float,
    gae_lambda: float,
    decided: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Return generalised advantages and lambda-returns (n,) of consecutive episodes.

    Every episode's end is terminal: running out of time is a failure, which the critic can foresee
    because it is told the time. Lambda counts decisions, not steps: what a chunk of actions earns
    while it is carried out belongs to it as a whole.

    Args:
        values: V at every step (n,).
        rewards: of every step (n,).
        lengths: steps of each episode, summing to n.
        gamma: discount.
        gae_lambda: lambda.
        decided: which steps decide (n,); by default all.
    """
    kept = np.full(len(values), gae_lambda)
    if decided is not None:
        kept[~decided] = 1.0
    advantages = np.zeros_like(values)
    start = 0
    for length in lengths:
        last, following = 0.0, 0.0  # of the step after t, lambda included, and its value
        for t in reversed(range(start, start + length)):
            delta = rewards[t] + gamma * following - values[t]
            advantages[t] = delta + gamma * last
            last, following = kept[t] * advantages[t], values[t]
        start += length
    return advantages, advantages + values


def normalise_per_pattern(advantages: Tensor, patterns: Tensor, floor: float) -> Tensor:
    """Standardise advantages within each pattern, so that none drowns another. Shape: (n,)."""
    normal = torch.zeros_like(advantages)
    for z in patterns.unique():
        chosen = patterns == z
        part = advantages[chosen]
        normal[chosen] = (part - part.mean()) / part.std(unbiased=False).clamp_min(floor)
    return normal
