"""A goal's predicates, one skill each, in an order in which none undoes another."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from common.errors import UnknownTaskError
from demonstrations.skills.skill import Atom, Skill, Waypoint
from simulation.environment import Environment
from simulation.tasks import Task

_FIRST = {"open": 0, "turnon": 1, "turnoff": 1, "on": 2, "in": 2, "close": 3}
"""Predicates in the order in which they are made true."""


@dataclass(frozen=True)
class Sequence:
    """The skills that reach a task's goal, in order."""

    steps: tuple[tuple[int | None, Atom, Skill], ...]
    """Position in the goal, predicate and skill of each; no position where the goal needs it to
    hold on the way only, such as an open drawer."""

    @property
    def ways(self) -> tuple[str, ...]:
        """Names of the ways: those of the single skill, or one of each, joined by `+`."""
        each = [skill.ways_of(atom) for _, atom, skill in self.steps]
        count = max(map(len, each))
        return tuple("+".join(ways[k % len(ways)] for ways in each) for k in range(count))

    def releases(self) -> bool:
        """Return whether the goal asks for an object at a place, where it must be let go."""
        return any(atom[0] in ("on", "in") for _, atom, _ in self.steps)

    def plan(self, env: Environment, way: str, rng: np.random.Generator) -> Iterator[Waypoint]:
        """Yield the waypoints of one way; a predicate that already holds is left alone."""
        for (index, atom, skill), part in zip(self.steps, way.split("+"), strict=True):
            if index is None or not env.scene.atoms[index](env.model, env.data):
                yield from skill.plan(env, atom, part, rng)


def sequence(task: Task, skills: dict[str, tuple[Skill, ...]]) -> Sequence:
    """Return the skills that reach a task's goal.

    Raises:
        UnknownTaskError: a predicate of the goal has none.
    """
    steps: list[tuple[int | None, Atom, Skill]] = []
    for index, atom in (*_openings(task, skills), *_ordered(task.goal)):
        fitting = [skill for skill in skills.get(atom[0], ()) if skill.fits(atom)]
        if not fitting:
            raise UnknownTaskError(
                f"no scripted skill for `{' '.join(atom)}` of {task.key}: give human "
                "demonstrations instead (`dlr demonstrate --human-demos FOLDER "
                "--episodes-per-way 0`)"
            )
        steps.append((index, atom, fitting[0]))
    return Sequence(tuple(steps))


def _openings(task: Task, skills: dict[str, tuple[Skill, ...]]) -> list[tuple[None, Atom]]:
    """Return what must be opened first, because something goes in and it starts closed."""
    openings: list[Atom] = [("open", atom[2]) for atom in task.goal if atom[0] == "in"]
    return [
        (None, atom)
        for atom in dict.fromkeys(openings)
        if atom not in (*task.start, *task.goal)
        and any(skill.fits(atom) for skill in skills.get("open", ()))
    ]


def _ordered(goal: tuple[Atom, ...]) -> list[tuple[int, Atom]]:
    """Return the predicates with their positions; what others are put on comes to its place first.

    A door or drawer that nothing goes into is closed before anything is put elsewhere.
    """
    filled = {atom[2] for atom in goal if atom[0] == "in"}
    supports = {atom[2] for atom in goal if atom[0] in ("on", "in")}

    def rank(item: tuple[int, Atom]) -> tuple[int, bool, int]:
        index, atom = item
        inside = any(place.startswith(atom[1]) for place in filled)
        first = -1 if atom[0] == "close" and not inside else _FIRST[atom[0]]
        return first, atom[0] in ("on", "in") and atom[1] not in supports, index

    return sorted(enumerate(goal), key=rank)
