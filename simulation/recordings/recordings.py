"""The one reader of recordings: LIBERO's HDF5, this project's HDF5, and JSON demonstrations."""

from __future__ import annotations

import hashlib
import xml.etree.ElementTree as ElementTree
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

from common.errors import TrajectoryError, one_line
from common.files import files_below
from common.hdf5 import FAULTS, as_error, open_hdf5, read_array
from common.json_files import read_json
from common.manifest import check_sums
from simulation.assets.resolve import AssetPack
from simulation.physics.control import ACTION_DIM
from simulation.recordings.official import check_origin, demonstration_names
from simulation.recordings.trajectories import EpisodeInfo, TrajectoryFile
from simulation.scene import Fixtures, Scene, load_scene
from simulation.tasks import Task, get_task

HUMAN = "human"
"""Method of people's recordings, which begin at a state of their own."""
SUFFIXES = (".json", ".hdf5")
"""What files of recordings end in."""
_OWN_SEEDS = 2**31
"""Names of people's starts are from here on, apart from all seeds that draw anything."""
_REMEDY = "copy or record it again"


@dataclass(frozen=True, eq=False)
class Recording:
    """One recorded episode of T control steps."""

    task: Task
    """The task."""
    init_state: np.ndarray
    """Simulator state that it began with, float64 (N,)."""
    actions: np.ndarray
    """As recorded, float64 (T, 7)."""
    states: np.ndarray | None
    """Simulator state before each action, and in this project's files after the last one, too;
    float64 (T or T + 1, N); None where there are none."""
    fixtures: Fixtures | None
    """Poses of the fixtures, where they are known."""
    info: EpisodeInfo
    """Where it comes from; its seed and official init state, where it began with a reset."""


class RecordingFile(ABC):
    """An open file of recordings, which are read one at a time; close it, or use it in `with`."""

    asset_digest: str | None = None
    """Digest of the asset pack that they were made with, where the file says so."""

    def __init__(self, path: Path, task: Task) -> None:
        self.path, self.task = path, task

    @abstractmethod
    def __len__(self) -> int:
        """Return the number of recordings."""

    @abstractmethod
    def _read(self, index: int) -> Recording:
        """Return a recording; raise what h5py raises, or ValueError with a few words."""

    def __getitem__(self, index: int) -> Recording:
        """Return a recording.

        Raises:
            TrajectoryError: there is none such, or it is damaged.
        """
        if not 0 <= index < len(self):
            raise TrajectoryError(
                f"{self.path} has episodes 0 to {len(self) - 1}, but {index} is asked for"
            )
        try:
            return self._read(index)
        except TrajectoryError:
            raise
        except FAULTS as error:
            raise as_error(self.path, error, TrajectoryError, _REMEDY) from error

    def __iter__(self) -> Iterator[Recording]:
        """Yield the recordings in order."""
        return (self[index] for index in range(len(self)))

    @abstractmethod
    def close(self) -> None:
        """Close the file."""

    def __enter__(self) -> RecordingFile:
        """Return the open file itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the file."""
        self.close()


def open_recordings(
    path: Path, task: Task | None = None, assets: AssetPack | None = None
) -> RecordingFile:
    """Open any file of recordings.

    `*.json` holds one demonstration (`init_state`, `actions`, perhaps `suite` and `task`); `*.hdf5`
    is a trajectory file of this project, or LIBERO's own. Files of others hold no digest: where
    `sha256sum` has written a `SHA256SUMS` beside them, they are compared with that.

    Args:
        path: the file.
        task: the task; by default what the file or its name says.
        assets: asset pack whose scene says which fixtures a LIBERO file has; by default the one
            that every command finds.

    Raises:
        TrajectoryError: the file is missing, damaged, of another kind, or of another task.
        UnknownTaskError: neither the file nor its name says which task it is of.
    """
    if not path.is_file():
        raise TrajectoryError(f"{path} is not there: give a file of recordings")
    check_sums(path, TrajectoryError, _REMEDY)
    opened = _open(path, task, assets)
    if task is not None and opened.task != task:
        opened.close()
        raise TrajectoryError(f"{path} is of {opened.task.key}, not of {task.key}")
    return opened


def find_recordings(folder: Path) -> list[Path]:
    """Return the files of recordings below a folder, sorted; JSON without `actions` is no such.

    Raises:
        TrajectoryError: a JSON file cannot be read.
    """
    files = sorted(path for path in files_below(folder) if path.suffix in SUFFIXES)
    return [
        path
        for path in files
        if path.is_file() and (path.suffix != ".json" or "actions" in _read_object(path))
    ]


def _open(path: Path, task: Task | None, assets: AssetPack | None) -> RecordingFile:
    if path.suffix == ".json":
        return _JsonDemonstration(path, task)
    try:
        with open_hdf5(path) as file:
            ours = "format_version" in file["data"].attrs
    except FAULTS as error:
        raise TrajectoryError(
            f"{path} is truncated, or neither HDF5 in LIBERO's layout nor JSON "
            f"({one_line(error)}): {_REMEDY}"
        ) from error
    return _OurFile(path) if ours else _LiberoFile(path, task, assets)


