"""What every scripted skill offers: named ways, each planned as waypoints."""

from __future__ import annotations

import itertools
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from demonstrations.affordances import hand
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


_LET_GO = 0.008
"""How much wider than what they held the fingers are when they have let go, m."""
_LONGEST = 10
"""Further control steps to wait for that; between walls the fingers may never get so far."""


def let_go(
    env: Environment, yaw: float, dwell: int = 6, tilt: tuple[float, float] = (0.0, 0.0)
) -> Iterator[Waypoint]:
    """Yield: stay until the fingers have opened.

    The command to them ramps, so that they let go of wide things later than of narrow ones. A
    hand that left before they moved would leave where a policy without a clock still has to wait.
    """
    here, held = hand.position(env), hand.gap(env)
    steps = itertools.chain((dwell,), itertools.repeat(1, _LONGEST))
    for more in steps:
        yield Waypoint(here, yaw, OPEN, 0.02, dwell=more, tilt=tilt)
        if hand.gap(env) > held + _LET_GO:
            return


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
