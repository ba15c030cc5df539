"""Chooses among a folder's recordings those that serve a task: its own, else other tasks'."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice, product
from pathlib import Path

from common.errors import DemonstrationError, InvalidStateError
from demonstrations.amplify.amplifier import Amplifier
from demonstrations.amplify.plan import (
    Atom,
    Course,
    Step,
    carry_cost,
    grasp_cost,
    operate_cost,
    ordered_atoms,
    own_course,
)
from demonstrations.amplify.segments import JOINT_PREDICATES, Clip, Deed, cut, joint_name
from demonstrations.amplify.source import Frames, replay
from demonstrations.people import OFFICIAL, find_people
from simulation.assets.resolve import AssetPack
from simulation.environment import Environment
from simulation.recordings.recordings import find_recordings, open_recordings
from simulation.tasks import Task

_MOST_OWN = 50
"""Demonstrations of the task itself that are read."""
_MOST_OTHER = 5
"""Demonstrations of another task that are read."""
_MOST_COURSES = 12
_CLOSED = 0.02
"""Opening of a drawer, m, below which nothing can be put into it."""


def list_recordings(task: Task, folder: str | Path) -> list[Path]:
    """Return the files from which demonstrations of a task are amplified.

    Args:
        task: the task.
        folder: all recordings below a folder, or `official` for the task's own that
            `dlr demos download` fetched.

    Raises:
        DemonstrationError: there is no such folder, or they have not been fetched.
        TrajectoryError: a JSON file cannot be read.
    """
    if str(folder) == OFFICIAL:
        return find_people(task, folder)
    if not str(folder) or not Path(folder).is_dir():
        raise DemonstrationError(
            f"{folder or 'no folder'} is not there: give a folder of recordings (--human-demos)"
        )
    return find_recordings(Path(folder))


def find_amplifier(task: Task, folder: str | Path, assets: AssetPack) -> Amplifier:
    """Return what amplifies the demonstrations in a folder to a task.

    Its own demonstrations are taken where there are any; else, for each predicate of its goal,
    those of other tasks with the same relation between similar objects.

    Args:
        task: the task.
        folder: see `list_recordings`.
        assets: asset pack to replay with.

    Raises:
        DemonstrationError: no recording in the folder serves.
        TrajectoryError: a file is damaged.
    """
    library = _Library(folder, list_recordings(task, folder), assets)
    own = [own_course(clips) for clips in library.clips(task, _MOST_OWN)]
    if own:
        return Amplifier(task, tuple(own))
    return Amplifier(task, _foreign_courses(task, library, assets))


class _Library:
    """The recordings of a folder, of which each is replayed when it is first asked for."""

    def __init__(self, folder: str | Path, files: Sequence[Path], assets: AssetPack) -> None:
        self._folder, self._assets = folder, assets
        self._files: dict[Task, list[Path]] = {}
        for path in files:
            with open_recordings(path, None, assets) as file:
                self._files.setdefault(file.task, []).append(path)
        self._cut: dict[Task, list[tuple[Clip, ...]]] = {}
        self._faults: list[str] = []

    @property
    def tasks(self) -> list[Task]:
        """Tasks that there are recordings of."""
        return list(self._files)

    def clips(self, task: Task, most: int) -> list[tuple[Clip, ...]]:
        """Return the clips of each recording of a task that can be replayed and cut.

        Raises:
            DemonstrationError: there are recordings, but none of them can.
        """
        if task not in self._files:
            return []
        if task not in self._cut:
            env = Environment(task, self._assets)
            self._cut[task] = list(self._read(task, env, most))
        return self._cut[task]

    def _read(self, task: Task, env: Environment, most: int) -> Iterator[tuple[Clip, ...]]:
        faults, found = [], 0
        for path in self._files[task]:
            with open_recordings(path, task, self._assets) as file:
                for recording in islice(file, most):
                    try:
                        yield cut(replay(recording, env), env)
                        found += 1
                    except (DemonstrationError, InvalidStateError) as error:
                        faults.append(f"{path.name}: {error}")
        if not found:
            raise DemonstrationError(faults[0] if faults else f"no recording of {task.key}")


def _foreign_courses(task: Task, library: _Library, assets: AssetPack) -> tuple[Course, ...]:
    """Return ways to reach a goal by clips of other tasks, the most similar ones.

    Raises:
        DemonstrationError: none serves.
    """
    env = Environment(task, assets)
    parts = [_steps(atom, library, task) for atom in ordered_atoms(task, _closed_drawers(env))]
    combined = islice(product(*parts), _MOST_COURSES)
    return tuple(Course(tuple(step for part in parts for step in part)) for parts in combined)


def _closed_drawers(env: Environment) -> tuple[str, ...]:
    """Return the regions of a goal that lie in a closed drawer."""
    scene, closed = Frames(env), []
    for atom in env.task.goal:
        if atom[0] != "in" or "cabinet" not in atom[2]:
            continue
        joint = env.scene.joint_names.index(joint_name(scene, atom[2]))
        if abs(env.data.qpos[env.scene.joint_qpos[joint]]) < _CLOSED:
            closed.append(atom[2])
    return tuple(closed)


def _steps(atom: Atom, library: _Library, task: Task) -> list[tuple[Step, ...]]:
    """Return the steps that reach one predicate, in as many ways as equally similar tasks give.

    Raises:
        DemonstrationError: no task in the folder has a similar predicate.
    """
    others = [(other, known) for known in library.tasks for other in known.goal]
    if atom[0] in JOINT_PREDICATES:
        ranked = [(operate_cost(atom, other), other, known) for other, known in others]
        best = _best([(c, o, k) for c, o, k in ranked if c is not None], atom, task)
        return [(Step(clip, atom[1], atom[1]),) for clip in _pick(best, library, Deed.OPERATE)]
    placings = [(other, known) for other, known in others if other[0] not in JOINT_PREDICATES]
    grasps = [(grasp_cost(atom[1], other[1]), other, known) for other, known in placings]
    carries = [(carry_cost(atom, other), other, known) for other, known in placings]
    best_grasps = _best([(c, o, k) for c, o, k in grasps if c is not None], atom, task)
    best_carries = _best(carries, atom, task)
    grasped = _pick(best_grasps, library, Deed.GRASP)
    if any(grasp.clean for grasp in grasped):
        grasped = [grasp for grasp in grasped if grasp.clean]
    pairs = [
        (grasp.source is carry.source, grasp, carry)
        for carry in _pick(best_carries, library, Deed.CARRY)
        for grasp in grasped
    ]
    if any(same for same, *_ in pairs):
        pairs = [pair for pair in pairs if pair[0]]
    return [
        (Step(grasp, atom[1], atom[1]), Step(carry, atom[1], atom[2], not same))
        for same, grasp, carry in pairs
    ]


def _best(
    ranked: list[tuple[float, Atom, Task]], atom: Atom, task: Task
) -> list[tuple[Atom, Task]]:
    if not ranked:
        raise DemonstrationError(
            f"no recording serves {task.key}: none does {' '.join(atom)} or anything like it; "
            "add a demonstration of the task, or of one with the same relation and a similar "
            "object"
        )
    least = min(cost for cost, *_ in ranked)
    return [(other, known) for cost, other, known in ranked if cost == least]


def _pick(best: list[tuple[Atom, Task]], library: _Library, deed: Deed) -> list[Clip]:
    """Return the clips of a deed that reach the given predicates of other tasks.

    Raises:
        DemonstrationError: no recording of those tasks can be used.
    """
    found, faults = [], []
    for other, known in best:
        try:
            courses = library.clips(known, _MOST_OTHER)
        except DemonstrationError as error:
            faults.append(str(error))
            continue
        found += [
            clip
            for clips in courses
            for clip in clips
            if clip.deed is deed and clip.thing == other[1] and clip.predicate == other[0]
        ]
    if not found:
        names = ", ".join(known.key for _, known in best)
        raise DemonstrationError(
            faults[0] if faults else f"no recording of {names} holds a {deed} that can be cut out"
        )
    return found
