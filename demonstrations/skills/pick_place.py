"""Picks an object up by its rim and puts it on another one, by different grasps and arcs."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import numpy as np

from demonstrations.skills.skill import CLOSED, OPEN, Goal, Skill, Waypoint
from simulation.environment import Environment

_BOWL, _PLATE = re.compile(r"akita_black_bowl_\d+"), re.compile(r"plate_\d+")
_UP = np.array([0.0, 0.0, 1.0])
_RIM_RADIUS = 0.048
"""Distance of the grasp from the bowl's axis, m."""
_GRASP_HEIGHT = 0.022
"""Height of the grip site over the bowl's origin when the fingers close, m."""
_RELEASE_HEIGHT = 0.035
"""Height of the bowl's origin over the plate's when it is let down, m."""


@dataclass(frozen=True)
class _Grasp:
    """Which part of the rim is grasped and how the object travels."""

    yaw: float
    """Rotation of the hand about the vertical, rad; 0 grasps the rim on the robot's right."""
    lift: float
    """Height above the start that the object is carried at, m."""
    bow: float
    """Bow of the carrying arc toward the robot, m."""


class PickPlace(Skill):
    """Puts a black bowl on a plate.

    `side` grasps the rim on the robot's right and carries low and straight; `near` and `far`
    turn the hand, grasp the rim closer to the robot or farther from it, and carry in an arc
    that bows toward the robot, or high.
    """

    ways = ("side", "near", "far")
    _grasps: ClassVar[dict[str, _Grasp]] = {
        "side": _Grasp(0.0, 0.10, 0.0),
        "near": _Grasp(-0.2, 0.18, 0.09),
        "far": _Grasp(0.9, 0.26, -0.03),
    }

    def fits(self, goal: Goal) -> bool:
        """Return whether the goal is to put one black bowl on a plate."""
        return len(goal) == 1 and bool(_BOWL.fullmatch(goal[0][1]) and _PLATE.fullmatch(goal[0][2]))

    def plan(
        self, env: Environment, goal: Goal, way: str, rng: np.random.Generator
    ) -> Iterator[Waypoint]:
        """Yield: over the rim, down, grasp, lift, arc, over the plate, down, release."""
        grasp = self._grasps[way]
        bowl, plate = (partial(env.object_position, name) for name in goal[0][1:])
        side = np.array([np.sin(grasp.yaw), -np.cos(grasp.yaw), 0.0])
        rim = bowl() + _RIM_RADIUS * side + _GRASP_HEIGHT * _UP
        yaw = grasp.yaw + rng.normal(0.0, 0.05)
        yield Waypoint(rim + 0.10 * _UP, yaw, OPEN, 0.03)
        yield Waypoint(rim + 0.03 * _UP, yaw, OPEN, 0.016, exact=True)
        yield Waypoint(rim, yaw, OPEN, 0.014, exact=True, speed=0.7)
        yield Waypoint(rim, yaw, CLOSED, 0.05, dwell=12, exact=True)
        start = bowl()
        held = env.data.site_xpos[env.scene.robot.site] - start
        height = (grasp.lift + rng.normal(0.0, 0.01)) * _UP
        yield Waypoint(start + held + 0.6 * height, yaw, CLOSED, 0.03)
        across = plate() - start
        middle = start + 0.5 * across * [1, 1, 0] + [-grasp.bow, 0.0, 0.0] + height
        yield Waypoint(middle + held, yaw, CLOSED, 0.04)
        for above, tolerance in ((0.08, 0.025), (_RELEASE_HEIGHT, 0.012), (0.0, 0.006)):
            held = env.data.site_xpos[env.scene.robot.site] - bowl()
            over = plate() + above * _UP + held
            yield Waypoint(over, yaw, CLOSED, tolerance, exact=True, speed=0.8, dwell=2)
        here = env.data.site_xpos[env.scene.robot.site].copy()
        yield Waypoint(here, yaw, OPEN, 0.02, dwell=8)
        yield Waypoint(here + 0.08 * _UP, yaw, OPEN, 0.02, dwell=10)
