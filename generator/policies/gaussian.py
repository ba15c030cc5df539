"""The pattern-conditioned policy pi(a|s,z) as a small Gaussian MLP on the simulator's state."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, logsigmoid, one_hot

from generator.arithmetic import exp, log, sqrt
from generator.config import SCORED_STDS
from generator.networks import Normalizer, mlp
from generator.policies.policy import Decision, Distribution, Exploration, Policy

MOTION = 6
"""The first six actions, Gaussian: end-effector translation and rotation."""
ACTIONS = 7
"""With the gripper, Bernoulli: +1 closes, -1 opens."""
MINIMUM_STD, MAXIMUM_STD = SCORED_STDS


@dataclass(frozen=True)
class ActionDistribution(Distribution):
    """Six independent Gaussians for motion and a Bernoulli for the gripper."""

    mean: Tensor
    """Motion means. Shape: (n, 6)."""
    log_std: Tensor
    """State-independent. Shape: (6,)."""
    logit: Tensor
    """Log-odds of closing the gripper. Shape: (n,)."""

    def log_prob(self, trace: Mapping[str, Tensor]) -> Tensor:
        """Return the log-likelihood of the chosen actions (n, 7). Shape: (n,)."""
        actions = trace["chosen"]
        z = (actions[:, :MOTION] - self.mean) * exp(-self.log_std)
        motion = (-0.5 * z**2 - self.log_std - 0.5 * np.log(2 * np.pi)).sum(-1)
        return motion + logsigmoid(torch.where(actions[:, MOTION] > 0, self.logit, -self.logit))

    def entropy(self) -> Tensor:
        """Return the entropy in nats. Shape: (n,)."""
        motion = (self.log_std + 0.5 * np.log(2 * np.pi * np.e)).sum()
        p = torch.sigmoid(self.logit)
        return motion + binary_cross_entropy_with_logits(self.logit, p, reduction="none")

    def kl(self, other: ActionDistribution) -> Tensor:
        """Return KL(self || other) in closed form. Shape: (n,)."""
        variance_ratio = exp(2 * (self.log_std - other.log_std))
        distance = ((self.mean - other.mean) * exp(-other.log_std)) ** 2
        motion = 0.5 * (variance_ratio + distance - 1) + other.log_std - self.log_std
        p = torch.sigmoid(self.logit)
        close = logsigmoid(self.logit) - logsigmoid(other.logit)
        open_ = logsigmoid(-self.logit) - logsigmoid(-other.logit)
        return motion.sum(-1) + p * close + (1 - p) * open_

    def given_past(self, begins: Tensor, memory: float) -> Self:
        """Return the distribution of each motion less `memory` times the one before it."""
        return replace(self, mean=less_before(self.mean[:, None], begins, memory)[:, 0])

    def __getitem__(self, index: Tensor) -> ActionDistribution:
        """Return some of the distributions."""
        return ActionDistribution(self.mean[index], self.log_std, self.logit[index])

    def mode(self) -> Tensor:
        """Return the likeliest actions. Shape: (n, 7)."""
        return torch.cat([self.mean, _gripper(self.logit > 0)], dim=-1)

    def errors(self, trace: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Return chosen less likeliest motion (n, 6), and whether the gripper is right (n,)."""
        chosen = trace["chosen"]
        return chosen[:, :MOTION] - self.mean, (chosen[:, MOTION] > 0) == (self.logit > 0)

    def sample(self, noise: Tensor) -> Tensor:
        """Return actions from noise (n, 7): what is added to motion, and a uniform in [0, 1)."""
        motion = self.mean + noise[:, :MOTION]
        return torch.cat([motion, _gripper(noise[:, MOTION] < torch.sigmoid(self.logit))], dim=-1)


def less_before(means: Tensor, begins: Tensor, memory: float) -> Tensor:
    """Return means (d, C, k) of d decisions less `memory` times that of the action before each.

    Before the first action of a decision comes the last of the decision before, and nothing where
    an episode begins (d,).
    """
    before = means.flatten(0, 1).roll(1, 0).view_as(means)
    before[begins, 0] = 0.0
    return means - memory * before


def _gripper(close: Tensor) -> Tensor:
    return (close.float() * 2 - 1)[:, None]


class GaussianNoise:
    """One episode's noise: six normals, a share of which is carried on, and a uniform."""

    def __init__(self, rng: np.random.Generator, exploration: Exploration) -> None:
        self._rng, self._exploration = rng, exploration
        self.carry = np.zeros(MOTION, np.float32)

    def draw(self) -> tuple[np.ndarray, np.ndarray]:
        """Return a step's fresh noise for `ActionDistribution.sample` (7,) and the carried (6,).

        PPO's ratio scores the fresh noise alone and takes the carried as given: with memory its
        step is a filtered policy gradient, without memory the exact one.
        """
        fresh = np.append(self._rng.standard_normal(MOTION), self._rng.random()).astype(np.float32)
        fresh[:MOTION] *= self._exploration.std
        carried = self.carry
        self.carry = self._exploration.memory * (carried + fresh[:MOTION])
        return fresh, carried

    def skip(self, steps: int) -> None:
        """Pass over the noise of steps that are not asked for."""
        for _ in range(steps):
            self.draw()


