"""Puts a standing book into a compartment of the caddy, turning it one way or the other."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import numpy as np

from demonstrations.skills import hand
from demonstrations.skills.geometry import (
    bounds,
    corners,
    corridor_height,
    geoms,
    obstacle_geoms,
    parent,
    pose,
    region,
)
from demonstrations.skills.skill import CLOSED, OPEN, Atom, Skill, Waypoint
from simulation.environment import Environment

_UP = np.array([0.0, 0.0, 1.0])
_DEPTH = 0.022
"""How far the grip site reaches below the book's top, m."""
_MARGIN = 0.02
"""Height of the carried book over the walls that it passes, m."""
_GAP = 0.01
"""Height over the compartment's floor at which the book is let go, m."""


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
    across = 0.0 if high[1] - low[1] < high[0] - low[0] - 0.01 else 0.5 * np.pi
    turns = [across + k * np.pi - yaw for k in range(-3, 4)]
    turn = min(t for t in turns if t > 0) if counter else max(t for t in turns if t <= 0)
    centre = 0.5 * np.add(*bounds(env, name))
    middle = np.array([*(0.5 * (low + high)[:2]), 0.0])
    walls = corridor_height(env, origin, middle, obstacle_geoms(env, (name,)), 0.08)
    height = max(walls, centre[2]) + _MARGIN + below + abs(rng.normal(0.0, 0.01))
    held = hand.position(env) - origin
    lifted = np.array([*origin[:2], height])
    yield Waypoint(lifted + held, yaw, CLOSED, 0.03)
    halfway = np.array([*(0.5 * (origin + middle)[:2]), height])
    yield Waypoint(halfway + held, yaw + 0.5 * turn, CLOSED, 0.04, level=0.6)
    for up, tolerance, level in ((height, 0.02, 0.08), (height, 0.008, 0.05)):
        at = np.array([*middle[:2], up]) + _grip_from_centre(env, name)
        yield Waypoint(at, yaw + turn, CLOSED, tolerance, exact=True, level=level)
    for up in (low[2] + below + 0.05, low[2] + below + _GAP):
        at = np.array([*middle[:2], up]) + _grip_from_centre(env, name)
        yield Waypoint(at, yaw + turn, CLOSED, 0.008, exact=True, speed=0.7)
    here = hand.position(env)
    yield Waypoint(here, yaw + turn, OPEN, 0.02, dwell=6)
    yield Waypoint(here + 0.09 * _UP, yaw + turn, OPEN, 0.02, dwell=3)


def _grip_from_centre(env: Environment, name: str) -> np.ndarray:
    """Return the grip site from the middle of an object's box and its origin's height, m, (3,)."""
    low, high = bounds(env, name)
    centre = np.array([*(0.5 * (low + high)[:2]), pose(env, name)[0][2]])
    return hand.position(env) - centre


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
