"""What every scripted skill offers: named ways, each planned as waypoints."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from simulation.environment import Environment

Goal = tuple[tuple[str, ...], ...]
"""`Task.goal`: predicates with their arguments, all of which must hold at once."""
OPEN, CLOSED = -1.0, 1.0
"""Gripper commands."""


@dataclass(frozen=True)
class Waypoint:
    """A pose to reach, and what the fingers do on the way."""

    position: np.ndarray
    """Grip site, world frame, m, (3,)."""
    yaw: float = 0.0
    """Rotation about the vertical from the arm's initial pose, rad."""
    gripper: float = OPEN
    """-1 opens, +1 closes."""
    tolerance: float = 0.015
    """Distance at which the waypoint counts as reached, m."""
    dwell: int = 0
    """Control steps to stay once it is reached."""
    speed: float = 1.0
    """Factor on the episode's speed."""
    exact: bool = False
    """Whether to aim without the person's imprecision."""


class Skill(ABC):
    """Reaches the goals of a family of tasks in several named ways."""

    ways: tuple[str, ...]
    """Names of the ways."""

    @abstractmethod
    def fits(self, goal: Goal) -> bool:
        """Return whether the skill reaches a goal."""

    @abstractmethod
    def plan(
        self, env: Environment, goal: Goal, way: str, rng: np.random.Generator
    ) -> Iterator[Waypoint]:
        """Yield the waypoints of one way, reading the environment as the episode goes."""
