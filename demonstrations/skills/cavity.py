"""Puts a mug through the front of a microwave, the hand leaning back out of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from demonstrations.affordances import hand
from demonstrations.affordances.fitting import way_out
from demonstrations.affordances.geometry import (
    bounds,
    clearance,
    corners,
    corridor_height,
    geoms,
    obstacle_geoms,
    parent,
    pose,
    region,
)
from demonstrations.affordances.placing import turned
from demonstrations.skills.skill import CLOSED, OPEN, Atom, Skill, Waypoint, let_go
from simulation.environment import Environment

_UP = np.array([0.0, 0.0, 1.0])
_LEAN = 0.9
"""Angle by which the hand leans out of the opening, rad."""
_RAISED = 0.016
"""Height over its place at which the mug slides in, m."""
_GAP = 0.004
"""Height over the floor at which the mug is let go, m."""
_APART = 0.008
"""Clearance of hand and mug from the cavity beyond which more is no better, m."""


@dataclass(frozen=True)
class _Hold:
    """How the leaning hand takes a mug."""

    position: np.ndarray
    """Grip site, world frame, m, (3,)."""
    back: np.ndarray
    """Horizontal direction in which the hand leans, (3,)."""
    yaw: float
    """Of the hand before it leans, rad."""

    def aimed(self, turn: float) -> tuple[float, tuple[float, float]]:
        """Return yaw and tilt, rad, of the hand turned about the vertical by an angle, rad."""
        return hand.leaned(turned(self.back, turn), self.yaw + turn, _LEAN)

    def fingers(self, turn: float) -> np.ndarray:
        """Return the direction in which the fingers point then, (3,)."""
        return -np.asarray(hand.rotation(*self.aimed(turn))[:, 2])


class MugIntoMicrowave(Skill):
    """Takes a mug by its handle and slides it in; by its wall the hand would not fit in with it."""

    ways = ("handle",)

    def fits(self, atom: Atom) -> bool:
        """Return whether a mug shall be in a microwave."""
        return atom[0] == "in" and "mug" in atom[1] and "microwave" in atom[2]

    def plan(
        self, env: Environment, atom: Atom, way: str, rng: np.random.Generator
    ) -> Iterator[Waypoint]:
        """Yield: to the mug, leaning, grasp, lift, before the opening, in, release, out."""
        _, name, target = atom
        box = region(env, target)
        assert box is not None
        outward = way_out(env, box, parent(env, target))
        if outward is None:
            outward = (hand.position(env) - box.position) * [1.0, 1.0, 0.0]
            outward = outward / float(np.linalg.norm(outward))
        hold = _by_handle(env, name)
        fingers = hold.fingers(0.0)
        yaw, tilt = hold.aimed(rng.normal(0.0, 0.02))
        for back, tolerance, level in ((0.10, 0.03, 0.4), (0.04, 0.012, 0.12), (0.0, 0.007, 0.1)):
            at = hold.position - back * fingers
            yield Waypoint(at, yaw, OPEN, tolerance, exact=True, tilt=tilt, level=level, speed=0.8)
        yield Waypoint(hold.position, yaw, CLOSED, 0.05, dwell=10, exact=True, tilt=tilt)
        yield from _put_in(env, name, target, hold, outward, rng)


def _by_handle(env: Environment, name: str) -> _Hold:
    """Return a hold of the handle's upright bar."""
    boxes = corners(env, geoms(env, name))
    origin, _ = pose(env, name)
    bar = boxes[int(np.linalg.norm((boxes.mean(1) - origin)[:, :2], axis=1).argmax())]
    back = (bar.mean(0) - origin) * [1.0, 1.0, 0.0]
    back = back / float(np.linalg.norm(back))
    return _hold(np.array([*bar.mean(0)[:2], bar[:, 2].max() - 0.02]), back)


def _hold(at: np.ndarray, back: np.ndarray) -> _Hold:
    yaws = hand.yaws_along(float(np.arctan2(back[0], -back[1])))
    return _Hold(at, back, yaws[0])


