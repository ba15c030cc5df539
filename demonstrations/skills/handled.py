"""Picks up what has handles and knobs, pans and moka pots, and puts it down level."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from demonstrations.affordances import hand
from demonstrations.affordances.fitting import Slot, find_slot
from demonstrations.affordances.geometry import (
    bounds,
    corridor_height,
    obstacle_geoms,
    parent,
    pose,
    turn_between,
)
from demonstrations.affordances.grasps import Grasp
from demonstrations.affordances.parts import ROOM, Part, find_parts
from demonstrations.affordances.placing import turned
from demonstrations.skills.skill import CLOSED, OPEN, Atom, Skill, Waypoint, let_go
from simulation.environment import Environment

_UP = np.array([0.0, 0.0, 1.0])
_LARGEST_TILT = 0.4
"""Angle by which the hand is tilted at most to level what hangs from it, rad."""
_PAN, _POT = re.compile(r"\w*(frypan|skillet|pan)_\d+"), re.compile(r"moka_pot_\d+")


@dataclass(frozen=True)
class Way:
    """Which part is grasped, how the hand is turned, and how the object travels."""

    part: str
    """`end` and `root` of the handle, the `handle` of a pot, its `knob`, or a `rim`."""
    side: float
    """Sign of the hand's yaw; 0 for the smallest."""
    lift: float = 0.0
    """Height above what is passed at which the object is carried, m."""
    bow: float = 0.0
    """Bow of the carrying arc to the robot's side of the straight line, m."""


class _ByPart(Skill):
    """Grasps a thin part of an object from above, levels it and carries it along an arc."""

    names: ClassVar[re.Pattern[str]]
    _ways: ClassVar[dict[str, Way]]

    def fits(self, atom: Atom) -> bool:
        """Return whether the predicate is `on` or `in`, of this kind of object."""
        return atom[0] in ("on", "in") and self.names.fullmatch(atom[1]) is not None

    def plan(
        self, env: Environment, atom: Atom, way: str, rng: np.random.Generator
    ) -> Iterator[Waypoint]:
        """Yield: over the part, down, grasp, lift, level, arc, over the target, down, release."""
        _, name, target = atom
        chosen = self._ways[way]
        part = _choose(env, name, chosen)
        yield from _pick(part.grasp, rng)
        yield from _carry(env, name, target, part.grasp.yaw, chosen, rng)


class PlacePan(_ByPart):
    """Takes a pan by its handle's end, its root or its rim; under a ceiling by the handle alone."""

    names = _PAN
    ways = ("end", "root", "rim")
    _ways: ClassVar[dict[str, Way]] = {
        "end": Way("end", 1.0),
        "root": Way("root", -1.0, 0.04),
        "rim": Way("rim", 0.0, 0.02, 0.06),
        "swung": Way("end", -1.0, 0.06, 0.08),
    }

    def ways_of(self, atom: Atom) -> tuple[str, ...]:
        """Return the ways: nothing but the handle stays outside of what a pan slides into."""
        return ("end", "root", "swung") if atom[0] == "in" else self.ways


class PlacePot(_ByPart):
    """Takes a moka pot by its handle from either side, or by its lid's knob."""

    names = _POT
    ways = ("handle", "turned", "knob")
    _ways: ClassVar[dict[str, Way]] = {
        "handle": Way("handle", 1.0),
        "turned": Way("handle", -1.0, 0.04),
        "knob": Way("knob", 0.0, 0.02, 0.06),
    }


def _choose(env: Environment, name: str, way: Way) -> Part:
    """Return the best of an object's parts for a way."""
    origin, _ = pose(env, name)

    def reach(part: Part) -> float:
        return float(np.linalg.norm((part.grasp.position - origin)[:2]))

    found = find_parts(env, name)
    far = max(map(reach, found))
    tall = max(part.height for part in found)
    wishes: dict[str, Callable[[Part], float]] = {
        "end": lambda part: abs(reach(part) - far + 0.035),
        "root": lambda part: abs(reach(part) - 0.6 * far),
        "handle": lambda part: abs(reach(part) - far + 0.008),
        "knob": lambda part: 2.0 * (tall - part.height),
        "rim": lambda part: 3.0 * max(0.0, reach(part) - 0.45 * far) + 4.0 * part.width,
    }

    def cost(part: Part) -> float:
        turned_away = way.side * part.grasp.yaw < 0.0
        crowded = max(0.0, ROOM - part.free)
        away = 0.02 * abs(part.grasp.yaw) if not way.side else 1.0 * turned_away
        return wishes[way.part](part) + away + 20.0 * crowded

    return min(found, key=cost)


