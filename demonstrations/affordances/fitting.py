"""Where a held object fits, at a target that others may stand on or that has a ceiling."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np

from demonstrations.affordances import hand
from demonstrations.affordances.geometry import (
    Region,
    bounds,
    clearance,
    corners,
    geoms,
    obstacle_geoms,
    parent,
    pose,
    region,
    surface_height,
)
from demonstrations.affordances.parts import hand_clearance
from demonstrations.affordances.placing import turned
from simulation.environment import Environment

_GAP = 0.008
"""Height from which an object is let go over what it shall stand on, m."""
_TURNS = np.linspace(-np.pi, np.pi, 25)
"""Turns of the hand with its object that are tried at the target, rad."""
_YAW_LIMIT = 1.75
_SHARES = (-0.7, -0.35, 0.0, 0.35, 0.7)
"""Places of a region that are tried, of its half size."""
_NEAR = 0.70
"""Horizontal distance from the arm's base that the hand reaches easily, m."""
_INSIDE = 0.035
"""How far inside a region with a ceiling the origin is put, m."""
_APART = 0.006
"""Least clearance of the hand and the object from everything else, m."""


@dataclass(frozen=True)
class Slot:
    """Where a held object is let go, and from where it gets there."""

    position: np.ndarray
    """Of the object's origin, world frame, m, (3,)."""
    before: np.ndarray
    """Of its origin before it slides in or comes down, world frame, m, (3,)."""
    outward: np.ndarray
    """Horizontal direction out of a place with a ceiling, world frame, (3,)."""
    slides: bool
    """Whether there is a ceiling, under which the object slides."""
    yaw: float
    """Hand's yaw, rad."""


def find_slot(env: Environment, name: str, target: str, yaw: float) -> Slot:
    """Return where the level object `name`, held at a hand's `yaw`, fits best at a target.

    The hand turns and the object leaves the target's middle only as far as they must: to stay
    clear of what stands there, to leave room for what the goal also wants there, and within
    the arm's reach.
    """
    box = region(env, target)
    if box is None:
        box = Region(pose(env, target)[0], np.eye(3), np.full(3, 0.005))
    thing = parent(env, target) or target
    outward = way_out(env, box, thing) if thing and region(env, target) else None
    wish = _wish(env, name, target, box)
    floor = float(box.position[2] - box.extent[2])
    if outward is None and thing:
        floor = max(floor, surface_height(env, thing, wish, 0.02))
    origin, _ = pose(env, name)
    height = floor + origin[2] - bounds(env, name)[0][2] + (_GAP if outward is None else 0.004)
    at, turn = _cheapest(env, name, _places(box, wish, height, outward), yaw)
    before = at + 0.03 * np.array([0.0, 0.0, 1.0])
    if outward is not None:
        before = at + outward * _way_in(env, name, thing, at, turn, outward)
        before[2] += _raise(env, name, thing, box)
        return Slot(at, before, outward, True, yaw + turn)
    return Slot(at, before, np.zeros(3), False, yaw + turn)


def _cheapest(
    env: Environment, name: str, places: list[np.ndarray], yaw: float
) -> tuple[np.ndarray, float]:
    """Return the place, the first of which is wished, and the turn that least speaks against."""
    held = hand.position(env) - pose(env, name)[0]
    base = env.data.body("robot0_base").xpos
    listed = []
    for (rank, at), turn in itertools.product(enumerate(places), _TURNS):
        if abs(yaw + turn) <= _YAW_LIMIT:
            reach = float(np.linalg.norm((at + turned(held, turn) - base)[:2]))
            cost = 0.25 * abs(turn) + 4.0 * float(np.linalg.norm((at - places[0])[:2]))
            listed.append((cost + 8.0 * max(0.0, reach - _NEAR), rank, turn))
    others = obstacle_geoms(env, (name,))
    best, least = (places[0], 0.0), np.inf
    for cost, rank, turn in sorted(listed):
        if cost >= least:
            break
        at = places[rank]
        free = min(
            hand_clearance(env, at + turned(held, turn), yaw + turn, others),
            clearance(env, _moved(env, name, at, turn), others),
        )
        cost += 200.0 * max(0.0, _APART - free)
        if cost < least:
            best, least = (at, turn), cost
    return best


