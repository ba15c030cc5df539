"""Puts a standing book through the open side of a shelf, lying, its lower end ahead."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import ClassVar

import numpy as np

from demonstrations.affordances import hand
from demonstrations.affordances.geometry import (
    bounds,
    clearance,
    corners,
    geoms,
    obstacle_geoms,
    parent,
    pose,
    region,
    width,
)
from demonstrations.skills.caddy import grasp_top, grasp_yaw
from demonstrations.skills.skill import CLOSED, OPEN, Atom, Skill, Waypoint, let_go
from simulation.environment import Environment

_UP = np.array([0.0, 0.0, 1.0])
_SLOPES = np.linspace(0.2, 0.6, 9)
"""Slopes of the lying book that are tried, rad."""
_HAND = (0.05, 0.10)
"""Distance of the hand's body behind the grip site, and half of its breadth, m."""
_OUTSIDE = 0.028
"""How far before the opening the grip site stays, m."""
_FINGER = 0.02
"""Height over the slot's floor at which the lower one of the open fingers is below it, m."""
_GAP = 0.015
"""Greatest height of the lower end over the slot's floor, m."""
_ENOUGH = 0.03
"""Depth of the origin in the region with which a released book may stay, m."""
_PUSH_TILT = 0.2
"""Tilt of the hand that pushes, rad."""
_STANDOFF = 0.05
"""Distance of the book's lower end before the opening when it is laid down, m."""


class BookInShelf(Skill):
    """Grasps a book's upper edge, lays it down before the opening and pushes it in."""

    ways = ("straight", "oblique", "aslant")
    _ways: ClassVar[dict[str, float]] = {
        "straight": 0.0,
        "oblique": 0.5,
        "aslant": 0.9,
    }
    """Turn of the way in from the opening's normal to the robot's side, rad."""

    def fits(self, atom: Atom) -> bool:
        """Return whether a book shall lie in a shelf."""
        return atom[0] == "in" and "book" in atom[1] and "shelf" in atom[2]

    def plan(
        self, env: Environment, atom: Atom, way: str, rng: np.random.Generator
    ) -> Iterator[Waypoint]:
        """Yield: grasp from above, lift, lay down before the opening, push in, release, back."""
        _, name, target = atom
        yaw = grasp_yaw(env, name, False)
        yield from grasp_top(env, name, yaw, rng)
        yield from _push_in(env, name, target, yaw, self._ways[way], rng)


def _push_in(
    env: Environment, name: str, target: str, yaw: float, azimuth: float, rng: np.random.Generator
) -> Iterator[Waypoint]:
    """Yield: lift, lay down before the opening, in, release, back, and a push where it is due."""
    box = region(env, target)
    assert box is not None
    floor, ceiling, mouth, out = slot(env, target)
    robot = env.data.xpos[env.model.body("robot0_base").id] - mouth
    side = np.sign(out[0] * robot[1] - out[1] * robot[0])
    out = _turn(side * azimuth) @ out
    low, _ = bounds(env, name)
    held = float(hand.position(env)[2] - low[2])
    height = floor - bounds(env, parent(env, target))[0][2]
    slope = _slope(height, held)
    axis = np.cos(slope) * out + np.sin(slope) * _UP
    angle = float(np.arctan2(out[0], -out[1]))
    angle = min((angle + k * np.pi for k in range(-3, 4)), key=lambda other: abs(other - yaw))
    laid, tilt = hand.leaned(out, angle, 0.5 * np.pi - slope)
    thick = width(corners(env, geoms(env, name)).reshape(-1, 3), yaw - 0.5 * np.pi)
    most = (ceiling - floor - thick / np.cos(slope)) / np.tan(slope) - 0.01
    gap = min(_GAP, 0.15 * (ceiling - floor))
    broad = width(corners(env, geoms(env, name)).reshape(-1, 3), yaw)
    lateral = np.array([-out[1], out[0], 0.0])
    room = float(np.abs(lateral) @ box.extent) - 0.5 * broad - 0.01
    hull = _hull(held, thick, 0.5 * broad) @ np.stack((axis, lateral, np.cross(axis, lateral)))
    start = mouth + _STANDOFF * out + (floor - mouth[2] + 0.5 * thick + gap) * _UP
    others = obstacle_geoms(env, (name, parent(env, target)))
    mouth = mouth + lateral * _freest(env, start + hull, lateral, room, others)
    rise = max(floor - low[2], 0.0) + 0.08 + abs(rng.normal(0.0, 0.01))
    yield Waypoint(hand.position(env) + rise * _UP, yaw, CLOSED, 0.03)
    for depth in (-_STANDOFF, min(most, held - _OUTSIDE)):
        end = np.array([*(mouth - depth * out)[:2], floor + 0.5 * thick * np.cos(slope) + gap])
        at = end + held * axis
        yield Waypoint(at, laid, CLOSED, 0.012, exact=True, speed=0.8, tilt=tilt, level=0.1)
    here = hand.position(env)
    yield from let_go(env, laid, 8, tilt)
    if height > _FINGER:
        here = np.array([*(here + 0.01 * out)[:2], floor + _FINGER])
        yield Waypoint(here, laid, OPEN, 0.01, tilt=tilt)
        axis = out
    yield Waypoint(here + 0.10 * axis, laid, OPEN, 0.02, dwell=3, tilt=tilt)
    yield from _push(env, name, mouth, out, angle)