class _OurFile(RecordingFile):
    """A trajectory file of this project."""

    def __init__(self, path: Path) -> None:
        self._file = TrajectoryFile(path)
        self.asset_digest = self._file.asset_digest
        super().__init__(path, self._file.task)

    def __len__(self) -> int:
        return len(self._file)

    def _read(self, index: int) -> Recording:
        episode = self._file[index]
        states = np.concatenate((episode.states, episode.final_state[None]))
        return Recording(
            self.task, states[0], episode.actions, states, episode.fixtures, episode.info
        )

    def close(self) -> None:
        self._file.close()


class _LiberoFile(RecordingFile):
    """LIBERO's own file, whose fixtures' poses are in each demonstration's MJCF."""

    def __init__(self, path: Path, task: Task | None, assets: AssetPack | None) -> None:
        super().__init__(path, task or get_task(path.stem.removesuffix("_demo")))
        self._assets = assets
        try:
            self._file = h5py.File(path)
            self._names = demonstration_names(self._file["data"])
            check_origin(path, self._file["data"], self.task)
        except TrajectoryError:
            self._file.close()
            raise
        except FAULTS as error:
            raise as_error(path, error, TrajectoryError, _REMEDY) from error

    def __len__(self) -> int:
        return len(self._names)

    def _read(self, index: int) -> Recording:
        group, scene = self._file["data"][self._names[index]], load_scene(self.task, self._assets)
        states, actions = read_array(group, "states"), read_array(group, "actions", ACTION_DIM)
        if states.shape[1] != scene.state_size:
            raise TrajectoryError(
                f"{self.path} has states of shape {states.shape}, but those of {self.task.name} "
                f"have {scene.state_size} numbers: name the task that it is of"
            )
        if len(states) != len(actions):
            raise ValueError(f"{len(states)} states and {len(actions)} actions")
        fixtures = fixtures_from_mjcf(str(group.attrs["model_file"]), scene)
        return Recording(self.task, states[0], actions, states, fixtures, _of_people(states[0]))

    def close(self) -> None:
        self._file.close()


class _JsonDemonstration(RecordingFile):
    """One demonstration as JSON."""

    def __init__(self, path: Path, task: Task | None) -> None:
        content = _read_object(path)
        if lacking := [name for name in ("init_state", "actions") if name not in content]:
            raise TrajectoryError(f"{path} is not a demonstration: it has no {lacking[0]}")
        super().__init__(path, _task_of(content, path, task))
        self._content = content

    def __len__(self) -> int:
        return 1

    def _read(self, index: int) -> Recording:
        state = _numbers(self._content["init_state"], "init_state", (-1,))
        actions = _numbers(self._content["actions"], "actions", (-1, ACTION_DIM))
        return Recording(self.task, state, actions, None, None, _of_people(state))

    def close(self) -> None:
        self._content = {}


def _task_of(content: dict[str, object], path: Path, task: Task | None) -> Task:
    """Return the task that a demonstration names; else the one asked for, or the file's name."""
    named = content.get("task")
    if "suite" in content:
        return get_task(f"{content['suite']}/{named or path.stem}")
    if task is not None and named in (None, task.name):
        return task
    return get_task(str(named or path.stem))


def fixtures_from_mjcf(xml: str, scene: Scene) -> Fixtures:
    """Return the fixtures' poses that a demonstration's `model_file` holds.

    Raises:
        ValueError, KeyError: it is not MJCF, or lacks a fixture.
    """
    try:
        bodies = {body.get("name"): body for body in ElementTree.fromstring(xml).iter("body")}
    except ElementTree.ParseError as error:
        raise ValueError(f"model_file is not MJCF: {error}") from error
    names = [scene.model.body(int(body)).name for body in scene.fixture_bodies]

    def numbers(attribute: str, default: str, size: int) -> np.ndarray:
        texts = (bodies[name].get(attribute) or default for name in names)
        values = [[float(number) for number in text.split()] for text in texts]
        return _numbers(values, f"a fixture's {attribute}", (-1, size))

    if not names:
        return Fixtures(scene.fixture_names, np.zeros((0, 3)), np.zeros((0, 4)))
    return Fixtures(scene.fixture_names, numbers("pos", "0 0 0", 3), numbers("quat", "1 0 0 0", 4))


def _read_object(path: Path) -> dict[str, object]:
    return read_json(path, "a demonstration", TrajectoryError, _REMEDY)


def _numbers(values: object, name: str, shape: tuple[int, ...]) -> np.ndarray:
    """Return finite numbers as an array, float64; -1 in the shape stands for any size but 0.

    Raises:
        ValueError: they are not such.
    """
    array = np.array(values)
    if array.size and array.dtype.kind not in "fiu":
        raise ValueError(f"{name} has values that are no numbers")
    alike = array.ndim == len(shape) and array.size > 0
    if not alike or any(s not in (-1, n) for s, n in zip(shape, array.shape, strict=True)):
        raise ValueError(f"{name} has shape {array.shape}")
    if not np.isfinite(array).all():
        raise ValueError(f"{name} holds NaN or infinity")
    return array.astype(np.float64)


def _of_people(state: np.ndarray) -> EpisodeInfo:
    """Return the origin of a person's recording, whose seed names the state it began with.

    No seed drew it; but equal starts have one name and others another, in every file and folder.
    """
    digest = hashlib.sha256(np.ascontiguousarray(state, "<f8").tobytes()).digest()
    return EpisodeInfo(_OWN_SEEDS + int.from_bytes(digest[:4], "little") % _OWN_SEEDS, method=HUMAN)
