"""A demonstration as the learning core sees it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


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