class GaussianPolicy(Policy):
    """An MLP from normalised observation and one-hot pattern to an action distribution."""

    observes = "state"
    network: nn.Module

    def __init__(self, observation_dim: int, patterns: int, hidden: Sequence[int]) -> None:
        """Build with `patterns` one-hot inputs; 0 means that there is no pattern."""
        super().__init__()
        self.observation_dim, self.patterns, self.hidden = observation_dim, patterns, tuple(hidden)
        self.feature_dim = observation_dim + patterns
        self.normalizer = Normalizer(observation_dim)
        self.network = mlp(observation_dim + patterns, hidden, ACTIONS)
        self.raw_log_std = nn.Parameter(torch.full((MOTION,), float(np.log(0.1))))

    def architecture(self) -> dict[str, int | list[int]]:
        """Return the constructor's arguments, as JSON can hold them."""
        return {
            "observation_dim": self.observation_dim,
            "patterns": self.patterns,
            "hidden": list(self.hidden),
        }

    @property
    def log_std(self) -> Tensor:
        """Log standard deviation of the motion actions, within its bounds. Shape: (6,)."""
        return self.raw_log_std.clamp(float(np.log(MINIMUM_STD)), float(np.log(MAXIMUM_STD)))

    @property
    def std(self) -> Tensor:
        """Standard deviation of the motion actions. Shape: (6,)."""
        return exp(self.log_std)

    def explore(self, std: float) -> None:
        """Set the standard deviation that all motion actions are scored with; it is fixed then."""
        self.raw_log_std.requires_grad_(False)
        self.set_std(torch.full((MOTION,), std))

    @torch.no_grad()
    def set_std(self, std: Tensor) -> None:
        """Set the standard deviations (6,), within their bounds."""
        self.raw_log_std.copy_(log(std.clamp(MINIMUM_STD, MAXIMUM_STD)))

    @torch.no_grad()
    def constrain(self) -> None:
        """Put the standard deviations back within their bounds, after an optimiser's step."""
        self.raw_log_std.copy_(self.log_std)

    def features(self, observations: Tensor, pattern: Tensor) -> Tensor:
        """Return the network's input. Shapes: (n, P), (n,) int64 -> (n, P + K)."""
        normal = self.normalizer(observations)
        if not self.patterns:
            return normal
        return torch.cat([normal, one_hot(pattern, self.patterns).float()], dim=-1)

    def distribution(
        self, features: Tensor, trace: Mapping[str, Tensor] | None = None
    ) -> ActionDistribution:
        """Return pi(a|s,z) from `features`; it does not depend on what was decided."""
        output = self.network(features)
        return ActionDistribution(output[:, :MOTION], self.log_std, output[:, MOTION])

    def forward(self, observations: Tensor, pattern: Tensor) -> ActionDistribution:
        """Return pi(a|s,z). Shapes: (n, P) float32, (n,) int64 (ignored without patterns)."""
        return self.distribution(self.features(observations, pattern))

    def prepare(self, observations: np.ndarray, actions: np.ndarray) -> None:
        """Take the normalisation of observations (n, P) from training data; not of actions (n, 7).

        Before cloning, whose loss and what it is judged by are the policy's own.
        """
        self.normalizer.fit(observations)

    def cloning_loss(
        self, features: Tensor, trace: Mapping[str, Tensor], rng: torch.Generator
    ) -> Tensor:
        """Return the negative log-likelihood of recorded decisions; `rng` is of other losses."""
        return -self.distribution(features, trace).log_prob(trace).mean()

    def settle(self, features: Tensor, trace: Mapping[str, Tensor]) -> float:
        """Take the std from the errors on validation data; return the loss that judges weights."""
        motion, _ = self.distribution(features, trace).errors(trace)
        self.set_std(sqrt(motion.pow(2).mean(dim=0)))
        return self.losses(features, trace)["negative_log_likelihood"]

    def losses(self, features: Tensor, trace: Mapping[str, Tensor]) -> dict[str, float]:
        """Return what a report says of the fit to data."""
        distribution = self.distribution(features, trace)
        motion, gripper = distribution.errors(trace)
        return {
            "negative_log_likelihood": float(-distribution.log_prob(trace).detach().mean()),
            "motion_error": float(motion.detach().abs().mean()),
            "gripper_accuracy": float(gripper.float().mean()),
        }

    def finish(self) -> None:
        """Do what is to be done once after cloning: nothing."""

    def noise(self, rng: np.random.Generator, exploration: Exploration) -> GaussianNoise:
        """Return one episode's noise."""
        return GaussianNoise(rng, exploration)

    @torch.no_grad()
    def act(
        self, observations: np.ndarray, pattern: np.ndarray, noise: Sequence[GaussianNoise]
    ) -> Decision:
        """Sample actions (n, 7); the trace has those without the noise carried from before.

        Args:
            observations: (n, P).
            pattern: (n,) integers in 0..K-1; ignored without patterns.
            noise: of each episode.
        """
        policy = self(
            torch.from_numpy(np.asarray(observations, dtype=np.float32)),
            torch.from_numpy(np.asarray(pattern, dtype=np.int64)),
        )
        fresh, carried = map(np.stack, zip(*[episode.draw() for episode in noise], strict=True))
        actions = policy.sample(torch.from_numpy(fresh)).numpy()
        actions[:, :MOTION] += carried
        chosen = actions.copy()
        chosen[:, :MOTION] -= carried
        return Decision(actions, {"chosen": chosen})
