"""A demonstration as the learning core sees it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from simulation.scene import Fixtures


@dataclass(frozen=True)
class Demonstration:
    """One successful demonstration of T steps, as the learning core sees it."""

    observations: np.ndarray
    """Privileged states before each action. Shape: (T, P)."""
    proprio: np.ndarray
    """Proprioceptive states before each action. Shape: (T, 8)."""
    actions: np.ndarray
    """Motion in [-1, 1] and gripper, positive to close, as meant. Shape: (T, 7)."""
    way: str = ""
    """Known way of doing the task, if any; only reports use it."""
    moments: Moments | None = None
    """The simulator's states, to start episodes from; None where there is no simulator."""


@dataclass(frozen=True)
class Moments:
    """What it takes to start an episode in the midst of a demonstration of T steps."""

    states: np.ndarray
    """Before each action. Shape: (T, 1 + nq + nv), float64."""
    seed: int
    """Seed of the demonstration's reset."""
    fixtures: Fixtures
    """Poses of the fixtures."""
