"""A Gaussian policy that decides several actions at once and looks again when they are done.

A decision is scored at the step at which it is made, as a whole; at the steps in between nothing
is decided, the log-probability is 0 whatever the weights, and so PPO's ratio is 1 there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from generator.networks import mlp
from generator.policies.gaussian import (
    ACTIONS,
    MOTION,
    ActionDistribution,
    GaussianNoise,
    GaussianPolicy,
    less_before,
)
from generator.policies.policy import Decision, Exploration


@dataclass(frozen=True)
class ChunkDistribution(ActionDistribution):
    """Chunks of C actions for n steps; what is inherited has a row for each of n * C actions."""

    length: Tensor
    """How many actions of its chunk each step decides; 0 between decisions. Shape: (n,)."""

    @property
    def counted(self) -> Tensor:
        """Which actions are decided. Shape: (n, C), bool."""
        chunk = len(self.logit) // len(self.length)
        return torch.arange(chunk) < self.length[:, None]

    def _sum(self, each: Tensor) -> Tensor:
        counted = self.counted
        return torch.where(counted, each.view(counted.shape), 0.0).sum(-1)

    def log_prob(self, trace: Mapping[str, Tensor]) -> Tensor:
        """Return the log-likelihood of the chosen chunks (n, C, 7). Shape: (n,)."""
        return self._sum(super().log_prob({"chosen": trace["chosen"].flatten(0, 1)}))

    def entropy(self) -> Tensor:
        """Return the entropy in nats. Shape: (n,)."""
        return self._sum(super().entropy())

    def kl(self, other: ActionDistribution) -> Tensor:
        """Return KL(self || other) in closed form. Shape: (n,)."""
        return self._sum(super().kl(other))

    def given_past(self, begins: Tensor, memory: float) -> Self:
        """Return the distribution of each motion less `memory` times the one before it."""
        means, decided = self.mean.view(len(self.length), -1, MOTION).clone(), self.length > 0
        means[decided] = less_before(means[decided], begins[decided], memory)
        return replace(self, mean=means.flatten(0, 1))

    def errors(self, trace: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Return the errors of all m decided actions. Shapes: (m, 6), (m,) bool."""
        motion, gripper = super().errors({"chosen": trace["chosen"].flatten(0, 1)})
        decided = self.counted.flatten()
        return motion[decided], gripper[decided]

    def __getitem__(self, index: Tensor) -> ChunkDistribution:
        """Return some of the distributions."""
        n = len(self.length)
        return ChunkDistribution(
            self.mean.view(n, -1, MOTION)[index].flatten(0, 1),
            self.log_std,
            self.logit.view(n, -1)[index].flatten(),
            self.length[index],
        )


class ChunkNoise(GaussianNoise):
    """One episode's noise, and what is left of the chunk that it is carrying out."""

    def __init__(self, rng: np.random.Generator, exploration: Exploration) -> None:
        super().__init__(rng, exploration)
        self.left: list[np.ndarray] = []

    def draw_chunk(self, chunk: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the fresh noise of the next steps (C, 7) and what each carries on (C, 6)."""
        fresh, carried = zip(*[self.draw() for _ in range(chunk)], strict=True)
        return np.stack(fresh), np.stack(carried)

    def skip(self, steps: int) -> None:
        """Pass over steps that are not asked for: first those that were decided already."""
        decided = min(steps, len(self.left))
        del self.left[:decided]
        super().skip(steps - decided)


class ChunkPolicy(GaussianPolicy):
    """An MLP from normalised observation and one-hot pattern to distributions of C actions."""

    def __init__(
        self, observation_dim: int, patterns: int, hidden: Sequence[int], chunk: int
    ) -> None:
        """Build with chunks of `chunk` actions."""
        super().__init__(observation_dim, patterns, hidden)
        self.chunk = chunk
        self.network = mlp(self.feature_dim, hidden, chunk * ACTIONS)

    def architecture(self) -> dict[str, int | list[int]]:
        """Return the constructor's arguments, as JSON can hold them."""
        return {**super().architecture(), "chunk": self.chunk}

    def distribution(
        self, features: Tensor, trace: Mapping[str, Tensor] | None = None
    ) -> ChunkDistribution:
        """Return the distribution of whole chunks, or of what the trace says was decided."""
        output = self.network(features).view(-1, ACTIONS)
        whole = torch.full((len(features),), self.chunk)
        length = whole if trace is None else trace["length"]
        return ChunkDistribution(output[:, :MOTION], self.log_std, output[:, MOTION], length)

    def noise(self, rng: np.random.Generator, exploration: Exploration) -> ChunkNoise:
        """Return one episode's noise."""
        return ChunkNoise(rng, exploration)

    @torch.no_grad()
    def act(self, observations: np.ndarray, pattern: np.ndarray, noise: Sequence[Any]) -> Decision:
        """Return each episode's next action (n, 7), of a new chunk where the last one is done.

        The trace has the chunks without the noise carried from before (n, C, 7), and how many
        actions were decided (n,): C, or 0 where a chunk is being carried out.
        """
        chosen = np.zeros((len(noise), self.chunk, ACTIONS), np.float32)
        length = np.zeros(len(noise), np.int64)
        new = [i for i, episode in enumerate(noise) if not episode.left]
        if new:
            policy = self(
                torch.from_numpy(np.asarray(observations[new], dtype=np.float32)),
                torch.from_numpy(np.asarray(pattern[new], dtype=np.int64)),
            )
            drawn = [noise[i].draw_chunk(self.chunk) for i in new]
            fresh = np.concatenate([each for each, _ in drawn])
            actions = policy.sample(torch.from_numpy(fresh)).numpy()
            chosen[new], length[new] = actions.reshape(len(new), self.chunk, ACTIONS), self.chunk
            for i, (_, carried) in zip(new, drawn, strict=True):
                applied = chosen[i].copy()
                applied[:, :MOTION] += carried
                noise[i].left = list(applied)
        applied = np.stack([episode.left.pop(0) for episode in noise])
        return Decision(applied, {"chosen": chosen, "length": length})


def chunks(actions: np.ndarray, chunk: int) -> dict[str, np.ndarray]:
    """Return what a `ChunkPolicy` would note if it decided a chunk of actions (T, 7) every step.

    Returns:
        `chosen` (T, C, 7), at the end filled up with the last action, and `length` (T,), how many
        actions there are until then.
    """
    steps = len(actions)
    index = np.arange(steps)[:, None] + np.arange(chunk)
    length = np.minimum(chunk, steps - np.arange(steps))
    return {"chosen": actions[np.minimum(index, steps - 1)], "length": length}
