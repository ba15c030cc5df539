"""Opens a cabinet's drawer by its handle, and closes it by pushing its front."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import numpy as np

from demonstrations.affordances import hand
from demonstrations.affordances.geometry import bounds, clearance, obstacle_geoms, parent
from demonstrations.affordances.moving_parts import (
    Handle,
    MovingPart,
    drawer_handle,
    holds,
    moving_part,
)
from demonstrations.skills.skill import CLOSED, OPEN, Atom, Skill, Waypoint
from simulation.environment import Environment

_REGION = re.compile(r"\w*cabinet_\d+_(top|middle|bottom)_region")
_FINGER = 0.047
"""Distance of an open finger's middle from the hand's, m."""
_THICKNESS = 0.018
"""Of a finger across the closing axis, m."""
_DEEP = 0.009
"""How deep the finger tips reach behind a bar, m."""
_PRESS = 0.01
"""How far a pulling hand aims below the bar to keep its hold, m."""
_YAW = 0.5 * np.pi
"""The hand's yaw while it pulls: its fingers close along the drawer's front, rad."""
_STEP = 0.03
"""Distance by which a pull aims ahead of the drawer, m."""
_PULL = 0.5
"""Factor on the speed while it pulls."""
_SLIPPED = 0.025
"""Distance of the hand from where it has hold of the bar at which it has lost it, m."""
_FAR = 0.01
"""Distance from its end at which a drawer is open, m."""
_PULLS = 40
"""Moves of a pull, at most."""
_ATTEMPTS = 4
"""Times that a way takes hold of a handle."""
_PUSH_LEAN = 0.6
"""Lean of the hand that pushes a drawer without room underneath, rad."""
_PUSH = 0.17
"""Distance that a push goes beyond the drawer's front as it stands, m."""


@dataclass(frozen=True)
class _Push:
    """Where a way pushes a drawer."""

    side: float
    """Sideways from the drawer's middle, along world x, in half widths of its front."""
    below: float
    """Height of the grip site below the middle of the handle's bar, m."""
    stand_off: float
    """Distance in front of the drawer's front from which the push starts, m."""
    yaw: float
    """Rotation of the hand about the vertical, rad."""
    gripper: float
    """Whether the fingers are open or closed."""


@dataclass(frozen=True)
class _Pull:
    """How a way takes hold of a drawer's handle."""

    finger: float
    """Which finger goes behind the bar: 0 both, closed; -1 or +1 one of the open ones, the hand
    to that side of the handle's middle."""


