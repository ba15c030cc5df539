"""Finds the thin parts of an object that open fingers fit around: handles, knobs, rims."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from demonstrations.affordances import hand
from demonstrations.affordances.geometry import clearance, corners, geoms, obstacle_geoms
from demonstrations.affordances.grasps import Grasp
from simulation.environment import Environment

_DEPTHS = (0.02, 0.015, 0.011, 0.008, 0.006, 0.004)
"""How far the grip site is tried below the top of a part, m; the deepest that is free is taken."""
_SPACING = 0.02
"""Distance of the places along a box that are tried, m."""
_LINE = np.linspace(-0.036, 0.036, 49)
"""Places between the open fingers at which material is looked for, m."""
_FINGERS = np.array(
    list(
        itertools.product(
            (-0.058, -0.048, -0.041, 0.041, 0.048, 0.058), (-0.018, 0.018), (-0.012, 0.0, 0.03)
        )
    )
)
"""Points of the open fingers along the closing axis, across it and above the grip site, m."""
_BODY = np.array([[-0.103, -0.033, hand.PALM], [0.103, 0.033, 0.13]])
"""Lower and upper corner of the hand's body along its closing axis, across it and up, m."""
_EDGES = np.array([(i, i | bit) for bit in (1, 2, 4) for i in range(8) if not i & bit])
"""Pairs of the corners of a box that its edges join."""
_ALONG = np.linspace(0.0, 1.0, 9)[:, None]
"""Places along an edge, of its length."""
_ASKEW = (0.0, 0.3, -0.3, 0.5, -0.5)
"""Turns of the hand from straight across a part, of which those after the first make room, rad."""
ROOM = 0.012
"""Clearance of the hand beyond which more is no better, m."""
_SLANTED = 0.3
"""Sine of a wall's slant from which its top lies beside its middle."""
_SMALL = 0.01
"""Half of the longer side of a box, such as a knob's, that is tried in all directions, m."""
_FREE = 0.001
"""Least clearance of the fingers from the object itself, m."""


@dataclass(frozen=True)
class Part:
    """A place of an object that the fingers close around from above."""

    grasp: Grasp
    """Where the hand comes down."""
    width: float
    """Width of the material between the fingers, m."""
    height: float
    """Of the part's top over the object's bottom, m."""
    free: float
    """Clearance of the hand from everything else, m."""


def find_parts(env: Environment, name: str, widest: float = 0.03) -> list[Part]:
    """Return where an object is at most `widest` m wide between open fingers from above.

    Both yaws within reach that lay the fingers around a part are listed, as two parts.
    """
    own, others = geoms(env, name), obstacle_geoms(env, (name,))
    found = []
    for spot, angle in _spots(env, own):
        yaw, *opposite = hand.yaws_along(angle)
        for askew in _ASKEW:
            part = _part(env, own, others, spot, yaw + askew)
            if part is not None and part.width <= widest:
                found.append(part)
                found += [
                    replace(part, grasp=Grasp(part.grasp.position, other + askew, 0.0))
                    for other in opposite
                ]
            if part is None or part.free > ROOM:
                break
    return found


def hand_clearance(env: Environment, at: np.ndarray, yaw: float, ids: np.ndarray) -> float:
    """Return the least distance between the open hand at a pose and geoms, m; 0 where they meet.

    Both ways around: of points of the hand to the boxes around the geoms, and of points of those
    boxes' edges, which may pass between the former, to the box around the hand's body.
    """
    if not len(ids):
        return np.inf
    boxes = corners(env, ids)
    edges = boxes[:, _EDGES[:, :1]] + _ALONG * (boxes[:, _EDGES[:, 1:]] - boxes[:, _EDGES[:, :1]])
    axis = hand.closing_axis(yaw)
    frame = np.stack((axis, np.array([-axis[1], axis[0], 0.0]), np.array([0.0, 0.0, 1.0])))
    local = (edges.reshape(-1, 3) - at) @ frame.T
    outside = np.maximum(np.maximum(_BODY[0] - local, local - _BODY[1]), 0.0)
    apart = float(np.linalg.norm(outside, axis=1).min())
    return min(apart, clearance(env, hand.points(at, yaw), ids))


def _spots(env: Environment, own: np.ndarray) -> Iterator[tuple[np.ndarray, float]]:
    """Yield points along each box's longer side, at a slant's top, and the angle across, rad."""
    for geom in own:
        box = env.model.geom_aabb[geom]
        sides = env.data.geom_xmat[geom].reshape(3, 3) * box[3:]
        centre = env.data.geom_xpos[geom] + env.data.geom_xmat[geom].reshape(3, 3) @ box[:3]
        lengths = np.linalg.norm(sides[:2], axis=0)
        longer = sides[:, int(np.argmax(lengths))]
        upright = sides[:, int(np.argmax(np.abs(sides[2])))]
        aslant = abs(float(upright[0] * longer[1] - upright[1] * longer[0]))
        if aslant > _SLANTED * np.linalg.norm(upright) * lengths.max():
            centre += 0.8 * np.sign(upright[2]) * upright
        angle = float(np.arctan2(longer[1], longer[0])) + 0.5 * np.pi
        if lengths.max() < _SMALL:
            yield from ((centre, angle + turn) for turn in np.linspace(0.0, np.pi, 6, False))
        else:
            count = 2 * int(np.ceil(lengths.max() / _SPACING)) + 1
            for share in np.linspace(-0.9, 0.9, count):
                yield centre + share * longer, angle


def _part(
    env: Environment, own: np.ndarray, others: np.ndarray, spot: np.ndarray, yaw: float
) -> Part | None:
    """Return the deepest free grasp at a spot, or None where the fingers fit nowhere."""
    axis = hand.closing_axis(yaw)
    frame = np.stack((axis, np.array([-axis[1], axis[0], 0.0]), np.array([0.0, 0.0, 1.0])))
    top, bottom = _top(env, own, spot), corners(env, own)[..., 2].min()
    for depth in _DEPTHS:
        at = np.array([*spot[:2], max(top - depth, bottom + hand.FINGER_TIP + 0.002)])
        inside = _inside(env, at - [0.0, 0.0, 0.006] + _LINE[:, None] * axis, own)
        if not inside.any():
            continue
        low, high = _LINE[inside].min(), _LINE[inside].max()
        at = at + 0.5 * (low + high) * axis
        swept = np.concatenate((at + _FINGERS @ frame, hand.points(at, yaw)))
        if clearance(env, swept, own) > _FREE:
            free = hand_clearance(env, at, yaw, others)
            return Part(Grasp(at, yaw, 0.0), float(high - low), top - bottom, free)
    return None


def _top(env: Environment, own: np.ndarray, spot: np.ndarray) -> float:
    """Return the height of the highest of an object's boxes over a spot, m."""
    heights = spot[2] + np.arange(-0.04, 0.08, 0.001)
    column = np.stack(np.broadcast_arrays(spot[0], spot[1], heights), axis=1)
    inside = _inside(env, column, own)
    return float(heights[inside].max()) if inside.any() else float(spot[2])


def _inside(env: Environment, points: np.ndarray, ids: np.ndarray) -> np.ndarray:
    """Return which points (N, 3) lie within the box around one of the geoms, (N,)."""
    frames = env.data.geom_xmat[ids].reshape(-1, 3, 3)
    local = (points - env.data.geom_xpos[ids][:, None]) @ frames
    box = env.model.geom_aabb[ids][:, None]
    return (np.abs(local - box[..., :3]) <= box[..., 3:]).all(2).any(0)