def _pick(grasp: Grasp, rng: np.random.Generator) -> Iterator[Waypoint]:
    """Yield: over the part, down to it, and the fingers' closing."""
    at, yaw = grasp.position, grasp.yaw
    yield Waypoint(at + 0.10 * _UP, yaw + rng.normal(0.0, 0.03), OPEN, 0.03)
    yield Waypoint(at + 0.03 * _UP, yaw, OPEN, 0.008, exact=True, level=0.06)
    yield Waypoint(at, yaw, OPEN, 0.005, exact=True, speed=0.7, level=0.06)
    yield Waypoint(at, yaw, CLOSED, 0.05, dwell=10, exact=True)


def _carry(
    env: Environment, name: str, target: str, yaw: float, way: Way, rng: np.random.Generator
) -> Iterator[Waypoint]:
    """Yield: lift, level, arc, before or over the target, to its place, release and retreat."""
    start, frame = pose(env, name)
    low, high = bounds(env, name)
    below = start[2] - low[2]
    lifted = hand.position(env) + (0.07 + way.lift) * _UP
    yield Waypoint(lifted, yaw, CLOSED, 0.02, speed=0.8)
    lean = _lean(frame, pose(env, name)[1])
    yield Waypoint(lifted, yaw, CLOSED, 0.02, exact=True, dwell=3, tilt=_tilt(-lean))
    left = _lean(frame, pose(env, name)[1])
    lean = lean + left
    lean *= min(1.0, _LARGEST_TILT / max(float(np.linalg.norm(lean)), 1e-9))
    yield Waypoint(lifted, yaw, CLOSED, 0.02, exact=True, dwell=3, tilt=_tilt(-lean))
    slot = find_slot(env, name, target, yaw)
    origin, _ = pose(env, name)
    held = hand.position(env) - origin
    passed = (name, parent(env, target)) if slot.slides else (name,)
    radius = 0.4 * float(np.max((high - low)[:2]))
    crossed = corridor_height(env, start, slot.before, obstacle_geoms(env, passed), radius)
    height = max(crossed + 0.03 + below + way.lift, slot.before[2] + 0.04, origin[2])
    yield from _travel(slot, yaw, lean, origin, held, height, way)
    tilt = _tilt(turned(-lean, slot.yaw - yaw))
    yield from _settle(env, name, slot, tilt)
    here = hand.position(env)
    yield from let_go(env, slot.yaw, tilt=tilt)
    back = 0.06 * slot.outward if slot.slides else np.zeros(3)
    yield Waypoint(here + 0.05 * _UP, slot.yaw, OPEN, 0.02)
    yield Waypoint(here + back + 0.09 * _UP, slot.yaw, OPEN, 0.02, dwell=4)


def _travel(
    slot: Slot,
    yaw: float,
    lean: np.ndarray,
    origin: np.ndarray,
    held: np.ndarray,
    height: float,
    way: Way,
) -> Iterator[Waypoint]:
    """Yield: up, along the arc, and to above the place before the target."""
    turn = slot.yaw - yaw
    raised = np.array([*origin[:2], height])
    yield Waypoint(raised + held, yaw, CLOSED, 0.03, tilt=_tilt(-lean))
    over = np.array([*slot.before[:2], height])
    across = over - raised
    sideways = np.array([-across[1], across[0], 0.0]) / max(float(np.linalg.norm(across)), 1e-6)
    bow = way.bow * sideways * (-1.0 if sideways[0] > 0 else 1.0)
    half = turned(held, 0.5 * turn), _tilt(turned(-lean, 0.5 * turn))
    middle = raised + 0.5 * across + bow
    yield Waypoint(middle + half[0], yaw + 0.5 * turn, CLOSED, 0.04, tilt=half[1])
    tilt = _tilt(turned(-lean, turn))
    at = over + turned(held, turn)
    yield Waypoint(at, slot.yaw, CLOSED, 0.02, exact=True, level=0.12, tilt=tilt)


def _settle(
    env: Environment, name: str, slot: Slot, tilt: tuple[float, float]
) -> Iterator[Waypoint]:
    """Yield: down before the target and in where it has a ceiling, then down to its place."""
    over = np.array([*slot.position[:2], slot.before[2]])
    steps = [(slot.before, 0.008)] if slot.slides else []
    for place, tolerance in (*steps, (over, 0.01), (slot.position, 0.006)):
        held = hand.position(env) - pose(env, name)[0]
        yield Waypoint(
            place + held, slot.yaw, CLOSED, tolerance, exact=True, speed=0.8, dwell=1, tilt=tilt
        )


def _lean(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Return the rotation (3,), rad, about horizontal axes that an object has leaned by."""
    return turn_between(before, after) * [1.0, 1.0, 0.0]


def _tilt(lean: np.ndarray) -> tuple[float, float]:
    return float(lean[0]), float(lean[1])
