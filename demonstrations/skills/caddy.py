"""Puts a standing book into a compartment of the caddy, turning it one way or the other."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from demonstrations.affordances import hand
from demonstrations.affordances.geometry import (
    bounds,
    corners,
    corridor_height,
    geoms,
    obstacle_geoms,
    parent,
    pose,
    region,
    surface_height,
    width,
)
from demonstrations.skills.skill import CLOSED, OPEN, Atom, Skill, Waypoint, let_go
from simulation.environment import Environment

_UP = np.array([0.0, 0.0, 1.0])
_DEPTH = 0.022
"""How far the grip site reaches below the book's top, m."""
_MARGIN = 0.02
"""Height of the carried book over the walls that it passes, m."""
_GAP = 0.01
"""Height over the compartment's floor at which the book is let go, m."""
_SLACK = 0.01
"""How far below a region's box an origin still counts as inside, m."""


class BookInCaddy(Skill):
    """Grasps a book's upper edge across its back and lowers it between the compartment's walls.

    The book's long side comes to lie along the compartment's. `clockwise` and `counter_clockwise`
    are the two turns that bring it there, seen from above; `turned_hand` grasps with the hand
    turned round by half a turn.
    """

    ways = ("clockwise", "counter_clockwise", "turned_hand")
    _turns: ClassVar[dict[str, tuple[bool, bool]]] = {
        "clockwise": (False, False),
        "counter_clockwise": (False, True),
        "turned_hand": (True, False),
    }
    """Whether the hand is turned round for the grasp, and which turn brings the book in."""

    def fits(self, atom: Atom) -> bool:
        """Return whether a book shall stand in a caddy's compartment."""
        return atom[0] == "in" and "book" in atom[1] and "caddy" in atom[2]

    def plan(
        self, env: Environment, atom: Atom, way: str, rng: np.random.Generator
    ) -> Iterator[Waypoint]:
        """Yield: over the book, down, grasp, lift, turn on the way, between the walls, release."""
        _, name, target = atom
        round_hand, counter = self._turns[way]
        yaw = grasp_yaw(env, name, round_hand)
        yield from grasp_top(env, name, yaw, rng)
        yield from _insert(env, name, target, yaw, counter, rng)


def long_angle(env: Environment, name: str) -> float:
    """Return the horizontal direction of an object's longer side, rad."""
    points = corners(env, geoms(env, name)).reshape(-1, 3)[:, :2]
    _, _, axes = np.linalg.svd(points - points.mean(0))
    return float(np.arctan2(axes[0, 1], axes[0, 0]))


def grasp_yaw(env: Environment, name: str, round_hand: bool) -> float:
    """Return the hand's yaw that closes the fingers across an object's narrow side, rad.

    With `round_hand` it is the one half a turn away, toward which the wrist has more room.
    """
    angle = long_angle(env, name)
    least = (angle + 0.5 * np.pi) % np.pi - 0.5 * np.pi
    return least + np.pi if round_hand else least


def grasp_top(
    env: Environment, name: str, yaw: float, rng: np.random.Generator, along: float = 0.0
) -> Iterator[Waypoint]:
    """Yield: over an object's upper edge, down to it, and the fingers' closing.

    `along` is the distance of the grasp from the middle, along the hand's breadth, m.
    """
    low, high = bounds(env, name)
    axis = hand.closing_axis(yaw)
    at = np.array([*(0.5 * (low + high)[:2]), high[2] - _DEPTH])
    at += along * np.array([-axis[1], axis[0], 0.0])
    half = yaw + rng.normal(0.0, 0.02)
    if abs(yaw) > 2.0:
        here = hand.position(env)
        yield Waypoint(0.5 * (here + at + 0.1 * _UP), 0.55 * half, OPEN, 0.05, level=0.5)
    yield Waypoint(at + 0.08 * _UP, half, OPEN, 0.025, level=0.25)
    yield Waypoint(at + 0.03 * _UP, half, OPEN, 0.012, exact=True, level=0.06)
    yield Waypoint(at, half, OPEN, 0.008, exact=True, speed=0.7)
    yield Waypoint(at, half, CLOSED, 0.05, dwell=9, exact=True)


