"""Closes the drawer of a cabinet by pushing its front at different places and heights."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from demonstrations.skills.skill import CLOSED, OPEN, Atom, Skill, Waypoint
from simulation.environment import Environment

_REGION = re.compile(r"\w*cabinet_\d+_(top|middle|bottom)_region")
_PUSH = 0.17
"""Distance that a push goes beyond the drawer's front as it stands, m."""


@dataclass(frozen=True)
class _Push:
    """Where a way pushes, in the drawer's frame (sideways is world x)."""

    sideways: float
    """Distance from the drawer's middle, m."""
    height: float
    """Height of the grip site over the drawer's middle, m."""
    stand_off: float
    """Distance in front of the drawer's front from which the push starts, m."""
    yaw: float
    """Rotation of the hand about the vertical, rad."""
    gripper: float
    """Whether the fingers are open or closed."""


class CloseDrawer(Skill):
    """Pushes the open drawer's front with the fingers (left, right) or the palm (low).

    `left` and `right` push either half of the front with closed fingers, the hand turned a
    quarter outward so that its broad side clears the cabinet; `low` comes underneath, fingers
    open, and pushes with the palm, as people mostly do.
    """

    ways = ("left", "right", "low")
    _pushes: ClassVar[dict[str, _Push]] = {
        "left": _Push(0.080, -0.045, 0.10, 0.5 * np.pi, CLOSED),
        "right": _Push(-0.080, -0.045, 0.10, -0.5 * np.pi, CLOSED),
        "low": _Push(-0.004, -0.092, 0.22, 0.0, OPEN),
    }

    def fits(self, atom: Atom) -> bool:
        """Return whether the predicate is that a drawer of a cabinet is closed."""
        return _REGION.fullmatch(atom[1]) is not None

    def plan(
        self, env: Environment, atom: Atom, way: str, rng: np.random.Generator
    ) -> Iterator[Waypoint]:
        """Yield: before the front, then through it in short moves that keep the height."""
        push = self._pushes[way]
        region = atom[1]
        cabinet, level = region.removesuffix("_region").rsplit("_", 1)
        drawer = env.object_position(region)
        joint = env.scene.joint_names.index(f"{cabinet}_{level}_level")
        body = env.fixtures().positions[env.scene.fixture_names.index(cabinet)]
        outward = np.sign(drawer[1] - body[1])
        front = drawer[1] + outward * 0.09
        x, z = drawer[0] + push.sideways + rng.normal(0, 0.006), drawer[2] + push.height
        start = env.data.site_xpos[env.scene.robot.site].copy()
        clear = np.array([x, front + outward * push.stand_off, z])
        if way == "low":
            before = np.array([0.5 * (start[0] + x), clear[1], start[2] - 0.05])
        else:
            before = np.array([x, clear[1] + outward * 0.02, start[2] - 0.02])
        yield Waypoint(before, push.yaw, push.gripper, 0.04)
        yield Waypoint(clear, push.yaw, push.gripper, 0.012)
        travel = abs(env.data.qpos[env.scene.joint_qpos[joint]]) + _PUSH + push.stand_off
        for share in (0.2, 0.4, 0.6, 0.8, 1.0):
            through = clear - np.array([0.0, outward * share * travel, 0.0])
            yield Waypoint(through, push.yaw, push.gripper, 0.02)
