"""Lays a bottle on a rack's sloping bed, its foot against the lip."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from demonstrations.affordances import hand
from demonstrations.affordances.geometry import (
    clearance,
    corners,
    corridor_height,
    geoms,
    obstacle_geoms,
    parent,
    pose,
    region,
)
from demonstrations.affordances.grasps import Grasp, body_grasps
from demonstrations.skills.pick_place import pick
from demonstrations.skills.skill import CLOSED, OPEN, Atom, Skill, Waypoint, let_go
from simulation.environment import Environment

_UP = np.array([0.0, 0.0, 1.0])
_FROM_LIP = 0.012
"""Distance of the bottle's foot up the slope from the lip, m."""
_GAP = 0.004
"""Least clearance of the bottle over the bed when it is let go, m."""
_OVER = 0.07
"""Height over its place at which the bottle is laid into the bed's slope, m."""


@dataclass(frozen=True)
class _Way:
    """Where on the bed, and with the hand turned to which side."""

    beside: float
    """Place along the lip from its middle, away from the robot, of its half length."""
    yaw: float
    """Sign of the hand's yaw."""
    lift: float
    """Height above what is passed at which the bottle is carried, m."""


@dataclass(frozen=True)
class _Bed:
    """A slope with a lip at its lower end."""

    lip: np.ndarray
    """Point at the lip where the foot shall rest, world frame, m, (3,)."""
    rising: np.ndarray
    """Direction up the slope, world frame, (3,)."""

    @property
    def toward(self) -> np.ndarray:
        """Horizontal direction in which it rises, (3,)."""
        flat = self.rising * [1.0, 1.0, 0.0]
        return flat / float(np.linalg.norm(flat))

    @property
    def angle(self) -> float:
        """By which something upright leans to lie on it, rad."""
        return float(np.arccos(self.rising[2]))


class BottleOnRack(Skill):
    """Grasps a bottle's neck from above, leans with it and lays it along the slope.

    `near` and `far` lay it on the robot's side of the bed's middle and beyond it; `turned` has
    the hand turned round by half a turn.
    """

    ways = ("near", "far", "turned")
    _ways: ClassVar[dict[str, _Way]] = {
        "near": _Way(-0.55, 1.0, 0.0),
        "far": _Way(0.45, 1.0, 0.06),
        "turned": _Way(-0.55, -1.0, 0.03),
    }

    def fits(self, atom: Atom) -> bool:
        """Return whether a bottle shall lie on a rack."""
        return atom[0] == "on" and "bottle" in atom[1] and "rack" in atom[2]

    def plan(
        self, env: Environment, atom: Atom, way: str, rng: np.random.Generator
    ) -> Iterator[Waypoint]:
        """Yield: over the neck, down, grasp, lift, over the bed, lean, down, release, back."""
        _, name, target = atom
        chosen = self._ways[way]
        bed = _bed(env, target, chosen.beside)
        yaws = hand.yaws_along(float(np.arctan2(bed.toward[0], -bed.toward[1])))
        yaw = max(yaws, key=lambda each: chosen.yaw * each)
        neck = min(body_grasps(env, name), key=lambda each: abs(np.sin(each.yaw - yaw)))
        yield from pick(Grasp(neck.position, yaw, 0.0), rng)
        yield from _lay(env, name, target, bed, yaw, chosen.lift, rng)


def _bed(env: Environment, target: str, beside: float) -> _Bed:
    """Return the bed of a region, the axis of which that is the steepest rises along it."""
    box = region(env, target)
    assert box is not None
    axes = box.rotation * np.sign(box.rotation[2])
    level = int(np.argmin(np.abs(box.rotation[2])))
    rising = axes[:, 2]
    along = box.rotation[:, level] * box.half_size[level]
    along = along * np.sign(along @ (box.position - env.data.body("robot0_base").xpos))
    return _Bed(box.position + beside * along + _FROM_LIP * rising, rising)


def _lay(
    env: Environment,
    name: str,
    target: str,
    bed: _Bed,
    yaw: float,
    lift: float,
    rng: np.random.Generator,
) -> Iterator[Waypoint]:
    """Yield: lift, over the bed, lean with the bottle, down to the slope, release and back."""
    origin, _ = pose(env, name)
    passed = corridor_height(env, origin, bed.lip, obstacle_geoms(env, (name,)), 0.10)
    high = max(passed, origin[2]) + 0.03 + lift + abs(rng.normal(0.0, 0.01))
    held = hand.position(env) - origin
    yield Waypoint(np.array([*origin[:2], high]) + held, yaw, CLOSED, 0.03)
    across = 0.5 * (origin + bed.lip)
    leans = [hand.leaned(bed.toward, yaw, share * bed.angle) for share in (0.0, 0.5, 1.0)]
    yield Waypoint(np.array([*across[:2], high]) + held, yaw, CLOSED, 0.04)
    lip = bed.lip + _raised(env, name, target, bed)
    steps = ((leans[1], lip + _OVER * _UP), (leans[2], lip + 0.03 * _UP), (leans[2], lip))
    for (leaned, tilt), foot in steps:
        origin, rotation = pose(env, name)
        after = hand.rotation(leaned, tilt) @ hand.rotation(yaw).T
        axis = rotation[:, 2]
        yield Waypoint(
            foot + _onto(after[:, 2], axis) @ (hand.position(env) - origin),
            leaned,
            CLOSED,
            0.014,
            exact=True,
            speed=0.7,
            level=0.12,
            tilt=tilt,
        )
    here = hand.position(env)
    leaned, tilt = leans[2]
    yield from let_go(env, leaned, 8, tilt)
    yield Waypoint(here + 0.08 * bed.rising + 0.02 * _UP, leaned, OPEN, 0.04, dwell=3, tilt=tilt)


def _onto(after: np.ndarray, before: np.ndarray) -> np.ndarray:
    """Return the least rotation (3, 3) that brings one direction (3,) onto another."""
    axis = np.cross(before, after)
    cosine = float(before @ after)
    skew = np.array([[0, -axis[2], axis[1]], [axis[2], 0, -axis[0]], [-axis[1], axis[0], 0]])
    return np.eye(3) + skew + skew @ skew / (1.0 + cosine)


def _raised(env: Environment, name: str, target: str, bed: _Bed) -> np.ndarray:
    """Return how far over the lip a lying bottle's foot is clear of the bed, m, (3,)."""
    origin, rotation = pose(env, name)
    points = (corners(env, geoms(env, name)) - origin).reshape(-1, 3)
    lying = points @ _onto(bed.rising, rotation[:, 2]).T + bed.lip
    normal = _UP - bed.rising[2] * bed.rising
    normal = normal / float(np.linalg.norm(normal))
    rack = geoms(env, parent(env, target))
    for raised in np.arange(0.0, 0.06, 0.002):
        if clearance(env, lying + raised * normal, rack) > _GAP:
            return np.asarray(raised * normal)
    return 0.03 * normal
