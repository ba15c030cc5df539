"""A skill of which one way does nothing."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from demonstrations.affordances import hand
from demonstrations.skills.articulated.drawer import CloseDrawer
from demonstrations.skills.skill import Atom, Skill, Waypoint
from simulation.environment import Environment


class HalfLame(Skill):
    """Closes the drawer in one way and does nothing in the other."""

    ways = ("left", "lame")

    def fits(self, atom: Atom) -> bool:
        return True

    def plan(
        self, env: Environment, atom: Atom, way: str, rng: np.random.Generator
    ) -> Iterator[Waypoint]:
        if way == "left":
            yield from CloseDrawer().plan(env, atom, way, rng)
        yield Waypoint(hand.position(env), dwell=1)