class OpenDrawer(Skill):
    """Leans the hand outward, reaches behind the handle's bar with the finger tips, and pulls.

    `hook` hooks both closed fingers behind the middle of the bar; `left` and `right` one finger
    of the open hand, which so pulls from half a hand's width to either side.
    """

    ways = ("hook", "left", "right")
    _pulls: ClassVar[dict[str, _Pull]] = {
        "hook": _Pull(0.0),
        "left": _Pull(1.0),
        "right": _Pull(-1.0),
    }

    def fits(self, atom: Atom) -> bool:
        """Return whether the predicate is that a drawer of a cabinet is open."""
        return _REGION.fullmatch(atom[1]) is not None

    def plan(
        self, env: Environment, atom: Atom, way: str, rng: np.random.Generator
    ) -> Iterator[Waypoint]:
        """Yield: before and above the handle, down behind the bar, and out in short moves."""
        finger = self._pulls[way].finger
        drawer = moving_part(env, atom[1])
        handle = drawer_handle(env, drawer)
        side = 0.5 * sum(handle.gap) + finger * _FINGER + rng.normal(0.0, 0.002)
        gripper = OPEN if finger else CLOSED
        for _ in range(_ATTEMPTS):
            yield from self._attempt(env, drawer, side, gripper)
            if _open(env, drawer):
                return

    def _attempt(
        self, env: Environment, drawer: MovingPart, side: float, gripper: float
    ) -> Iterator[Waypoint]:
        handle = drawer_handle(env, drawer)
        lean = _lean(env, handle, side)
        tilt = hand.leaning(handle.outward, lean)
        axis = hand.rotation(0.0, tilt)[:, 2]
        at = _behind(handle, lean, side)
        before = at + 0.10 * axis + 0.03 * handle.outward
        yield Waypoint(before, _yaw(handle), gripper, 0.03, level=0.2, tilt=tilt)
        yield Waypoint(
            at + 0.03 * axis, _yaw(handle), gripper, 0.01, exact=True, tilt=tilt, level=0.12
        )
        yield Waypoint(
            at, _yaw(handle), gripper, 0.006, exact=True, tilt=tilt, speed=0.7, level=0.12
        )
        far = partial(_open, env, drawer)
        for _ in range(_PULLS):
            if far():
                break
            handle = drawer_handle(env, drawer)
            lean = max(_lean(env, handle, side), lean - 0.15)
            tilt = hand.leaning(handle.outward, lean)
            at = _behind(handle, lean, side)
            if (hand.position(env) - at) @ handle.outward > _SLIPPED:
                break
            down = -_PRESS * hand.rotation(0.0, tilt)[:, 2]
            pulled = at + _STEP * handle.outward + down
            yield Waypoint(
                pulled, _yaw(handle), gripper, 0.02, dwell=2, exact=True, tilt=tilt, speed=_PULL,
                until=far,
            )  # fmt: skip
        here = hand.position(env)
        yield Waypoint(here + 0.08 * axis, _yaw(handle), gripper, 0.03, tilt=tilt)


def _yaw(handle: Handle) -> float:
    """Return the yaw that lays the fingers along a front, and the forearm clear of it, rad."""
    return float(_YAW * np.sign(handle.outward[1] or 1.0))


def _open(env: Environment, drawer: MovingPart) -> bool:
    """Return whether a drawer stands as far out as it goes but for 1 cm."""
    return abs(drawer.value(env) - drawer.limits(env)[1]) < _FAR


def _behind(handle: Handle, lean: float, side: float) -> np.ndarray:
    """Return where the grip site is when the tips of the leaning fingers are behind the bar."""
    up, out = np.cos(lean), np.sin(lean)
    tip_out, tip_up = 0.5 * _THICKNESS * up, -0.5 * _THICKNESS * out
    outer = handle.inner - _DEEP * out - 0.002
    top = handle.height[1] - _DEEP * up
    centre = outer - tip_out, top - tip_up
    return handle.point(centre[0] + hand.FINGER_TIP * out, side, centre[1] + hand.FINGER_TIP * up)


def _lean(env: Environment, handle: Handle, side: float) -> float:
    """Return the least lean at which the hand keeps clear of all, rad."""
    ids = obstacle_geoms(env)
    leans = np.deg2rad([15, 25, 35, 40, 45, 50, 55, 60])
    for lean in leans:
        turn = hand.rotation(_yaw(handle), hand.leaning(handle.outward, lean))
        if clearance(env, hand.hull(_behind(handle, lean, side), turn), ids) > 0.004:
            return float(lean)
    return float(leans[-1])