def _moved(env: Environment, name: str, at: np.ndarray, turn: float) -> np.ndarray:
    """Return points (N, 3) of an object that is moved to a place and turned."""
    origin, _ = pose(env, name)
    boxes = corners(env, geoms(env, name)) - origin
    points = np.concatenate((boxes.reshape(-1, 3), boxes.mean(1)))
    cosine, sine = np.cos(turn), np.sin(turn)
    return at + points @ np.array([[cosine, sine, 0.0], [-sine, cosine, 0.0], [0.0, 0.0, 1.0]])


def _places(
    box: Region, wish: np.ndarray, height: float, outward: np.ndarray | None
) -> list[np.ndarray]:
    """Return places for the origin in a region, the wished one first; near the way out if any."""
    if outward is not None:
        found = [box.position + outward * (float(np.abs(outward) @ box.extent) - _INSIDE)]
    else:
        sides = _sides(box)
        shares = itertools.product(_SHARES, repeat=len(sides))
        found = [wish, *(box.position + sum(map(np.multiply, share, sides)) for share in shares)]
    return [np.array([*place[:2], height]) for place in found]


def _wish(env: Environment, name: str, target: str, box: Region) -> np.ndarray:
    """Return the middle of a region, or of its share where the goal wants several things there."""
    names = sorted(
        (atom[1] for atom in env.task.goal if atom[0] in ("on", "in") and atom[2] == target),
        key=lambda other: float((pose(env, other)[0] - box.position) @ _longer(box)),
    )
    if len(names) < 2 or name not in names:
        return box.position
    share = (2 * names.index(name) + 1 - len(names)) / len(names)
    return box.position + share * _longer(box)


def _longer(box: Region) -> np.ndarray:
    """Return half of a region's longer horizontal side, world frame, m, (3,)."""
    return max(_sides(box), key=lambda side: float(np.linalg.norm(side)))


def _sides(box: Region) -> list[np.ndarray]:
    """Return half of a region's horizontal sides, world frame, m, (3,) each."""
    sides = (box.rotation * box.half_size).T
    return [side for side in sides if abs(side[2]) < 0.3 * float(np.linalg.norm(side))]


def way_out(env: Environment, box: Region, thing: str) -> np.ndarray | None:
    """Return the horizontal direction out of a region with a ceiling, or None without one."""
    own = geoms(env, thing)
    column = box.position + np.linspace(0.0, box.extent[2] + 0.03, 12)[:, None] * [0.0, 0.0, 1.0]
    if min(box.extent) < 0.01 or clearance(env, column, own) > 0.004:
        return None
    found = []
    sides = _sides(box)
    for side in (*sides, *(-side for side in sides)):
        outward = side / float(np.linalg.norm(side))
        length = float(np.linalg.norm(side)) + 0.06
        line = box.position + np.linspace(0.0, length, 24)[:, None] * outward
        found.append((clearance(env, line, own), outward))
    return max(found, key=lambda pair: pair[0])[1]


def _raise(env: Environment, name: str, thing: str, box: Region) -> float:
    """Return how high over its place an object slides in, midway between floor and ceiling, m."""
    boxes = corners(env, geoms(env, thing))
    low, high = boxes.min(1), boxes.max(1)
    above = ((low < box.position) & (box.position < high))[:, :2].all(1)
    above &= low[:, 2] > box.position[2]
    room = float(low[above][:, 2].min() - (box.position[2] - box.extent[2]))
    tall = float(np.ptp(corners(env, geoms(env, name))[..., 2]))
    return float(np.clip(0.5 * (room - tall), 0.008, 0.03))


def _way_in(
    env: Environment, name: str, thing: str, at: np.ndarray, turn: float, outward: np.ndarray
) -> float:
    """Return how far outward an object at a place is clear of the thing it slides into, m."""
    front = float((corners(env, geoms(env, thing)).reshape(-1, 3) @ outward).max())
    back = float((_moved(env, name, at, turn) @ outward).min())
    return max(0.0, front - back + 0.02)
