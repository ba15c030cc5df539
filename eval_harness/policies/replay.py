"""Recorded actions, replayed open loop from the recording's own start."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from common.errors import DlrError
from eval_harness.plan import Start
from eval_harness.policy import (
    ACTION_DIM,
    EpisodeKey,
    Observation,
    Policy,
    PolicyError,
    Requirements,
)
from simulation.assets.resolve import AssetPack
from simulation.environment import SETTLE_STEPS
from simulation.recordings.recordings import fixtures_from_mjcf
from simulation.recordings.trajectories import Episode, TrajectoryFile
from simulation.scene import load_scene
from simulation.starts import official_index
from simulation.tasks import get_task

CHUNK = 10
"""Actions given at a time: nothing is looked at, so any number does."""
_HUMAN = "human"


@dataclass(frozen=True, eq=False)
class Recording:
    """Actions and where they start."""

    start: Start
    """The start."""
    actions: npt.NDArray[np.float64]
    """Shape: (T, 7)."""

    def chunk(self, step: int, length: int) -> npt.NDArray[np.float64]:
        """Return the actions from a step on; after the last, stay with the gripper as it is."""
        stay = np.append(np.zeros(ACTION_DIM - 1), self.actions[-1, -1])
        found = self.actions[step : step + length]
        return np.concatenate((found, np.tile(stay, (length - len(found), 1))))


class ReplayPolicy(Policy):
    """Replays recordings: of each task, episode k is recording k.

    Args:
        recordings: task key -> its recordings.
        source: what tells these recordings from others.
    """

    requirements = Requirements(cameras=(), state=(), chunk=CHUNK)

    def __init__(
        self, recordings: Mapping[str, Sequence[Recording]], source: Mapping[str, Any]
    ) -> None:
        self.recordings = recordings
        self._source = source

    @classmethod
    def of_folder(cls, folder: Path, assets: AssetPack | None = None) -> ReplayPolicy:
        """Read all recordings of a folder, in the order of the files' names.

        `*.json` are single demonstrations (`init_state`, `actions`); `*.hdf5` trajectory files of
        this project, or LIBERO's own. A folder that holds none is searched below.

        Raises:
            PolicyError: there is no recording, or one cannot be read.
        """
        if not folder.is_dir():
            raise PolicyError(f"{folder} is no folder of recordings")
        suffixes = (".json", ".hdf5")
        files = sorted(p for p in folder.rglob("*") if p.suffix in suffixes and p.is_file())
        found: dict[str, list[Recording]] = {}
        digest = hashlib.sha256()
        for file in files:
            recordings = list(_read(file, assets))
            if recordings:
                digest.update(file.name.encode() + hashlib.sha256(file.read_bytes()).digest())
            for task, recording in recordings:
                found.setdefault(task, []).append(recording)
        if not found:
            raise PolicyError(f"{folder} has no demonstration (*.json) or trajectory file (*.hdf5)")
        return cls(found, {"folder": folder.name, "sha256": digest.hexdigest()})

    @property
    def tasks(self) -> tuple[str, ...]:
        """Keys of the tasks that there are recordings of."""
        return tuple(self.recordings)

    def start(self, task: str, episode: int) -> Start:
        """Return where an episode starts.

        Raises:
            PolicyError: there is no such recording.
        """
        return self._find(task, episode).start

    def act(self, observations: Sequence[Observation]) -> npt.NDArray[np.float64]:
        """Return the recorded actions from each observation's step on. Shape: (n, 10, 7)."""
        return np.stack([self._of(o.key).chunk(o.step, CHUNK) for o in observations])

    def identity(self) -> dict[str, Any]:
        """Return the folder's name and the hash of its recordings."""
        return {"kind": "replay", **self._source}

    def _of(self, key: EpisodeKey) -> Recording:
        return self._find(key.task, key.episode)

    def _find(self, task: str, episode: int) -> Recording:
        recordings = self.recordings.get(task, ())
        if episode >= len(recordings):
            raise PolicyError(
                f"there are {len(recordings)} recordings of {task}, so none for episode {episode}: "
                "ask for fewer episodes, or other tasks"
            )
        return recordings[episode]


def _read(file: Path, assets: AssetPack | None) -> Iterator[tuple[str, Recording]]:
    """Yield task and recording of a file; nothing of a JSON file of another kind."""
    try:
        if file.suffix == ".json":
            yield from _read_json(file)
        else:
            with h5py.File(file) as opened:
                ours = "format_version" in opened["data"].attrs
            yield from _read_ours(file) if ours else _read_libero(file, assets)
    except DlrError:
        raise
    except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
        raise PolicyError(f"{file} is damaged, or holds no demonstration ({error!r})") from error


def _read_json(file: Path) -> Iterator[tuple[str, Recording]]:
    content = json.loads(file.read_text())
    if not isinstance(content, dict) or "actions" not in content:
        return
    named = content.get("task", file.stem)
    task = get_task(f"{content['suite']}/{named}" if "suite" in content else named)
    yield task.key, _recording(Start(state=np.array(content["init_state"])), content["actions"])


def _read_ours(file: Path) -> Iterator[tuple[str, Recording]]:
    with TrajectoryFile(file) as trajectories:
        task = trajectories.task.key
        for episode in trajectories:
            yield task, _recording(start_of(episode), episode.actions)


def start_of(episode: Episode) -> Start:
    """Return how a stored episode began.

    People's begin at their first state; all others with a reset and settling, of which the first
    action's goal has a memory that no state holds.
    """
    info = episode.info
    if info.method == _HUMAN:
        return Start(info.seed, state=episode.states[0], fixtures=episode.fixtures)
    index = official_index(info.init_index)
    return Start(info.seed, index, fixtures=episode.fixtures, settle_steps=SETTLE_STEPS)


def _read_libero(file: Path, assets: AssetPack | None) -> Iterator[tuple[str, Recording]]:
    task = get_task(file.stem.removesuffix("_demo"))
    scene = load_scene(task, assets)
    with h5py.File(file) as opened:
        data = opened["data"]
        for name in sorted(data, key=lambda key: int(key.split("_")[1])):
            group = data[name]
            fixtures = fixtures_from_mjcf(str(group.attrs["model_file"]), scene)
            start = Start(state=group["states"][0], fixtures=fixtures)
            yield task.key, _recording(start, group["actions"][()])


def _recording(start: Start, actions: object) -> Recording:
    array = np.asarray(actions, dtype=np.float64)
    if array.ndim != 2 or array.shape[1] != ACTION_DIM or not len(array):
        raise ValueError(f"actions have shape {array.shape}, not (T, {ACTION_DIM})")
    return Recording(start, array)
