"""Pushes a plate over the table to a region, from behind it or from within its rim."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from demonstrations.affordances import hand
from demonstrations.affordances.geometry import bounds, clearance, obstacle_geoms, pose, region
from demonstrations.skills.skill import CLOSED, Atom, Skill, Waypoint
from simulation.environment import Environment

_UP = np.array([0.0, 0.0, 1.0])
_FINGER = 0.008
"""Half of the closed fingers' thickness along the push, m."""
_PRESS = -0.007
"""Height asked of the fingers below the plate's floor, which presses them onto it, m."""
_LEAN = 0.4
"""Lean of the hand ahead, which keeps it clear of what is behind the plate, rad."""
_CORRECTION = 2.5
"""How much farther than it strayed from its line the plate is aimed back."""
_STEP = 0.035
"""Way of one push before its direction is set anew, m."""
_PUSHES = 12
"""Most pushes of one stroke."""
_STROKES = 5
"""Most times that the fingers are laid on anew."""
_SLIP = 0.035
"""How far the fingers may slip ahead on the plate, m."""
_INSET = 0.012
"""How far within the region's edge the plate is to lie, m."""
_NEAR = 0.008
"""Distance from its place at which the plate is there, m."""


class PushPlate(Skill):
    """Pushes with closed fingers: against the rim's outer side, or from within the plate.

    `behind` pushes from outside; `inside` and `inside_bow` lay the fingers into the plate against
    the rim ahead, and move it straight, or in an arc.
    """

    ways = ("behind", "inside", "inside_bow")

    def fits(self, atom: Atom) -> bool:
        """Return whether a plate shall come to lie on a region of the table."""
        return atom[0] == "on" and "plate" in atom[1] and "table" in atom[2]

    def plan(
        self, env: Environment, atom: Atom, way: str, rng: np.random.Generator
    ) -> Iterator[Waypoint]:
        """Yield: down to the rim, and pushes, each aimed anew, until the plate is in place."""
        _, name, target = atom
        box = region(env, target)
        assert box is not None
        start = _centre(env, name)
        room = box.extent[:2] - _INSET
        goal = np.clip(start, box.position[:2] - room, box.position[:2] + room)
        aims = [goal]
        if way == "inside_bow":
            side = np.array([-(goal - start)[1], (goal - start)[0]])
            middle = start + 0.6 * (goal - start)
            vias = [np.append(middle + bow * side, box.position[2] + 0.02) for bow in (-0.3, 0.3)]
            others = obstacle_geoms(env, (name,))
            via = max(vias, key=lambda point: clearance(env, point[None], others))
            aims = [via[:2], goal]
        low, high = bounds(env, name)
        radius = 0.25 * float((high - low)[:2].sum())
        offset = -radius - _FINGER if way == "behind" else 0.01
        height = low[2] + hand.FINGER_TIP + (0.006 if way == "behind" else _PRESS)
        begin = start
        for aim in aims:
            for _ in range(_STROKES):
                if (aim - _centre(env, name)) @ (aim - begin) < _NEAR * np.linalg.norm(aim - begin):
                    break
                yield from _approach(env, name, aim, offset, height, rng)
                yield from _push(env, name, begin, aim, offset, height)
            begin = aim
        yield Waypoint(hand.position(env) + 0.06 * _UP, gripper=CLOSED, tolerance=0.02)


def _approach(
    env: Environment,
    name: str,
    aim: np.ndarray,
    offset: float,
    height: float,
    rng: np.random.Generator,
) -> Iterator[Waypoint]:
    """Yield: over the rim where the fingers shall push, and down."""
    lean = _LEAN if offset < 0 else -_LEAN
    way = _direction(env, name, aim)
    yaw, tilt = hand.leaned(way, _yaw_across(way) + rng.normal(0.0, 0.03), lean)
    start = _centre(env, name) + (offset - (0.011 if offset < 0 else 0.0)) * way[:2]
    for up, tolerance in ((0.06, 0.03), (0.03, 0.025), (0.0, 0.018)):
        at = np.array([*start, height + up])
        yield Waypoint(at, yaw, CLOSED, tolerance, exact=True, tilt=tilt, level=0.3)


def _push(
    env: Environment, name: str, begin: np.ndarray, aim: np.ndarray, offset: float, height: float
) -> Iterator[Waypoint]:
    """Yield pushes along a line until the plate's middle is at its end, or the fingers slip off."""
    line = (aim - begin) / max(float(np.linalg.norm(aim - begin)), 1e-6)
    lean = _LEAN if offset < 0 else -_LEAN
    for _ in range(_PUSHES):
        centre = _centre(env, name)
        left = float((aim - centre) @ line)
        strayed = begin + ((centre - begin) @ line) * line - centre
        way = _direction(env, name, aim + _CORRECTION * strayed)
        along = float((hand.position(env)[:2] - centre) @ way[:2])
        if left < _NEAR or along - offset > _SLIP:
            return
        yaw, tilt = hand.leaned(way, _yaw_across(way), lean)
        reached = max(along, offset) if offset < 0 else along
        at = np.array([*(centre + (reached + min(_STEP, left) + 0.015) * way[:2]), height])
        yield Waypoint(at, yaw, CLOSED, 0.025, exact=True, speed=0.5, tilt=tilt)


def _centre(env: Environment, name: str) -> np.ndarray:
    """Return a thing's origin from above, world frame, m, (2,)."""
    return pose(env, name)[0][:2]


def _direction(env: Environment, name: str, aim: np.ndarray) -> np.ndarray:
    """Return the horizontal direction (3,) from a thing's middle to a point."""
    across = aim - _centre(env, name)
    return np.array([*across, 0.0]) / max(float(np.linalg.norm(across)), 1e-6)


def _yaw_across(way: np.ndarray) -> float:
    """Return the smallest yaw whose closing axis lies across a horizontal direction, rad."""
    return hand.yaws_along(float(np.arctan2(way[0], -way[1])))[0]
