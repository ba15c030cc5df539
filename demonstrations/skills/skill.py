"""What every scripted skill offers: named ways, each planned as waypoints."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from simulation.environment import Environment

Atom = tuple[str, ...]
"""One predicate of `Task.goal` with its arguments, such as `("on", "plate_1", "table_region")`."""
OPEN, CLOSED = -1.0, 1.0
"""Gripper commands."""


@dataclass(frozen=True)
class Waypoint:
    """A pose to reach, and what the fingers do on the way."""

    position: np.ndarray
    """Grip site, world frame, m, (3,)."""
    yaw: float = 0.0
    """Rotation about the world's vertical from the arm's initial pose, rad."""
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
    level: float = np.inf
    """Rotation that may be left when the waypoint counts as reached, rad."""
    tilt: tuple[float, float] = (0.0, 0.0)
    """Rotation of the turned hand about world x, then about world y, from upright, rad."""
    until: Callable[[], bool] | None = None
    """What the move is for: it ends as this holds. A hand that goes on pushing a shut drawer gives
    a policy without a clock nothing to tell by when to turn to what comes next."""


class Skill(ABC):
    """Makes one predicate of a goal true, in several named ways."""

    ways: tuple[str, ...]
    """Names of the ways."""

    @abstractmethod
    def fits(self, atom: Atom) -> bool:
        """Return whether the skill reaches a predicate."""

    def ways_of(self, atom: Atom) -> tuple[str, ...]:
        """Return the ways in which it reaches a predicate that it fits."""
        return self.ways

    @abstractmethod
    def plan(
        self, env: Environment, atom: Atom, way: str, rng: np.random.Generator
    ) -> Iterator[Waypoint]:
        """Yield the waypoints of one way, reading the environment as the episode goes."""
