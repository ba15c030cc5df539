"""Rewards: functions of a finished rollout, with the range that their returns lie in."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from generator.rollout import Rollout


class Reward(ABC):
    """What PPO maximises."""

    bounds: tuple[float, float] | None
    """Least and largest discounted return, between which the critic's values lie; None where there
    are none."""
    of_success: bool = True
    """Whether it is success alone: then training may end once that is reached, and the policy that
    succeeds most is kept. Otherwise the last policy is what the reward has made."""

    @abstractmethod
    def __call__(self, rollout: Rollout) -> np.ndarray:
        """Return the reward of each step. Shape: (T,), float32."""

    def learn(self, episodes: Sequence[Rollout], seed: int) -> dict[str, float]:
        """Learn from an iteration's episodes before they are rewarded; return measures."""
        return {}

    def tensors(self) -> dict[str, Tensor]:
        """Return all that `load` needs."""
        return {}

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Take what `tensors` returned.

        Raises:
            ValueError: they are of another reward.
        """
        if tensors:
            raise ValueError(f"a reward that learns nothing has no {', '.join(sorted(tensors))}")


@dataclass(frozen=True)
class SparseSuccess(Reward):
    """1 at the last step of a success, else 0 (section 4.4)."""

    bounds: tuple[float, float] = (0.0, 1.0)
    """A success after T steps returns gamma^(T-1)."""

    def __call__(self, rollout: Rollout) -> np.ndarray:
        """Return the reward of each step. Shape: (T,), float32."""
        rewards = np.zeros(len(rollout), np.float32)
        rewards[-1] = float(rollout.success)
        return rewards
