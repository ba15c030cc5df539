"""Turns a stove's knob on or off: by the middle or by either end of its bar."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import numpy as np

from demonstrations.affordances import hand
from demonstrations.affordances.moving_parts import MovingPart, holds, moving_part
from demonstrations.skills.skill import CLOSED, OPEN, Atom, Skill, Waypoint
from simulation.environment import Environment

_UP = np.array([0.0, 0.0, 1.0])
_DEPTH = 0.02
"""How far the grip site reaches below the bar's top, m."""
_FROM_END = 0.011
"""Distance of the fingers from the end of the bar, m."""
_STEP = 0.1
"""Angle of each move, rad."""
_BEYOND = 0.5
"""Angle by which the fingers turn beyond what the knob shall turn, which follows slowly, rad."""
_MOVES = 40
"""Moves of a turn, at most."""
_ATTEMPTS = 3
"""Times that a way takes hold of a knob."""


@dataclass(frozen=True)
class Knob:
    """The bar that stands on a knob's disc, as it is turned now."""

    centre: np.ndarray
    """On the joint's axis, at the bar's top, world frame, m, (3,)."""
    angle: float
    """Direction of the bar's length from world x, rad."""
    half_size: np.ndarray
    """Half of length and width, m, (2,)."""
    disc: float
    """Height of the disc's top, m."""


def read_knob(env: Environment, part: MovingPart) -> Knob:
    """Return a knob's bar: the largest of its boxes, turned as it is turned."""
    boxes = part.boxes(env)
    bar = boxes[np.ptp(boxes[..., 2], axis=1).argmax()]
    edges = bar[[4, 2, 1]] - bar[0]
    flat = sorted((edge for edge in edges if abs(edge[2]) < 0.01), key=np.linalg.norm)
    if len(flat) < 2:
        flat = sorted(edges, key=lambda edge: abs(edge[2]))[:2]
        flat = sorted(flat, key=np.linalg.norm)
    wide, long = flat[0], flat[-1]
    anchor = part.anchor(env)
    low = [box[:, 2].max() for box in boxes if np.ptp(box[:, 2]) < 0.02]
    return Knob(
        np.array([anchor[0], anchor[1], bar[:, 2].max()]),
        float(np.arctan2(long[1], long[0])),
        0.5 * np.array([np.linalg.norm(long), np.linalg.norm(wide)]),
        float(max(low, default=bar[:, 2].min())),
    )


class TurnKnob(Skill):
    """Turns a knob to its other end.

    `twist` takes the middle of the bar between the fingers and turns the hand above it; `near` and
    `far` take the end that lies nearer to the robot or farther from it, and swing it round.
    """

    ways = ("twist", "near", "far")
    _ends: ClassVar[dict[str, float]] = {"twist": 0.0, "near": -1.0, "far": 1.0}

    def fits(self, atom: Atom) -> bool:
        """Return whether the predicate is that something is turned on or off."""
        return atom[0] in ("turnon", "turnoff")

    def plan(
        self, env: Environment, atom: Atom, way: str, rng: np.random.Generator
    ) -> Iterator[Waypoint]:
        """Yield: over the knob, down at it, round in short moves, and up again."""
        part = moving_part(env, atom[1])
        sense = 1.0 if atom[0] == "turnon" else -1.0
        sense *= float(part.axis(env)[2])
        for _ in range(_ATTEMPTS):
            yield from _turn(env, part, atom, sense, self._ends[way], rng)
            if holds(env, atom):
                return


def _turn(
    env: Environment,
    part: MovingPart,
    atom: Atom,
    sense: float,
    end: float,
    rng: np.random.Generator,
) -> Iterator[Waypoint]:
    """Yield: down around the bar, closed on it, round ahead of it, and let go."""
    knob = read_knob(env, part)
    height = max(knob.centre[2] - _DEPTH, knob.disc + hand.FINGER_TIP + 0.004)
    length = np.array([np.cos(knob.angle), np.sin(knob.angle), 0.0])
    length *= end * np.sign(length[0]) * (knob.half_size[0] - _FROM_END)
    centre = np.array([*knob.centre[:2], height])
    travel = _travel(env, part, atom, sense)
    yaw = _yaw(knob.angle + 0.5 * np.pi, travel) + rng.normal(0.0, 0.03)
    at = centre + length
    yield Waypoint(at + 0.08 * _UP, yaw, OPEN, 0.02, level=0.2)
    yield Waypoint(at, yaw, OPEN, 0.008, exact=True, speed=0.7, level=0.15)
    yield Waypoint(at, yaw, CLOSED, 0.05, dwell=6, exact=True)
    turned, done = 0.0, partial(holds, env, atom)
    for move in range(1, _MOVES):
        if done():
            break
        turned = sense * min(_STEP * move, abs(travel) + _BEYOND)
        at = centre + hand.rotation(turned) @ length
        yield Waypoint(at, yaw + turned, CLOSED, 0.05, dwell=2, exact=True, until=done)
    here = hand.position(env)
    yield Waypoint(here, yaw + turned, OPEN, 0.02, dwell=4)
    yield Waypoint(here + 0.08 * _UP, yaw + turned, OPEN, 0.03)


def _travel(env: Environment, part: MovingPart, atom: Atom, sense: float) -> float:
    """Return the angle by which the knob turns, at most, rad: as far as off, or 1 rad to be on."""
    off, _ = part.limits(env)
    return sense * (1.0 if atom[0] == "turnon" else min(abs(part.value(env) - off), 2.0))


def _yaw(angle: float, travel: float) -> float:
    """Return the yaw that closes the fingers along a direction, and leaves room to turn on."""
    return min(hand.yaws_along(angle), key=lambda yaw: max(abs(yaw), abs(yaw + travel)))