def _hull(held: float, thick: float, half: float) -> np.ndarray:
    """Return points (N, 3) of a held book and the hand: along, across and over its long axis, m."""
    back, side = _HAND
    book = itertools.product(
        (0.0, 0.5 * held, held), (-half, 0.0, half), (-0.5 * thick, 0.5 * thick)
    )
    grip = itertools.product((held + back, held + 2.4 * back), (-0.035, 0.035), (-side, 0.0, side))
    return np.array([*book, *grip])


def _freest(
    env: Environment, points: np.ndarray, lateral: np.ndarray, room: float, others: np.ndarray
) -> float:
    """Return the shift sideways, m, up to `room`, with which points stay clear of other things."""
    shifts = np.linspace(-room, room, 11)
    costs = [
        40.0 * max(0.02 - clearance(env, points + shift * lateral, others), 0.0) + abs(shift)
        for shift in shifts
    ]
    return float(shifts[int(np.argmin(costs))])


def _push(
    env: Environment, name: str, mouth: np.ndarray, out: np.ndarray, yaw: float
) -> Iterator[Waypoint]:
    """Yield a push of closed fingers against the end of a lying book that is not far enough in."""
    origin, _ = pose(env, name)
    depth = float((mouth - origin) @ out)
    if depth > _ENOUGH:
        return
    low, high = bounds(env, name)
    end = 0.5 * (low + high) + 0.5 * float((high - low) @ np.abs(out)) * out
    end[2] = low[2] + hand.FINGER_TIP + 0.004
    yaw, tilt = hand.leaned(out, yaw, _PUSH_TILT)
    for away, up in ((0.06, 0.1), (0.05, 0.0), (depth - _ENOUGH - 0.02, 0.0)):
        at = end + away * out + up * _UP
        yield Waypoint(at, yaw, CLOSED, 0.015, exact=True, tilt=tilt, level=0.3, speed=0.8)
    yield Waypoint(end + 0.05 * out + 0.08 * _UP, yaw, CLOSED, 0.03, tilt=tilt)


def slot(env: Environment, target: str) -> tuple[float, float, np.ndarray, np.ndarray]:
    """Return a shelf's slot: floor and ceiling, the middle of its opening, and the way out of it.

    Floor and ceiling are heights, m; the middle (3,), m, and the direction (3,) are in the world
    frame. The opening is the side of the region that no wall closes, the nearest to the hand.
    """
    box = region(env, target)
    assert box is not None
    shelf = parent(env, target)
    points = corners(env, geoms(env, shelf))
    low, high = points.min(1), points.max(1)
    over = ((low < box.position) & (box.position < high))[:, :2].all(1)
    floor = high[over & (high[:, 2] <= box.position[2]), 2].max(initial=bounds(env, shelf)[0][2])
    ceiling = low[over & (low[:, 2] >= box.position[2]), 2].min(initial=np.inf)
    free = []
    for axis in (0, 1):
        others = [k for k in range(3) if k != axis]
        facing = ((low < box.position) & (high > box.position))[:, others].all(1)
        if not (low[facing, axis] > box.position[axis]).any():
            free.append(np.eye(3)[axis])
        if not (high[facing, axis] < box.position[axis]).any():
            free.append(-np.eye(3)[axis])
    toward = hand.position(env) - box.position
    out = max(free, key=lambda way: float(way @ toward))
    return float(floor), float(ceiling), box.position + out * float(np.abs(out) @ box.extent), out


def _slope(height: float, held: float) -> float:
    """Return the least slope, rad, with which the hand's side stays clear of the ground.

    Args:
        height: of the slot's floor over the ground, m.
        held: distance of the grip site from the book's lower end, m.
    """
    back, half = _HAND
    over = height + 0.03 + (held + back) * np.sin(_SLOPES) - half * np.cos(_SLOPES)
    return float(_SLOPES[min(int(np.argmax(over > 0.02)), len(_SLOPES) - 1)])


def _turn(angle: float) -> np.ndarray:
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])
