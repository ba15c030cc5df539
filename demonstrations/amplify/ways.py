"""The ways in which a demonstration can be varied: how the hand goes round, and how it grasps."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from demonstrations.amplify.kinds import family, is_round, split
from demonstrations.amplify.plan import Course, Step
from demonstrations.amplify.segments import Deed

_BOW = 0.10
"""How far the hand goes round in the middle of its path, m."""
_SLANT = 0.6
"""Turn of the hand about a round object that leaves the wrist room, rad."""
_ROOFED = ("shelf", "microwave")
"""Families of fixtures whose regions have something above them."""
_CENTRAL = 0.025
"""Distance from the middle of an object within which a grasp takes all of it, m."""


@dataclass(frozen=True)
class Way:
    """How one way deviates from the sources."""

    bow: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """How far the hand goes round while it carries, or before it operates; world frame, m."""
    turned: bool = False
    """Whether round objects are taken from another side than in the source."""

    def turns(self, grasp: Step) -> tuple[float, ...]:
        """Return turns of the hand about an object, rad, that a grasp may take.

        Half a turn leaves the hand as it is, on the object's other side.
        """
        kind = split(grasp.thing)[0]
        if not is_round(kind):
            return (0.0, 0.4, -0.4) if family(kind) == "grocery" else (0.0,)
        slanted = (_SLANT, -_SLANT, math.pi + _SLANT, math.pi - _SLANT)
        if self.turned:
            return slanted if _is_central(grasp) else (math.pi, *slanted)
        return (0.0, math.pi, *slanted)


WAYS: dict[str, Way] = {
    "direct": Way(),
    "high": Way((0.0, 0.0, _BOW)),
    "left": Way((0.0, _BOW, 0.0)),
    "right": Way((0.0, -_BOW, 0.0)),
    "turned": Way(turned=True),
}
"""Every way by its name; left and right as the robot sees them."""


def choose_ways(courses: tuple[Course, ...]) -> dict[str, Way]:
    """Return the ways that courses allow.

    `turned` only where a round object is grasped; not `high` where something is put under a
    roof, into a shelf or a microwave.
    """
    steps = [step for course in courses for step in course.steps]
    round_ = any(s.clip.deed is Deed.GRASP and is_round(split(s.thing)[0]) for s in steps)
    roofed = any(s.clip.deed is Deed.CARRY and _has_roof(s.target) for s in steps)
    return {
        name: way
        for name, way in WAYS.items()
        if (round_ or not way.turned) and not (roofed and name == "high")
    }


def _has_roof(target: str) -> bool:
    kind, part = split(target)
    return family(kind) in _ROOFED and part.endswith("_region")


def bows(course: Course, way: Way) -> list[np.ndarray]:
    """Return how far each step goes round, m, (3,): the carries, else the first approach."""
    deeds = [step.clip.deed for step in course.steps]
    bow = np.array(way.bow)
    if Deed.CARRY in deeds:
        return [bow * (deed is Deed.CARRY) for deed in deeds]
    return [bow * (number == 0) for number in range(len(deeds))]


def _is_central(grasp: Step) -> bool:
    clip = grasp.clip
    places, _ = clip.source.objects[clip.thing]
    offset = clip.source.hand[clip.key] - places[clip.key]
    return float(np.linalg.norm(offset[:2])) < _CENTRAL
