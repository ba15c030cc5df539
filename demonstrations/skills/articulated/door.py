"""Opens and closes a microwave's door: by its handle, or pushed on either of its faces."""

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
_STEP = 0.2
"""Angle by which the hand aims ahead of the door, rad."""
_MOVES = 60
"""Moves of a pull or push, at most."""
_ATTEMPTS = 3
"""Times that a way takes hold of a door."""
_GRIP = 0.018
"""Depth of the grip site below the upper end of a bar that is gripped, m."""
_BELOW = 0.03
"""The same below the upper edge of a door that is pushed, m."""
_FINGER = 0.009
"""Half of the closed fingers' thickness, m."""
_LOST = 0.04
"""Distance of the hand from the bar at which it has lost it, m."""


@dataclass(frozen=True)
class Door:
    """A door that hangs on a vertical hinge, as it stands."""

    bar: np.ndarray
    """Middle of the handle's upright bar, world frame, m, (3,)."""
    top: float
    """Height of the bar's upper end, m."""
    along: np.ndarray
    """Horizontal direction from the hinge to the door's free edge, (3,)."""
    opening: np.ndarray
    """Horizontal direction in which it opens, (3,)."""
    faces: tuple[float, float]
    """Coordinates of the inner and the outer face along `opening`, from the hinge, m."""
    reach: float
    """Distance of the free edge from the hinge, m."""
    edge: float
    """Height of the door's upper edge, m."""


def read_door(env: Environment, part: MovingPart) -> Door:
    """Return a door: its slab is the widest of its boxes, its bar the tallest of the others."""
    boxes = part.boxes(env)
    size = np.ptp(boxes, axis=1)
    slab = int(np.linalg.norm(size[:, :2], axis=1).argmax())
    bar = max((i for i in range(len(boxes)) if i != slab), key=lambda i: size[i, 2])
    edges = boxes[slab][[4, 2, 1]] - boxes[slab][0]
    wide = max((edge for edge in edges if abs(edge[2]) < 0.01), key=np.linalg.norm)
    anchor = part.anchor(env)
    along = wide * np.sign((boxes[slab].mean(0) - anchor) @ wide) / np.linalg.norm(wide)
    opening = np.cross(part.axis(env), along)
    across = (boxes[slab] - anchor) @ opening
    return Door(
        boxes[bar].mean(0),
        float(boxes[bar][:, 2].max()),
        along,
        opening,
        (float(across.min()), float(across.max())),
        float(((boxes[slab] - anchor) @ along).max()),
        float(boxes[slab][:, 2].max()),
    )


class MoveDoor(Skill):
    """Opens or closes a door.

    `grip` takes the handle's bar from above and swings it all the way. To open, `edge` and
    `middle` let it go when the door is ajar, and push its inner face on there. To close, `bar`
    pushes the handle's bar, `middle` the outer face nearer to the hinge.
    """

    ways = ("grip", "edge", "middle")
    _closing: ClassVar[tuple[str, ...]] = ("grip", "bar", "middle")
    _pushes: ClassVar[dict[str, tuple[float, float]]] = {
        "edge": (0.6, 0.9),
        "middle": (0.9, 0.55),
        "bar": (0.0, 0.0),
    }
    """Angle at which the handle is let go, rad, and place that is pushed: share of the way from
    the hinge to the free edge, 0 the bar."""

    def fits(self, atom: Atom) -> bool:
        """Return whether the predicate is that a thing, and not a drawer, is open or closed."""
        return atom[0] in ("open", "close") and not atom[1].endswith("_region")

    def ways_of(self, atom: Atom) -> tuple[str, ...]:
        """Return the ways to open it or to close it."""
        return self.ways if atom[0] == "open" else self._closing

    def plan(
        self, env: Environment, atom: Atom, way: str, rng: np.random.Generator
    ) -> Iterator[Waypoint]:
        """Yield: to the door, along its arc in short moves, and away."""
        part = moving_part(env, atom[1])
        first, last = part.limits(env)
        sense = float(np.sign(last - first)) * (1.0 if atom[0] == "open" else -1.0)
        for _ in range(_ATTEMPTS):
            if holds(env, atom):
                return
            if way == "grip":
                yield from _drag(env, part, atom, sense, np.inf)
                continue
            ajar, share = self._pushes[way]
            if atom[0] == "open" and abs(part.value(env) - first) < ajar:
                yield from _drag(env, part, atom, sense, ajar)
            yield from _push(env, part, atom, sense, share)