def _put_in(
    env: Environment,
    name: str,
    target: str,
    hold: _Hold,
    outward: np.ndarray,
    rng: np.random.Generator,
) -> Iterator[Waypoint]:
    """Yield: lift, before the opening, in, down, release, and out along the fingers."""
    origin, _ = pose(env, name)
    turn = float(np.arctan2(np.cross(hold.back, outward)[2], hold.back @ outward))
    place = _place(env, name, target, hold, turn, outward)
    thing = parent(env, target)
    before = place + 0.14 * outward + _RAISED * _UP
    crossed = corridor_height(env, origin, before, obstacle_geoms(env, (name, thing)), 0.08)
    below = origin[2] - bounds(env, name)[0][2]
    high = max(crossed + 0.03, before[2] - below, origin[2] - below + 0.05) + below
    high += abs(rng.normal(0.0, 0.01))
    held = hand.position(env) - origin
    yaw, tilt = hold.aimed(0.0)
    yield Waypoint(np.array([*origin[:2], high]) + held, yaw, CLOSED, 0.03, tilt=tilt)
    yaw, tilt = hold.aimed(turn)
    over = np.array([*before[:2], high])
    steps = ((over, 0.03), (before, 0.012), (place + _RAISED * _UP, 0.01), (place, 0.007))
    held = turned(held, turn)
    for index, (at, tolerance) in enumerate(steps):
        if index:
            held = hand.position(env) - pose(env, name)[0]
        yield Waypoint(
            at + held, yaw, CLOSED, tolerance, exact=True, tilt=tilt, level=0.15, speed=0.8
        )
    here = hand.position(env)
    yield from let_go(env, yaw, 5, tilt)
    away = here - 0.09 * hold.fingers(turn)
    yield Waypoint(away, yaw, OPEN, 0.02, tilt=tilt)
    here = hand.position(env)
    yield Waypoint(here + 0.05 * outward + 0.12 * _UP, yaw, OPEN, 0.04)


def _place(
    env: Environment, name: str, target: str, hold: _Hold, turn: float, outward: np.ndarray
) -> np.ndarray:
    """Return where the mug's origin shall be, m, (3,): as deep as the hand stays outside."""
    box = region(env, target)
    assert box is not None
    origin, _ = pose(env, name)
    held = hand.position(env) - origin
    others = obstacle_geoms(env, (name,))
    lateral = np.array([-outward[1], outward[0], 0.0])
    points = (corners(env, geoms(env, name)) - origin).reshape(-1, 3)
    mug = np.array([turned(point, turn) for point in points])
    rotation = hand.rotation(*hold.aimed(turn))
    inner = float(np.abs(outward) @ box.extent)
    wide = float(np.abs(lateral) @ box.extent)
    bottom = _floor(env, target)
    best, least = box.position, np.inf
    for depth in np.arange(-0.05, 0.07, 0.006):
        for share in np.linspace(-0.7, 0.7, 15):
            at = box.position + (inner - depth) * outward + share * wide * lateral
            at[2] = bottom + origin[2] - bounds(env, name)[0][2] + _GAP
            grip = at + turned(held, turn)
            free = min(
                clearance(env, hand.hull(grip + _RAISED * _UP, rotation), others),
                clearance(env, hand.open_fingers(grip, rotation), others),
                clearance(env, mug + at + 0.5 * _RAISED * _UP, others),
            )
            cost = 100.0 * max(_APART - free, 0.0) - depth + 0.05 * abs(share)
            if cost < least:
                best, least = at, cost
    return best


def _floor(env: Environment, target: str) -> float:
    """Return the height of the highest surface below the middle of a region, m."""
    box = region(env, target)
    assert box is not None
    points = corners(env, geoms(env, parent(env, target)))
    low, high = points.min(1), points.max(1)
    over = ((low < box.position) & (box.position < high))[:, :2].all(1)
    return float(high[over & (high[:, 2] <= box.position[2]), 2].max())
