"""What every policy pi(a|s,z) of the generator offers: acting, and being fine-tuned by PPO."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Protocol, Self

import numpy as np
import numpy.typing as npt
from torch import Tensor, nn

FloatArray = npt.NDArray[np.floating[Any]]
Trace = Mapping[str, np.ndarray]
"""What a policy notes of its decisions, to score them later; each array has a row per decision."""


@dataclass(frozen=True)
class Exploration:
    """The noise of the six motion actions: an AR(1) process of its own, whatever the policy's std.

    The gripper is always sampled from the policy, which hesitates at the moment of grasping, where
    the likelier of its two actions may be to wait forever.
    """

    std: float = 0.0
    """Standard deviation of what each step adds, in units of the action; 0 for the mean action."""
    memory: float = 0.0
    """Share of the noise that the next step inherits."""


@dataclass(frozen=True)
class Decision:
    """What a policy decides for n episodes at one step."""

    actions: FloatArray
    """As applied, unclipped. Shape: (n, 7), float32."""
    trace: Trace
    """What `Policy.distribution` needs to score the decision."""


class Noise(Protocol):
    """One episode's source of randomness."""

    def skip(self, steps: int) -> None:
        """Pass over the noise of steps that are not asked for."""


class Distribution(ABC):
    """The distribution of n recorded decisions, each made in m steps: one, but of a chain."""

    @abstractmethod
    def log_prob(self, trace: Mapping[str, Tensor]) -> Tensor:
        """Return the log-likelihood of what was decided. Shape: (n,)."""

    def log_probs(self, trace: Mapping[str, Tensor]) -> Tensor:
        """Return the log-likelihood of each step, the last step last. Shape: (n, m)."""
        return self.log_prob(trace)[:, None]

    @abstractmethod
    def kl(self, other: Any) -> Tensor:
        """Return KL(self || other), both of the same policy class and trace. Shape: (n,)."""

    @abstractmethod
    def given_past(self, begins: Tensor, memory: float) -> Self:
        """Return the distribution of each motion less `memory` times the one before it.

        With noise of such a memory a motion given the episode's past is Gaussian about its mean
        plus `memory` times what the motion before was off its own. So KLs of what this returns are
        those given the past, and their sum is that of whole episodes.

        Args:
            begins: which rows are an episode's first (n,), bool.
            memory: of the noise that was acted with.
        """

    @abstractmethod
    def entropy(self) -> Tensor:
        """Return the entropy in nats. Shape: (n,)."""

    @abstractmethod
    def __getitem__(self, index: Tensor) -> Self:
        """Return the distributions of some of the decisions."""


class Policy(nn.Module, ABC):
    """pi(a|s,z): acts on many episodes at once, each with randomness of its own."""

    observes: ClassVar[Literal["state", "pixels"]]
    """What it looks at: a key of `generator.policies.observers.OBSERVERS`."""
    patterns: int
    """K, or 0 where it has no pattern."""
    feature_dim: int
    """Size F of its features, which the critic sees too where the policy observes the state."""

    @property
    def critic_dim(self) -> int:
        """Size of what the critic sees."""
        return self.feature_dim

    def critic_features(self, states: Tensor, pattern: Tensor) -> Tensor:
        """Return what the critic sees, of the simulator's states (n, P) and the pattern (n,)."""
        return self.features(states, pattern)

    @abstractmethod
    def architecture(self) -> dict[str, Any]:
        """Return the constructor's arguments, as JSON can hold them."""

    @abstractmethod
    def noise(self, rng: np.random.Generator, exploration: Exploration) -> Noise:
        """Return one episode's source of randomness, which `act` draws from step by step."""

    @abstractmethod
    def act(
        self, observations: FloatArray, pattern: npt.NDArray[np.integer[Any]], noise: Sequence[Any]
    ) -> Decision:
        """Decide for n episodes; an episode's decision does not depend on the others.

        Args:
            observations: (n, ...), what `observes` says.
            pattern: (n,) integers in 0..K-1; ignored without patterns.
            noise: of `noise`, one for each episode.
        """

    @abstractmethod
    def features(self, observations: Tensor, pattern: Tensor) -> Tensor:
        """Return the networks' input, which training does not change. Shape: (n, F)."""

    @abstractmethod
    def distribution(self, features: Tensor, trace: Mapping[str, Tensor]) -> Distribution:
        """Return the distribution of recorded decisions under the present weights."""

    @abstractmethod
    def explore(self, std: float) -> None:
        """Fix the standard deviation that motion is scored with; acting, `Exploration`'s holds."""

    @property
    @abstractmethod
    def std(self) -> Tensor:
        """Standard deviation of the motion actions. Shape: (6,)."""

    @abstractmethod
    def constrain(self) -> None:
        """Put parameters back within their bounds, after an optimiser's step."""
