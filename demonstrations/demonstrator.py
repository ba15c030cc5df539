"""What every source of new demonstrations offers: named ways, and one demonstration at a time."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from demonstrations.config import Style
from simulation.environment import Environment
from simulation.recordings.trajectories import Episode


class Demonstrator(Protocol):
    """Demonstrates one task in several ways."""

    source: str
    """`scripted` or `amplified`; the method of its episodes."""
    ways: tuple[str, ...]
    """Names of its ways."""

    def demonstrate(
        self, env: Environment, way: str, rng: np.random.Generator, style: Style
    ) -> Episode:
        """Demonstrate the task once from the environment's present state."""
