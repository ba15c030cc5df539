"""How a tall thing is laid into what is too low for it to stand in: leaned until it falls over."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from demonstrations.affordances import hand
from demonstrations.affordances.geometry import (
    bounds,
    corners,
    geoms,
    parent,
    pose,
    region,
)
from simulation.environment import Environment

_UP = np.array([0.0, 0.0, 1.0])
_LEAN = 0.7
"""Angle by which it is leaned when it is let go, rad: beyond its balance."""
_GAP = 0.012
"""Height over the floor at which it is let go, m."""
_BESIDE = 0.012
"""Distance of its foot from the end that it leans away from, m."""


@dataclass(frozen=True)
class Laid:
    """Where a leaning hand lets go of what shall fall on its side."""

    position: np.ndarray
    """Grip site, world frame, m, (3,)."""
    yaw: float
    """Of the hand, rad."""
    tilt: tuple[float, float]
    """Of the hand, rad."""
    back: np.ndarray
    """Direction away from the fingers, (3,)."""


def stands_out(env: Environment, name: str, target: str) -> bool:
    """Return whether an object that stood in a region of a thing would have its origin above it."""
    box = region(env, target)
    if box is None or not parent(env, target) or min(box.extent) < 0.01:
        return False
    origin, _ = pose(env, name)
    below = origin[2] - bounds(env, name)[0][2]
    return bool(below > 2.0 * box.extent[2])


def lying_yaw(env: Environment, target: str, yaw: float) -> float:
    """Return the hand's yaw, rad, nearest to one, at which it closes across a region's longer side.

    So it leans along that side about its fingers' axis.
    """
    along = _longer_side(env, target)
    across = float(np.arctan2(along[0], -along[1]))
    return min(hand.yaws_along(across), key=lambda one: abs(one - yaw))


def find_laid(env: Environment, name: str, target: str, yaw: float) -> Laid:
    """Return how the object that is held is laid along the region's longer side.

    The hand leans toward the shoulder, as far as its wrist goes easily.

    Args:
        env: the environment, the object in the upright hand.
        name: the object.
        target: the region.
        yaw: the hand's, as `lying_yaw` has it, rad.
    """
    box = region(env, target)
    assert box is not None
    origin, _ = pose(env, name)
    along = _longer_side(env, target)
    shoulder = env.data.xpos[env.model.body("robot0_link2").id]
    toward = along if (shoulder - box.position) @ along > 0 else -along
    aimed, tilt = hand.leaned(toward, yaw, _LEAN)
    lean = hand.rotation(aimed, tilt) @ hand.rotation(yaw).T
    leaned = (corners(env, geoms(env, name)) - origin).reshape(-1, 3) @ lean.T
    foot = _BESIDE - float(box.extent @ np.abs(along)) - float((leaned @ toward).min())
    at = box.position + foot * toward
    at[2] = box.position[2] - box.extent[2] + _GAP - float(leaned[:, 2].min())
    return Laid(at + lean @ (hand.position(env) - origin), aimed, tilt, lean @ _UP)


def _longer_side(env: Environment, target: str) -> np.ndarray:
    """Return the direction of a region's longer horizontal side, world frame, (3,)."""
    box = region(env, target)
    assert box is not None
    return np.eye(3)[int(np.argmax(box.extent[:2]))]
