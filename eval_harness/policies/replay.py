"""Recorded actions, replayed open loop from the recording's own start."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from common.manifest import file_sha256
from demonstrations.config import AMPLIFIED, SCRIPTED
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
from simulation.recordings.recordings import HUMAN, Recording, find_recordings, open_recordings
from simulation.starts import official_index

CHUNK = 10
"""Actions given at a time: nothing is looked at, so any number does."""


@dataclass(frozen=True, eq=False)
class RecordedActions:
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
        self, recordings: Mapping[str, Sequence[RecordedActions]], source: Mapping[str, Any]
    ) -> None:
        self.recordings = recordings
        self._source = source

    @classmethod
    def of_folder(cls, folder: Path, assets: AssetPack | None = None) -> ReplayPolicy:
        """Read all recordings of a folder, in the order of the files' names.

        `*.json` are single demonstrations (`init_state`, `actions`); `*.hdf5` trajectory files of
        this project, or LIBERO's own. A folder that holds none is searched below.

        Raises:
            PolicyError: there is no recording.
            TrajectoryError: one cannot be read.
        """
        if not folder.is_dir():
            raise PolicyError(f"{folder} is no folder of recordings")
        found: dict[str, list[RecordedActions]] = {}
        digest = hashlib.sha256()
        for path in find_recordings(folder):
            digest.update(path.name.encode() + bytes.fromhex(file_sha256(path)))
            with open_recordings(path, assets=assets) as file:
                actions = [RecordedActions(start_of(one), one.actions) for one in file]
            found.setdefault(file.task.key, []).extend(actions)
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

    def _of(self, key: EpisodeKey) -> RecordedActions:
        return self._find(key.task, key.episode)

    def _find(self, task: str, episode: int) -> RecordedActions:
        recordings = self.recordings.get(task, ())
        if episode >= len(recordings):
            raise PolicyError(
                f"there are {len(recordings)} recordings of {task}, so none for episode {episode}: "
                "ask for fewer episodes, or other tasks"
            )
        return recordings[episode]


def start_of(recording: Recording) -> Start:
    """Return how a recorded episode began.

    Demonstrations begin at their first state; all others with a reset and settling, of which the
    first action's goal has a memory that no state holds.
    """
    info = recording.info
    if info.method == HUMAN:
        return Start(state=recording.init_state, fixtures=recording.fixtures)
    if info.method in (SCRIPTED, AMPLIFIED):
        return Start(info.seed, state=recording.init_state, fixtures=recording.fixtures)
    index = official_index(info.init_index)
    return Start(info.seed, index, fixtures=recording.fixtures, settle_steps=SETTLE_STEPS)
