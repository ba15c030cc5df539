"""People's demonstrations of a task: which files there are, replayed, and what became of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from common.errors import DemonstrationError, DlrError, StorageError
from demonstrations.audit import LEFT_OUT, Audit, Row, write_audit
from demonstrations.noops import replay_person
from demonstrations.official import official_file
from simulation.assets.resolve import AssetPack
from simulation.environment import Environment
from simulation.recordings.recordings import Recording, open_recordings
from simulation.recordings.trajectories import Episode
from simulation.tasks import Task

OFFICIAL = "official"
"""What stands for the folder that `dlr demos download` fetches to."""


def find_people(task: Task, folder: str | Path) -> list[Path]:
    """Return the files of people's demonstrations of a task, at least one.

    `TASK.json` holds one demonstration, `TASK_demo.hdf5` is LIBERO's own; either may lie in a
    folder of the suite's name.

    Args:
        task: the task.
        folder: a folder, or `official` for what `dlr demos download` fetched.

    Raises:
        DemonstrationError: there is none.
    """
    found = _files(task, folder)
    if found:
        return found
    if str(folder) == OFFICIAL:
        raise DemonstrationError(
            f"the official demonstrations of {task.key} are not here: "
            f"`dlr demos download {task.key}` fetches them"
        )
    raise DemonstrationError(
        f"{folder} has no demonstrations of {task.name}: expected {' or '.join(_names(task))}"
    )


def has_people(task: Task, folder: str | Path) -> bool:
    """Return whether a folder, or what was fetched of `official`, has people's of a task."""
    return bool(_files(task, folder))


def _files(task: Task, folder: str | Path) -> list[Path]:
    if str(folder) == OFFICIAL:
        path = official_file(task)
        return [] if path is None else [path]
    places = (Path(folder), Path(folder) / task.suite)
    return [place / name for place in places for name in _names(task) if (place / name).exists()]


def _names(task: Task) -> tuple[str, str]:
    return f"{task.name}.json", f"{task.name}_demo.hdf5"


@dataclass(frozen=True)
class Replay:
    """What became of one demonstration just now."""

    file: int
    """Which of the files it is from, from 0."""
    row: Row
    """Its row of the audit."""
    episode: Episode | None
    """The success that is kept, None where there is none."""


def replay_people(
    task: Task,
    files: list[Path],
    assets: AssetPack,
    drop_noops: bool,
    audit: Path | None,
    known: Callable[[int, int], Row | None] = lambda file, index: None,
) -> Iterator[Replay]:
    """Replay each demonstration, and yield what becomes of it; see `noops.replay_person`.

    A file is read to its end before any of it is replayed; one that cannot be read is left out
    as a whole, and the others go on.

    Args:
        task: the task.
        files: of recordings.
        assets: asset pack to replay with.
        drop_noops: whether steps in which nothing was done are dropped.
        audit: file that is written in the end, if any, to say what became of each.
        known: from a file and a demonstration of it, both from 0, to what became of that before;
            where that is known it is not replayed again, nor yielded.

    Raises:
        DemonstrationError: no demonstration succeeds.
        DlrError: none is left, as a file cannot be read; what is wrong with the first such.
        OutputError: the audit cannot be written.
    """
    env = Environment(task, assets)
    faults: list[DlrError] = []
    rows: list[Row] = []
    for file, path in enumerate(files):
        try:
            recordings = _read(path, env)
        except StorageError:
            raise
        except DlrError as error:
            faults.append(error)
            continue
        for index, recording in enumerate(tqdm(recordings, desc="replay", leave=False)):
            row = known(file, index)
            if row is None:
                row, episode = _replay(env, recording, drop_noops, path.name, index)
                yield Replay(file, row, episode)
            rows.append(row)
    if audit is not None:
        unread = tuple(map(str, faults))
        write_audit(audit, Audit(task.key, assets.name, drop_noops, tuple(rows), unread))
    if all(row.kept == LEFT_OUT for row in rows):
        if faults:
            raise faults[0]
        raise DemonstrationError(
            f"no human demonstration of {task.name} in {files[0].parent} succeeds with the asset "
            f"pack {assets.name}; people's demonstrations want LIBERO's own (`dlr assets install`)"
        )


def _replay(
    env: Environment, recording: Recording, drop_noops: bool, source: str, index: int
) -> tuple[Row, Episode | None]:
    """Return what becomes of demonstration `index` of a file named `source`."""
    replayed = replay_person(env, recording, drop_noops)
    steps = 0 if replayed.episode is None else len(replayed.episode)
    recorded = len(recording.actions)
    row = Row(source, index, recorded, replayed.noops, replayed.dropped, steps, replayed.kept)
    return row, replayed.episode


def _read(path: Path, env: Environment) -> list[Recording]:
    """Return all recordings of a file, each of them of the environment's task.

    Raises:
        DlrError: it is damaged, or of another task.
    """
    with open_recordings(path, env.task, env.scene.assets) as file:
        recordings = list(file)
    for recording in recordings:
        env.scene.check_state(recording.init_state)
    return recordings
