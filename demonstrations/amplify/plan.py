"""What is to be done in a task, and which clips of which demonstrations can serve for it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from demonstrations.amplify.kinds import family, instance, is_round, split
from demonstrations.amplify.rotations import yaw_between
from demonstrations.amplify.segments import JOINT_PREDICATES, Clip, Deed, joint_frame, joint_pose
from demonstrations.amplify.source import Frames
from simulation.tasks import Task

Atom = tuple[str, ...]
"""A predicate of a goal with its arguments."""
_TURN_WEIGHT = 0.05
"""Metres that count as much as a turn by 1 rad when the nearest source is chosen."""
_NEAREST = 3
"""Number of nearest sources among which one is drawn."""
_RAISE = 0.08
"""How much higher the hand goes when a course is tried again, m."""
_NUDGE = 0.005
"""Standard deviation of the shift of a course that is tried again, m."""


@dataclass(frozen=True)
class Step:
    """One clip, and what it is aimed at in the new scene."""

    clip: Clip
    """The clip."""
    thing: str
    """Object that is grasped or carried; region or fixture that is operated."""
    target: str
    """Object or region that it is carried to; otherwise the thing."""
    free: bool = False
    """Whether the clip follows one of another source."""


@dataclass(frozen=True)
class Course:
    """One way to reach a task's goal: steps in their order."""

    steps: tuple[Step, ...]

    def distance(self, scene: Frames) -> float:
        """Return how far the things lie from where they lay in the sources, m, summed up."""
        return sum(_distance(step, scene) for step in self.steps)


def _distance(step: Step, scene: Frames) -> float:
    clip = step.clip
    if clip.deed is Deed.OPERATE:
        position, rotation = joint_pose(scene, joint_frame(scene, step.thing))
    else:
        position, rotation = scene.of(step.target)
    turn = 0.0 if is_round(split(step.target)[0]) else abs(yaw_between(clip.rotation, rotation))
    return float(np.linalg.norm(position[:2] - clip.position[:2])) + _TURN_WEIGHT * turn


def own_course(clips: tuple[Clip, ...]) -> Course:
    """Return the course of a demonstration of the task itself."""
    steps = (Step(c, c.thing, c.thing if c.deed is Deed.OPERATE else c.frame, False) for c in clips)
    return Course(tuple(steps))


@dataclass(frozen=True)
class Option:
    """One thing to try: a course, and how it deviates from the sources."""

    course: Course
    """The course."""
    turn: int = 0
    """Which of the turns about an object, from the clearest on, its grasps take."""
    nudge: tuple[float, float] = (0.0, 0.0)
    """How far all its clips are shifted sideways, world frame, m."""
    raised: float = 0.0
    """How much higher the hand goes in the middle of its paths, m."""


def options(
    courses: tuple[Course, ...], scene: Frames, rng: np.random.Generator, count: int
) -> list[Option]:
    """Return things to try, in their order.

    First one of the courses whose things lay nearest to where they lie now, and others of those;
    then the same with the hand turned otherwise, shifted a little, and raised.
    """
    ranked = sorted(courses, key=lambda course: course.distance(scene))[:_NEAREST]
    first = int(rng.integers(len(ranked)))
    ranked = ranked[first:] + ranked[:first]
    found = []
    for number in range(count):
        again = number // len(ranked)
        raised = _RAISE * (again % 3)
        x, y = rng.normal(0.0, _NUDGE, 2) * (again > 0)
        found.append(Option(ranked[number % len(ranked)], again, (float(x), float(y)), raised))
    return found


def ordered_atoms(task: Task, closed: tuple[str, ...]) -> tuple[Atom, ...]:
    """Return the goal's predicates in an order in which they can be reached.

    Drawers and doors are opened before something is put into them and closed after it; an object
    that carries another is put in place first. A drawer in `closed` that something goes into is
    opened although the goal does not say so.
    """
    goal = task.goal
    inside = {instance(atom[2]) for atom in goal if atom[0] == "in"}
    placed_on = {atom[2] for atom in goal if atom[0] not in JOINT_PREDICATES}

    def rank(atom: Atom) -> float:
        if atom[0] == "close":
            return 3.0 if instance(atom[1]) in inside else 0.0
        if atom[0] in JOINT_PREDICATES:
            return 1.0
        return 2.0 if atom[1] in placed_on else 2.5

    opened = {atom[1] for atom in goal if atom[0] == "open"}
    more = [
        ("open", atom[2])
        for atom in goal
        if atom[0] == "in" and atom[2] in closed and atom[2] not in opened
    ]
    return tuple(sorted([*more, *goal], key=rank))


def operate_cost(atom: Atom, other: Atom) -> float | None:
    """Return how unlike two operations of drawers, doors or knobs are; None: one serves not.

    0 is the same to the same part of the same kind of fixture.
    """
    if atom[0] not in JOINT_PREDICATES or atom[0] != other[0]:
        return None
    (kind, part), (other_kind, other_part) = split(atom[1]), split(other[1])
    if family(kind) != family(other_kind):
        return None
    return 1.0 * (kind != other_kind) + 2.0 * (part != other_part)


def grasp_cost(thing: str, other: str) -> float | None:
    """Return how unlike two objects are to the hand; None where a grasp does not serve."""
    kind, other_kind = split(thing)[0], split(other)[0]
    if kind == other_kind:
        return 0.0
    return 1.0 if family(kind) == family(other_kind) else None


def carry_cost(atom: Atom, other: Atom) -> float:
    """Return how unlike two placings are."""
    kind, other_kind = split(atom[1])[0], split(other[1])[0]
    cost = 0.0 if kind == other_kind else 1.0 if family(kind) == family(other_kind) else 6.0
    (target, part), (other_target, other_part) = split(atom[2]), split(other[2])
    if family(target) == family(other_target):
        return cost + 0.5 * (target != other_target) + 2.0 * (part != other_part)
    return cost + (3.0 if atom[0] == other[0] else 4.0)
