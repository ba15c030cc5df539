"""People's demonstrations of a task: which files there are, replayed, and what became of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from tqdm import tqdm

from common.errors import DemonstrationError, DlrError, StorageError
from demonstrations.audit import Audit, Row, write_audit
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


def replay_people(
    task: Task, files: list[Path], assets: AssetPack, drop_noops: bool, audit: Path | None
) -> Iterator[Episode]:
    """Yield the success that is kept of each demonstration; see `noops.replay_person`.

    A file is read to its end before any of it is replayed; one that cannot be read is left out
    as a whole, and the others go on.

    Args:
        task: the task.
        files: of recordings.
        assets: asset pack to replay with.
        drop_noops: whether steps in which nothing was done are dropped.
        audit: file that is written in the end, if any, to say what became of each.

    Raises:
        DemonstrationError: no demonstration succeeds.
        DlrError: none is left, as a file cannot be read; what is wrong with the first such.
        OutputError: the audit cannot be written.
    """
    env = Environment(task, assets)
    faults: list[DlrError] = []
    rows: list[Row] = []
    kept = 0
    for path in files:
        try:
            recordings = _read(path, env)
        except StorageError:
            raise
        except DlrError as error:
            faults.append(error)
            continue
        for index, recording in enumerate(tqdm(recordings, desc="replay", leave=False)):
            replayed = replay_person(env, recording, drop_noops)
            episode, steps = replayed.episode, len(recording.actions)
            rows.append(
                Row(
                    path.name,
                    index,
                    steps,
                    replayed.noops,
                    replayed.dropped,
                    0 if episode is None else len(episode),
                    replayed.kept,
                )
            )
            if episode is not None:
                kept += 1
                yield episode
    if audit is not None:
        unread = tuple(map(str, faults))
        write_audit(audit, Audit(task.key, assets.name, drop_noops, tuple(rows), unread))
    if faults and not kept:
        raise faults[0]
    if not kept:
        raise DemonstrationError(
            f"no human demonstration of {task.name} in {files[0].parent} succeeds with the asset "
            f"pack {assets.name}; people's demonstrations want LIBERO's own (`dlr assets install`)"
        )


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
