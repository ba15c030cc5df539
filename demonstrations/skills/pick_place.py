"""Picks an object up and puts it on or into another thing, by different grasps and arcs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from demonstrations.affordances import hand
from demonstrations.affordances.choosing import choose_grasp
from demonstrations.affordances.geometry import (
    bounds,
    corridor_height,
    obstacle_geoms,
    pose,
)
from demonstrations.affordances.grasps import Grasp
from demonstrations.affordances.laying import find_laid, lying_yaw, stands_out
from demonstrations.affordances.placing import find_place, turned
from demonstrations.skills.skill import CLOSED, OPEN, Atom, Skill, Waypoint, let_go
from simulation.environment import Environment

_UP = np.array([0.0, 0.0, 1.0])
_MARGIN = 0.03
"""Height of a carried object's bottom over what it passes, m."""


@dataclass(frozen=True)
class Way:
    """Which side is grasped and how the object travels."""

    azimuth: float
    """Side of a rim that is grasped, direction from the axis, from world x, rad."""
    lift: float
    """Height above what is passed at which the object is carried, m."""
    bow: float
    """Bow of the carrying arc to the robot's side of the straight line, m."""


class PickPlace(Skill):
    """Grasps from above and carries `low` and straight, `high`, or `bowed` toward the robot.

    Bowls and mugs are grasped by their wall, where there is room as the robot sees it on the right
    of the axis, on the left, or turned toward the robot; all else across its narrow side.
    """

    ways = ("low", "high", "bowed")
    _ways: ClassVar[dict[str, Way]] = {
        "low": Way(-0.5 * np.pi, 0.0, 0.0),
        "high": Way(0.5 * np.pi, 0.12, 0.0),
        "bowed": Way(-0.5 * np.pi - 0.9, 0.03, 0.10),
    }

    def fits(self, atom: Atom) -> bool:
        """Return whether the predicate is `on` or `in`."""
        return atom[0] in ("on", "in")

    def plan(
        self, env: Environment, atom: Atom, way: str, rng: np.random.Generator
    ) -> Iterator[Waypoint]:
        """Yield: over the object, down, grasp, lift, arc, over the target, down, release."""
        _, name, target = atom
        chosen = self._ways[way]
        grasp = choose_grasp(env, name, target, chosen.azimuth)
        yield from pick(grasp, rng)
        yield from carry(env, name, target, grasp.yaw, chosen, rng)


def pick(grasp: Grasp, rng: np.random.Generator) -> Iterator[Waypoint]:
    """Yield: over the grasp, down to it, and the fingers' closing."""
    at, yaw = grasp.position, grasp.yaw + rng.normal(0.0, 0.03)
    yield Waypoint(at + 0.10 * _UP, yaw, OPEN, 0.03)
    yield Waypoint(at + 0.03 * _UP, yaw, OPEN, 0.014, exact=True)
    yield Waypoint(at, yaw, OPEN, 0.010, exact=True, speed=0.7)
    yield Waypoint(at, yaw, CLOSED, 0.05, dwell=10, exact=True)


def carry(
    env: Environment,
    name: str,
    target: str,
    yaw: float,
    way: Way,
    rng: np.random.Generator,
) -> Iterator[Waypoint]:
    """Yield: lift, arc, over the target, down, release and retreat, of the object that is held."""
    origin, _ = pose(env, name)
    held = hand.position(env) - origin
    place = find_place(env, name, target, Grasp(hand.position(env), yaw, 0.0))
    below = origin[2] - bounds(env, name)[0][2]
    passed = corridor_height(env, origin, place.position, obstacle_geoms(env, (name,)), 0.14)
    height = max(passed + _MARGIN, place.position[2] - below + 0.05, origin[2] - below + 0.06)
    height += below + way.lift + abs(rng.normal(0.0, 0.01))
    lifted = np.array([*origin[:2], min(height, hand.highest(env, origin) - held[2])])
    yield Waypoint(lifted + held, yaw, CLOSED, 0.03)
    across = place.position - origin
    sideways = np.array([-across[1], across[0], 0.0]) / max(np.linalg.norm(across[:2]), 1e-6)
    bow = way.bow * sideways * (-1.0 if sideways[0] > 0 else 1.0)
    lies = stands_out(env, name, target)
    aimed = lying_yaw(env, target, yaw) if lies else place.yaw
    turn = aimed - yaw
    middle = np.array([*(origin[:2] + 0.5 * across[:2]), height]) + bow
    yield Waypoint(middle + turned(held, 0.5 * turn), yaw + 0.5 * turn, CLOSED, 0.04)
    over = np.array([*place.position[:2], height])
    yield Waypoint(over + turned(held, turn), aimed, CLOSED, 0.025, exact=True, level=0.1)
    if lies:
        yield from lay_down(env, name, target, aimed)
        return
    for above, tolerance in ((0.03, 0.012), (0.0, 0.006)):
        held = hand.position(env) - pose(env, name)[0]
        down = place.position + above * _UP + held
        yield Waypoint(down, place.yaw, CLOSED, tolerance, exact=True, speed=0.8, dwell=1)
    here = hand.position(env)
    yield from let_go(env, place.yaw)
    yield Waypoint(here + 0.09 * _UP, place.yaw, OPEN, 0.02, dwell=4)


def lay_down(env: Environment, name: str, target: str, yaw: float) -> Iterator[Waypoint]:
    """Yield: lean the object that is held over the target, down, and let it fall on its side."""
    laid = find_laid(env, name, target, yaw)
    for above, tolerance in ((0.06, 0.02), (0.0, 0.008)):
        at = laid.position + above * _UP
        yield Waypoint(
            at, laid.yaw, CLOSED, tolerance, exact=True, tilt=laid.tilt, level=0.15, speed=0.8
        )
    yield from let_go(env, laid.yaw, tilt=laid.tilt)
    away = hand.position(env) + 0.09 * laid.back
    yield Waypoint(away, laid.yaw, OPEN, 0.02, tilt=laid.tilt, dwell=4)