def _insert(
    env: Environment, name: str, target: str, yaw: float, counter: bool, rng: np.random.Generator
) -> Iterator[Waypoint]:
    """Yield: lift, over the compartment with the book turned, down, release and retreat."""
    low, high = interior(env, target)
    origin, _ = pose(env, name)
    below = origin[2] - bounds(env, name)[0][2]
    turns = [_across(low, high) + k * np.pi - yaw for k in range(-3, 4)]
    turn = min(t for t in turns if t > 0) if counter else max(t for t in turns if t <= 0)
    centre = 0.5 * np.add(*bounds(env, name))
    rest = _rest(env, name, target)
    walls = corridor_height(env, origin, rest.foot, obstacle_geoms(env, (name,)), 0.08)
    height = max(walls, centre[2]) + _MARGIN + abs(rng.normal(0.0, 0.01))
    held = hand.position(env) - np.array([*origin[:2], origin[2] - below])
    yield Waypoint(np.array([*origin[:2], height]) + held, yaw, CLOSED, 0.03)
    halfway = np.array([*(0.5 * (origin + rest.foot)[:2]), height])
    yield Waypoint(halfway + held, yaw + 0.5 * turn, CLOSED, 0.04, level=0.6)
    for tolerance, level in ((0.02, 0.08), (0.008, 0.05)):
        at = np.array([*rest.entry[:2], height]) + _grip_from_foot(env, name)
        yield Waypoint(at, yaw + turn, CLOSED, tolerance, exact=True, level=level)
    yield from _lower(env, name, rest, yaw + turn)
    here = hand.position(env)
    yield from let_go(env, yaw + turn, 9 if rest.lean else 6, rest.tilt)
    away = here + 0.09 * _rotation(rest.tilt) @ _UP
    yield Waypoint(away, yaw + turn, OPEN, 0.02, dwell=3, tilt=rest.tilt)


def _lower(env: Environment, name: str, rest: _Rest, yaw: float) -> Iterator[Waypoint]:
    """Yield the way down to where the book rests; leaning, it leans fully at the end only."""
    if not rest.lean:
        for up in (0.05, _GAP):
            at = rest.foot + _grip_from_foot(env, name) + up * _UP
            yield Waypoint(at, yaw, CLOSED, 0.008, exact=True, speed=0.7)
        return
    origin, rotation = pose(env, name)
    foot = rotation.T @ (hand.position(env) - _grip_from_foot(env, name) - origin)
    before = _rotation((0.0, 0.0))
    high = pose(env, name)[0][2] - rest.foot[2]
    steps = (
        (0.5, high, rest.entry),
        (0.5, rest.rim, rest.entry),
        (0.5, rest.rim - 0.03, rest.entry),
        (0.5, _GAP, rest.foot),
        (1.0, _GAP, rest.foot),
    )
    for share, up, over in steps:
        origin, rotation = pose(env, name)
        held = hand.position(env) - origin - rotation @ foot
        tilt = (share * rest.tilt[0], share * rest.tilt[1])
        at = np.array([*over[:2], rest.foot[2] + up]) + _rotation(tilt) @ before.T @ held
        before = _rotation(tilt)
        yield Waypoint(at, yaw, CLOSED, 0.007, exact=True, speed=0.7, tilt=tilt, level=0.06)


def _rotation(tilt: tuple[float, float]) -> np.ndarray:
    """Return a waypoint's tilt as a matrix (3, 3)."""
    (cx, sx), (cy, sy) = ((np.cos(t), np.sin(t)) for t in tilt)
    about_x = np.array([[1.0, 0.0, 0.0], [0.0, cx, -sx], [0.0, sx, cx]])
    about_y = np.array([[cy, 0.0, sy], [0.0, 1.0, 0.0], [-sy, 0.0, cy]])
    return about_y @ about_x