def _drag(
    env: Environment, part: MovingPart, atom: Atom, sense: float, until: float
) -> Iterator[Waypoint]:
    """Yield: down over the handle's bar, the fingers closed on it, round, and let go."""
    start = part.value(env)
    base = read_door(env, part).along
    first = _nearest(base)

    def pose(step: float) -> tuple[np.ndarray, float]:
        door = read_door(env, part)
        at = np.array([*door.bar[:2], door.top - _GRIP])
        turned = float(np.arctan2(np.cross(base, door.along)[2], base @ door.along))
        return part.swung(env, at, step), first + turned + step * env.data.xaxis[part.joint][2]

    done = partial(holds, env, atom)
    at, yaw = pose(0.0)
    yield Waypoint(at + 0.10 * _UP, yaw, OPEN, 0.03, level=0.2)
    yield Waypoint(at, yaw, OPEN, 0.008, exact=True, speed=0.7, level=0.15)
    yield Waypoint(at, yaw, CLOSED, 0.05, dwell=6, exact=True)
    for _ in range(_MOVES):
        lost = np.linalg.norm((hand.position(env) - pose(0.0)[0])[:2]) > _LOST
        if done() or abs(part.value(env) - start) > until or lost:
            break
        at, yaw = pose(sense * _STEP)
        yield Waypoint(at, yaw, CLOSED, 0.02, dwell=2, exact=True, speed=0.7, until=done)
    here = hand.position(env)
    yield Waypoint(here, yaw, OPEN, 0.02, dwell=4)
    yield Waypoint(here + 0.09 * _UP, yaw, OPEN, 0.02)


def _push(
    env: Environment, part: MovingPart, atom: Atom, sense: float, share: float
) -> Iterator[Waypoint]:
    """Yield: beside the face that shall give way, and along its arc with closed fingers.

    `share` is the place between hinge and free edge, 0 the handle's bar.
    """
    opens = atom[0] == "open"

    def contact(ahead: float, off: float) -> tuple[np.ndarray, float]:
        door = read_door(env, part)
        anchor = part.anchor(env)
        where = share * door.reach if share else float((door.bar - anchor) @ door.along)
        if opens:
            across = door.faces[0] - _FINGER - off
        elif share:
            across = door.faces[1] + _FINGER + off
        else:
            across = float((door.bar - anchor) @ door.opening) + 0.01 + _FINGER + off
        at = anchor + where * door.along + across * door.opening
        at[2] = door.edge - _BELOW
        return part.swung(env, at, ahead), _nearest(door.along)

    done = partial(holds, env, atom)
    at, yaw = contact(0.0, 0.03)
    here = hand.position(env)
    high = max(read_door(env, part).edge + 0.08, at[2] + 0.08)
    yield Waypoint(np.array([*here[:2], high]), yaw, CLOSED, 0.04)
    yield Waypoint(np.array([*at[:2], high]), yaw, CLOSED, 0.03, level=0.3)
    yield Waypoint(at, yaw, CLOSED, 0.012, exact=True, level=0.2)
    for _ in range(_MOVES):
        if done():
            break
        at, yaw = contact(sense * _STEP, 0.0)
        yield Waypoint(at, yaw, CLOSED, 0.02, dwell=2, exact=True, speed=0.7, until=done)
    yield Waypoint(hand.position(env) + 0.08 * _UP, yaw, CLOSED, 0.03)


def _nearest(along: np.ndarray) -> float:
    """Return the least turned yaw whose fingers close along a horizontal direction (3,), rad."""
    return hand.yaws_along(float(np.arctan2(along[1], along[0])))[0]
