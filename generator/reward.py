"""Rewards: functions of a finished rollout, with the range that their returns lie in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from generator.rollout import Rollout


class Reward(Protocol):
    """What PPO maximises."""

    @property
    def bounds(self) -> tuple[float, float]:
        """Least and largest discounted return; the critic's values lie between them."""

    def __call__(self, rollout: Rollout) -> np.ndarray:
        """Return the reward of each step. Shape: (T,), float32."""


@dataclass(frozen=True)
class SparseSuccess:
    """1 at the last step of a success, else 0 (section 4.4)."""

    bounds: tuple[float, float] = (0.0, 1.0)
    """A success after T steps returns gamma^(T-1)."""

    def __call__(self, rollout: Rollout) -> np.ndarray:
        """Return the reward of each step. Shape: (T,), float32."""
        rewards = np.zeros(len(rollout), np.float32)
        rewards[-1] = float(rollout.success)
        return rewards