@dataclass(frozen=True)
class _Rest:
    """How a book rests in a compartment."""

    foot: np.ndarray
    """Middle of its lower face, world frame, m, (3,)."""
    tilt: tuple[float, float]
    """Rotation about world x, then about world y, rad."""
    lean: bool
    """Whether it is tilted at all."""
    entry: np.ndarray
    """Where its foot passes between the walls, world frame, m, (3,)."""
    rim: float
    """Height over its foot at which that is above the wall that the book leans on, m."""


def _rest(env: Environment, name: str, target: str) -> _Rest:
    """Return how a book shall rest in a compartment: upright, in its middle.

    Where its origin would then be too low for `in`, it leans over the lower of the two walls
    beside its broad sides, its foot at the other wall, which lifts the origin.
    """
    low, high = interior(env, target)
    box, middle = region(env, target), 0.5 * (low + high)
    assert box is not None
    foot = np.array([*middle[:2], low[2]])
    depth = bounds(env, name)[0][2] - pose(env, name)[0][2]
    if low[2] - depth > box.position[2] - box.extent[2] - _SLACK + 0.001:
        return _Rest(foot, (0.0, 0.0), False, foot, 0.0)
    axis = 0 if _across(low, high) else 1
    points = corners(env, geoms(env, name)).reshape(-1, 3)[:, :2]
    thick = width(points, long_angle(env, name) + 0.5 * np.pi)
    tops = [
        surface_height(env, parent(env, target), edge, 0.004) - low[2]
        for edge in _edges(middle, low, high, axis)
    ]
    side = 1 if tops[1] < tops[0] else 0
    angles = np.linspace(0.0, 0.8, 81)
    gaps = thick * np.cos(angles) + tops[side] * np.tan(angles)
    angle = float(angles[gaps < high[axis] - low[axis]][-1])
    toward = 1.0 if side else -1.0
    wall = low[axis] if side else high[axis]
    foot[axis] = wall + toward * (0.5 * thick * np.cos(angle) + 0.004)
    foot[2] += 0.5 * thick * np.sin(angle)
    tilt = (0.0, toward * angle) if axis == 0 else (-toward * angle, 0.0)
    return _Rest(foot, tilt, True, middle, tops[side] + 0.02)


def _edges(middle: np.ndarray, low: np.ndarray, high: np.ndarray, axis: int) -> np.ndarray:
    """Return points (2, 3) in the two walls across an axis of a compartment, m."""
    found = np.stack((middle, middle))
    found[:, axis] = low[axis] - 0.004, high[axis] + 0.004
    return found


def _across(low: np.ndarray, high: np.ndarray) -> float:
    """Return a yaw at which the fingers close across the longer side of a compartment, rad."""
    return 0.0 if high[1] - low[1] < high[0] - low[0] - 0.01 else 0.5 * np.pi


def _grip_from_foot(env: Environment, name: str) -> np.ndarray:
    """Return the grip site from the middle of the lower face of an object's box, m, (3,)."""
    low, high = bounds(env, name)
    return hand.position(env) - np.array([*(0.5 * (low + high)[:2]), low[2]])


def interior(env: Environment, target: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the lower and upper corner of the free box around a region's middle, m, (3,) each.

    The box ends at what it belongs to: at a compartment's walls and floor.
    """
    box = region(env, target)
    assert box is not None
    points = corners(env, geoms(env, parent(env, target)))
    low, high = points.min(1), points.max(1)
    middle = box.position
    free = np.stack((middle - box.extent, middle + box.extent))
    for axis in (2, 0, 1):
        others = [k for k in range(3) if k != axis]
        facing = ((low < middle + 0.03) & (high > middle - 0.03))[:, others].all(1)
        before = high[facing & (high[:, axis] <= middle[axis]), axis]
        after = low[facing & (low[:, axis] >= middle[axis]), axis]
        free[0, axis] = before.max(initial=free[0, axis] - 0.02)
        if axis != 2:
            free[1, axis] = after.min(initial=free[1, axis] + 0.02)
    return free[0], free[1]
