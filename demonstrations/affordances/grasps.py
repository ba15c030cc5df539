"""Grasps from above, read from an object's boxes: across a narrow body, or of a rim's wall."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from demonstrations.affordances import hand
from demonstrations.affordances.geometry import (
    band,
    clearance,
    corners,
    geoms,
    obstacle_geoms,
)
from simulation.environment import Environment

_WIDEST = 0.072
"""Widest body that the fingers are laid around, m."""
_DEPTH = 0.03
"""How far the grip site reaches below the top of what is grasped, m."""
_PADS = 0.014
"""How far the fingers' pads reach above the grip site, m."""
_DEEPEST = hand.PALM - 0.005
"""How far the grip site may reach below the top, so that the palm stays clear of it, m."""
_RIM_DEPTH = 0.018
"""The same on a rim, m."""
_BAND = 0.02
"""Height of the band around the grip site whose width counts, m."""
_BESIDE = 0.004
"""Clearance that the open fingers must have of the object itself, such as of its handle, m."""
_ENOUGH = 0.03
"""Clearance of the hand beyond which more is no better, m."""


@dataclass(frozen=True)
class Grasp:
    """Where the open hand comes down from above, and closes."""

    position: np.ndarray
    """Grip site when the fingers close, world frame, m, (3,)."""
    yaw: float
    """Hand's yaw from the arm's initial pose, rad."""
    cost: float
    """What speaks against it: things in the way, a turned wrist, a side that was not asked for."""
    side: float = 0.0
    """Which of an object's grasps it is: direction from the axis to a grasp of its wall, from world
    x, or the hand's yaw at a grasp of its body, rad."""


def is_hollow(env: Environment, name: str) -> bool:
    """Return whether nothing stands on an object's axis just below its top: a bowl or a mug."""
    points = corners(env, geoms(env, name))
    top = points[..., 2].max()
    centre = 0.5 * (points.reshape(-1, 3).min(0) + points.reshape(-1, 3).max(0))
    reaching = points[points[..., 2].max(1) > top - 0.01]
    low, high = reaching[..., :2].min(1) - 0.005, reaching[..., :2].max(1) + 0.005
    return not bool(((low < centre[:2]) & (centre[:2] < high)).all(1).any())


def body_grasps(env: Environment, name: str) -> list[Grasp]:
    """Return grasps across an object's narrow sides, the freest and least turned first."""
    height = _grip_height(corners(env, geoms(env, name))[..., 2])
    piece = band(env, name, height - 0.5 * _BAND, height + 0.5 * _BAND)
    found = []
    for angle in np.linspace(0.0, np.pi, 36, endpoint=False):
        axis, across = _directions(angle)
        along = piece[:, :2] @ axis
        wide = float(np.ptp(along))
        if wide > _WIDEST:
            continue
        middle = _middle(along) * axis + _middle(piece[:, :2] @ across) * across
        at = np.array([*middle, height])
        for yaw in hand.yaws_along(angle)[:1]:
            found.append(Grasp(at, yaw, cost(env, at, yaw, name) + 8.0 * wide, yaw))
    return sorted(found, key=lambda grasp: grasp.cost)


def _grip_height(heights: np.ndarray) -> float:
    """Return at which height a body is grasped, m, of its pieces' corners' (pieces, corners).

    Where a piece begins at the pads' upper half, the hand goes down until they are under it: an
    opening finger hooks into the seam under a carton's roof, and takes the carton along.
    """
    top, bottom = float(heights.max()), float(heights.min())
    if top - bottom <= 0.02:
        return bottom + hand.FINGER_TIP
    height = max(top - _DEPTH, min(bottom + hand.FINGER_TIP + 0.002, top - 0.008))
    height = min(height, top - 0.008)
    begin = heights.min(axis=1)
    seams = begin[(height < begin) & (begin < height + _PADS)]
    below = float(seams.min()) - _PADS if seams.size else height
    return below if below >= top - _DEEPEST else height


def rim_grasps(env: Environment, name: str, azimuth: float, spread: float = np.pi) -> list[Grasp]:
    """Return grasps of a hollow object's wall on one side of its axis, the best first.

    Args:
        env: the environment.
        name: the object.
        azimuth: preferred direction from the axis to the grasp, from world x, rad.
        spread: how far the grasp may turn away from it, rad.
    """
    own = geoms(env, name)
    points = corners(env, own)
    top = points[..., 2].max()
    walls = points[points[..., 2].max(1) > top - 0.008]
    middles = walls.mean(1)
    centre = 0.5 * (walls.reshape(-1, 3).min(0) + walls.reshape(-1, 3).max(0))[:2]
    offsets = middles[:, :2] - centre
    found = []
    for turn in np.linspace(-spread, spread, 25):
        axis, across = _directions(azimuth + turn)
        along = offsets @ axis
        facing = (np.abs(offsets @ across) < 0.012) & (along > 0)
        if not facing.any():
            continue
        radius = float(np.median(along[facing]))
        at = np.array([*(centre + radius * axis), top - _RIM_DEPTH])
        for yaw in hand.yaws_along(azimuth + turn)[:1]:
            beside = clearance(env, hand.fingers(at, yaw), own)
            handle = 2.0 * (beside < _BESIDE)
            against = cost(env, at, yaw, name) + 0.3 * abs(turn) + handle
            found.append(Grasp(at, yaw, against, azimuth + turn))
    return sorted(found, key=lambda grasp: grasp.cost)


def cost(env: Environment, at: np.ndarray, yaw: float, name: str) -> float:
    """Return what speaks against a pose of the hand at an object: things in its way, its turn."""
    free = clearance(env, hand.points(at, yaw), obstacle_geoms(env, (name,)))
    return 45.0 * (_ENOUGH - min(free, _ENOUGH)) + 0.3 * abs(yaw) + 1.5 * hand.lean(env, at)


def _directions(angle: float) -> tuple[np.ndarray, np.ndarray]:
    """Return a horizontal direction (2,) and the one a quarter turn on."""
    axis = np.array([np.cos(angle), np.sin(angle)])
    return axis, np.array([-axis[1], axis[0]])


def _middle(values: np.ndarray) -> float:
    return 0.5 * float(values.min() + values.max())
