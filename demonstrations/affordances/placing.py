"""Where a held object is let go so that `on` or `in` holds."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from demonstrations.affordances import hand
from demonstrations.affordances.geometry import (
    bounds,
    clearance,
    obstacle_geoms,
    parent,
    pose,
    region,
    surface_height,
)
from demonstrations.affordances.grasps import Grasp
from simulation.environment import Environment

_GAP = 0.008
"""Height from which an object is let go over what it shall stand on, m."""
_ENOUGH, _LEAST = 0.03, 0.006
"""Clearance of the hand beyond which more is no better, and that it must have, m."""
_TURNS = np.linspace(-0.5 * np.pi, 0.5 * np.pi, 13)
"""Turns of the hand with its object that are tried over the target, rad."""


@dataclass(frozen=True)
class Place:
    """Where the hand lets a held object go."""

    position: np.ndarray
    """Of the object's origin, world frame, m, (3,)."""
    yaw: float
    """Hand's yaw, rad."""
    cost: float
    """What speaks against it, in the unit of `Grasp.cost`."""


def find_place(env: Environment, name: str, target: str, hold: Grasp) -> Place:
    """Return where to let go of the object `name`, held by a grasp, for a goal's target.

    The hand turns only as far as it must to stay clear of what is around the target; where it
    cannot, the object is let go from higher up.
    """
    aim, floor = _aim(env, name, target)
    origin, _ = pose(env, name)
    held = hold.position - origin
    below = origin[2] - bounds(env, name)[0][2]
    others = obstacle_geoms(env, (name,))
    best = Place(np.array([aim[0], aim[1], floor + below + 0.1]), hold.yaw, np.inf)
    for raised in np.arange(0.0, 0.16, 0.015):
        at = np.array([aim[0], aim[1], floor + below + _GAP + raised])
        for turn in _TURNS[np.abs(hold.yaw + _TURNS) <= 1.7]:
            if 0.3 * abs(turn) + 4.0 * raised >= best.cost:
                continue  # however free it is there
            points = hand.points(at + turned(held, turn), hold.yaw + turn)
            free = min(clearance(env, points, others), _ENOUGH)
            cost = 45.0 * (_ENOUGH - free) + 0.3 * abs(turn) + 4.0 * raised
            if free > _LEAST and cost < best.cost:
                best = Place(at, hold.yaw + turn, cost)
    return best


def turned(offset: np.ndarray, angle: float) -> np.ndarray:
    """Return a vector (3,) turned about the vertical, rad."""
    cosine, sine = np.cos(angle), np.sin(angle)
    x, y, z = offset
    return np.array([cosine * x - sine * y, sine * x + cosine * y, z])


def _aim(env: Environment, name: str, target: str) -> tuple[np.ndarray, float]:
    """Return the point to place the origin over, and the height of what is below it, m."""
    box = region(env, target)
    thing = parent(env, target)
    if box is None:
        at, _ = pose(env, target)
        return at, surface_height(env, target, at, 0.02)
    if not thing:
        return box.position, float(box.position[2])
    if min(box.extent) < 0.01:
        return box.position, float(box.position[2] + box.extent[2])
    return box.position, float(box.position[2] - box.extent[2])
