"""The pattern-conditioned policy pi(a|s,z) and its critic: small MLPs on simulator state."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, logsigmoid, one_hot

MOTION = 6
"""The first six actions, Gaussian: end-effector translation and rotation."""
ACTIONS = 7
"""With the gripper, Bernoulli: +1 closes, -1 opens."""
MINIMUM_STD, MAXIMUM_STD = 0.02, 0.2
OBSERVATION_CLIP = 5.0


class Linear(nn.Linear):
    """A linear layer; without gradients, each row is computed by itself.

    A matrix product's rounding depends on its number of rows. Rollouts multiply row by row, so
    that an episode does not depend on how many others run beside it.
    """

    def forward(self, input: Tensor) -> Tensor:
        """Return `input @ weight.T + bias`. Shapes: (n, in) -> (n, out)."""
        if torch.is_grad_enabled():
            return super().forward(input)
        n = len(input)
        weight = self.weight.t().expand(n, -1, -1)
        return torch.baddbmm(self.bias.expand(n, 1, -1), input[:, None], weight)[:, 0]


def mlp(inputs: int, hidden: Sequence[int], outputs: int) -> nn.Sequential:
    """Return a tanh MLP with orthogonal weights; its last layer starts near zero."""
    sizes = [inputs, *hidden]
    layers: list[nn.Module] = []
    for a, b in pairwise(sizes):
        layer = Linear(a, b)
        nn.init.orthogonal_(layer.weight, gain=5 / 3)
        nn.init.zeros_(layer.bias)
        layers += [layer, nn.Tanh()]
    last = Linear(sizes[-1], outputs)
    nn.init.orthogonal_(last.weight, gain=0.01)
    nn.init.zeros_(last.bias)
    return nn.Sequential(*layers, last)


class Normalizer(nn.Module):
    """Standardises observations by fixed statistics, clips to +-5 and zeroes constant features."""

    mean: Tensor
    scale: Tensor

    def __init__(self, size: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(size))
        self.register_buffer("scale", torch.ones(size))

    def fit(
        self,
        observations: np.ndarray,
        floor: float | np.ndarray = 1e-3,
        constant: float = 1e-5,
    ) -> None:
        """Take mean and standard deviation from data.

        Args:
            observations: (n, size).
            floor: smallest standard deviation that is divided by, for all features or each.
            constant: a feature whose standard deviation is below this says nothing and is zeroed.
        """
        std = observations.std(axis=0, dtype=np.float64)
        scale = np.where(std < constant, 0.0, 1 / np.maximum(std, floor))
        self.mean.copy_(torch.from_numpy(observations.mean(axis=0, dtype=np.float64)))
        self.scale.copy_(torch.from_numpy(scale))

    def forward(self, observations: Tensor) -> Tensor:
        """Normalise. Shape: (n, size)."""
        normal = (observations - self.mean) * self.scale
        return normal.clamp(-OBSERVATION_CLIP, OBSERVATION_CLIP)


@dataclass(frozen=True)
class ActionDistribution:
    """Six independent Gaussians for motion and a Bernoulli for the gripper."""

    mean: Tensor
    """Motion means. Shape: (n, 6)."""
    log_std: Tensor
    """State-independent. Shape: (6,)."""
    logit: Tensor
    """Log-odds of closing the gripper. Shape: (n,)."""

    def log_prob(self, actions: Tensor) -> Tensor:
        """Return the log-likelihood of actions (n, 7). Shape: (n,)."""
        z = (actions[:, :MOTION] - self.mean) * torch.exp(-self.log_std)
        motion = (-0.5 * z**2 - self.log_std - 0.5 * np.log(2 * np.pi)).sum(-1)
        return motion + logsigmoid(torch.where(actions[:, MOTION] > 0, self.logit, -self.logit))

    def entropy(self) -> Tensor:
        """Return the entropy in nats. Shape: (n,)."""
        motion = (self.log_std + 0.5 * np.log(2 * np.pi * np.e)).sum()
        p = torch.sigmoid(self.logit)
        return motion + binary_cross_entropy_with_logits(self.logit, p, reduction="none")

    def kl(self, other: ActionDistribution) -> Tensor:
        """Return KL(self || other) in closed form. Shape: (n,)."""
        variance_ratio = torch.exp(2 * (self.log_std - other.log_std))
        distance = ((self.mean - other.mean) * torch.exp(-other.log_std)) ** 2
        motion = 0.5 * (variance_ratio + distance - 1) + other.log_std - self.log_std
        p = torch.sigmoid(self.logit)
        close = logsigmoid(self.logit) - logsigmoid(other.logit)
        open_ = logsigmoid(-self.logit) - logsigmoid(-other.logit)
        return motion.sum(-1) + p * close + (1 - p) * open_

    def mode(self) -> Tensor:
        """Return the likeliest actions. Shape: (n, 7)."""
        return torch.cat([self.mean, _gripper(self.logit > 0)], dim=-1)

    def sample(self, noise: Tensor) -> Tensor:
        """Return actions from noise (n, 7): six standard normals and a uniform in [0, 1)."""
        motion = self.mean + torch.exp(self.log_std) * noise[:, :MOTION]
        return torch.cat([motion, _gripper(noise[:, MOTION] < torch.sigmoid(self.logit))], dim=-1)


def _gripper(close: Tensor) -> Tensor:
    return (close.float() * 2 - 1)[:, None]


def draw_noise(generator: np.random.Generator) -> np.ndarray:
    """Return the noise of one action for `ActionDistribution.sample`. Shape: (7,), float32."""
    noise = np.append(generator.standard_normal(MOTION), generator.random())
    return noise.astype(np.float32)


class GaussianPolicy(nn.Module):
    """An MLP from normalised observation and one-hot pattern to an action distribution."""

    def __init__(self, observation_dim: int, patterns: int, hidden: Sequence[int]) -> None:
        """Build with `patterns` one-hot inputs; 0 means that there is no pattern."""
        super().__init__()
        self.observation_dim, self.patterns, self.hidden = observation_dim, patterns, tuple(hidden)
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

    def set_std(self, std: float) -> None:
        """Set the standard deviation of all motion actions."""
        with torch.no_grad():
            self.raw_log_std.fill_(float(np.log(std)))

    @torch.no_grad()
    def bound_std(self) -> None:
        """Put the standard deviations back within their bounds, after an optimiser's step."""
        self.raw_log_std.copy_(self.log_std)

    def features(self, observations: Tensor, pattern: Tensor) -> Tensor:
        """Return the network's input. Shapes: (n, P), (n,) int64 -> (n, P + K)."""
        normal = self.normalizer(observations)
        if not self.patterns:
            return normal
        return torch.cat([normal, one_hot(pattern, self.patterns).float()], dim=-1)

    def distribution(self, features: Tensor) -> ActionDistribution:
        """Return pi(a|s,z) from `features`."""
        output = self.network(features)
        return ActionDistribution(output[:, :MOTION], self.log_std, output[:, MOTION])

    def forward(self, observations: Tensor, pattern: Tensor) -> ActionDistribution:
        """Return pi(a|s,z). Shapes: (n, P) float32, (n,) int64 (ignored without patterns)."""
        return self.distribution(self.features(observations, pattern))

    @torch.no_grad()
    def act(
        self, observations: np.ndarray, pattern: np.ndarray, noise: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return actions (n, 7) and their log-probabilities (n,), both float32.

        Args:
            observations: (n, P).
            pattern: (n,) integers in 0..K-1; ignored without patterns.
            noise: (n, 7) of `draw_noise`, its first six columns scaled as wished.
        """
        policy = self(
            torch.from_numpy(np.asarray(observations, dtype=np.float32)),
            torch.from_numpy(np.asarray(pattern, dtype=np.int64)),
        )
        actions = policy.sample(torch.from_numpy(noise))
        return actions.numpy(), policy.log_prob(actions).numpy()


class Critic(nn.Module):
    """V(s, z, t): log-odds of the discounted success, which lies in [0, 1]."""

    def __init__(self, features: int, hidden: Sequence[int]) -> None:
        super().__init__()
        self.network = mlp(features + 1, hidden, 1)

    def forward(self, features: Tensor, time: Tensor) -> Tensor:
        """Return logits (n,) from the policy's features (n, F) and time / horizon (n,)."""
        return self.network(torch.cat([features, time[:, None] * 2 - 1], dim=-1))[:, 0]