class CloseDrawer(Skill):
    """Pushes the open drawer's front with the fingers (left, right) or the palm (low).

    `left` and `right` push either half of the front with closed fingers, the hand turned a
    quarter outward so that its broad side clears the cabinet; `low` comes underneath, fingers
    open, and pushes with the palm, as people mostly do. Where a drawer leaves no room
    underneath, the hand comes from above and leans, and `low` pushes the handle's bar.
    """

    ways = ("left", "right", "low")
    _pushes: ClassVar[dict[str, _Push]] = {
        "left": _Push(0.73, 0.045, 0.10, 0.5 * np.pi, CLOSED),
        "right": _Push(-0.73, 0.045, 0.10, -0.5 * np.pi, CLOSED),
        "low": _Push(-0.03, 0.09, 0.22, 0.0, OPEN),
    }
    _bar: ClassVar[_Push] = _Push(0.0, 0.0, 0.0, 0.5 * np.pi, CLOSED)

    def fits(self, atom: Atom) -> bool:
        """Return whether the predicate is that a drawer of a cabinet is closed."""
        return _REGION.fullmatch(atom[1]) is not None

    def plan(
        self, env: Environment, atom: Atom, way: str, rng: np.random.Generator
    ) -> Iterator[Waypoint]:
        """Yield: before the front, then through it in short moves that keep the height."""
        push = self._pushes[way]
        drawer = moving_part(env, atom[1])
        handle = drawer_handle(env, drawer)
        across = drawer.boxes(env) @ handle.side
        middle, half = 0.5 * (across.min() + across.max()), 0.5 * np.ptp(across)
        bar = 0.5 * sum(handle.height)
        lowest = bounds(env, parent(env, atom[1]))[0][2] + hand.FINGER_TIP + 0.005
        cramped = bar - push.below < lowest
        if cramped and way == "low":
            push = self._bar
        side = middle + push.side * half * np.sign(handle.side[0]) + rng.normal(0, 0.006)
        height = max(bar - push.below, lowest)
        surface = handle.outer if push is self._bar else handle.front
        if cramped:
            yield from _push_leaning(env, drawer, handle.point(surface, side, height), atom)
            return
        clear = handle.point(surface + push.stand_off, side, height)
        start = hand.position(env)
        before = clear + (0.0 if way == "low" else 0.02) * handle.outward
        before[2] = start[2] - (0.05 if way == "low" else 0.02)
        if way == "low":
            before[0] = 0.5 * (start[0] + clear[0])
        yield Waypoint(before, push.yaw, push.gripper, 0.04)
        yield Waypoint(clear, push.yaw, push.gripper, 0.012)
        travel = abs(drawer.value(env)) + _PUSH + push.stand_off
        shut = partial(holds, env, atom)
        for share in (0.2, 0.4, 0.6, 0.8, 1.0):
            if share > 0.5 and shut():
                break
            through = clear - share * travel * handle.outward
            yield Waypoint(through, push.yaw, push.gripper, 0.02, until=shut)
        yield from _away(env, handle, push.yaw, push.gripper, (0.0, 0.0))


def _push_leaning(
    env: Environment, drawer: MovingPart, at: np.ndarray, atom: Atom
) -> Iterator[Waypoint]:
    """Yield: from above to just before a point of the front, and through it, leaning outward."""
    handle = drawer_handle(env, drawer)
    tilt = hand.leaning(handle.outward, _PUSH_LEAN)
    yaw = _yaw(handle)
    before = at + 0.03 * handle.outward
    above = before + np.array([0.0, 0.0, 0.12])
    yield Waypoint(above, yaw, CLOSED, 0.03, tilt=tilt, level=0.3)
    yield Waypoint(before, yaw, CLOSED, 0.012, tilt=tilt, level=0.2)
    travel = abs(drawer.value(env)) + 0.05
    shut = partial(holds, env, atom)
    for share in np.linspace(0.0, 1.0, 7)[1:]:
        if shut():
            break
        through = at - share * travel * handle.outward
        yield Waypoint(through, yaw, CLOSED, 0.02, exact=True, tilt=tilt, speed=0.8, until=shut)
    yield from _away(env, handle, yaw, CLOSED, tilt)


def _away(
    env: Environment, handle: Handle, yaw: float, gripper: float, tilt: tuple[float, float]
) -> Iterator[Waypoint]:
    """Yield: off the front, and up."""
    off = hand.position(env) + 0.06 * handle.outward
    yield Waypoint(off, yaw, gripper, 0.02, tilt=tilt)
    yield Waypoint(off + np.array([0.0, 0.0, 0.15]), yaw, gripper, 0.03, tilt=tilt)
