"""Trajectories on disk in LIBERO's HDF5 layout, one file for a (source, task), with provenance."""

from __future__ import annotations

import contextlib
import functools
import json
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from common.errors import TrajectoryError
from common.files import ensure_writable, output_errors, write_bytes, write_text
from common.hdf5 import open_hdf5
from common.locks import lock_file
from common.versions import package_versions
from simulation.assets.resolve import AssetPack
from simulation.recordings.earlier import (
    Comparison,
    Relation,
    clear,
    equal,
    relation,
    serve,
    set_aside,
)
from simulation.recordings.episode import Episode, EpisodeInfo
from simulation.recordings.stored_episode import (
    DIGEST,
    digest,
    hdf5_bytes,
    read_episode,
    read_part,
    write_episode,
)
from simulation.tasks import Task, get_task

__all__ = ["Episode", "EpisodeInfo", "TrajectoryFile", "TrajectoryWriter", "simulator_versions"]

FORMAT_VERSION = 3
"""Version of what this module adds to LIBERO's layout: 2 added digests, 3 intended actions."""
_INDEX = "index"
"""Group beside LIBERO's `data`: digest, steps and provenance of each episode, in order."""
_PART = re.compile(r"episode_(\d{8})\.part")


def simulator_versions() -> dict[str, str]:
    """Return the versions of the packages that decide what a simulator state means."""
    return package_versions(("mujoco", "robosuite", "hf-libero", "dlr-vla"))


class TrajectoryWriter:
    """Collects a task's episodes, each safe on disk once added, into one HDF5 file.

    Every episode is first a file of its own beside the target, so a killed run loses at most
    the episode in work, and running again goes on with those that are missing. From its making
    until `finish` or `close` no other process can write the file. A file or parts that other
    settings made are set aside, and a line says so.

    Args:
        path: the HDF5 file to make.
        task: the task.
        assets: asset pack that the episodes were simulated with.
        config: what produced the episodes.
        expected: episodes that the whole file holds at least.
        compare: how episodes of an earlier configuration stand to those of this one; by default
            all of it is to be the same.

    Raises:
        BusyError: another process is writing the file.
        OutputError: the folder cannot be written.
    """

    def __init__(
        self,
        path: Path,
        task: Task,
        assets: AssetPack,
        config: Mapping[str, Any],
        expected: int = 1,
        compare: Comparison = equal,
    ) -> None:
        self.path = Path(path)
        self.task, self._expected, self._compare = task, expected, compare
        self._attributes = {
            "format_version": FORMAT_VERSION,
            "task": task.key,
            "asset_pack": assets.name,
            "asset_digest": assets.digest,
            "versions": json.dumps(simulator_versions(), sort_keys=True),
            "config": json.dumps(config, sort_keys=True, default=str),
            "bddl_file_name": f"{task.suite}/{task.name}.bddl",
            "env_args": json.dumps({"env_name": "Libero", "type": 1, "env_kwargs": {}}),
            "problem_info": json.dumps({"language_instruction": task.language}),
            "tag": "libero-v1",
            "macros_image_convention": "opengl",
        }
        ensure_writable(self.path.parent)
        self._lock = lock_file(self.path)

    @functools.cached_property
    def parts(self) -> Path:
        """Folder of the episodes so far, made when first asked for; `finish` removes all of it."""
        folder = self.path.with_name(f"{self.path.name}.parts")
        manifest = folder / "manifest.json"
        text = json.dumps(self._attributes, sort_keys=True)
        if not (manifest.exists() and manifest.read_bytes() == text.encode()):
            if folder.exists() and not serve(manifest, self._relation):
                clear(folder, holds=_PART)
            write_text(manifest, text)
        return folder

    def _relation(self, attributes: Mapping[str, Any]) -> Relation:
        return relation(attributes, self._attributes, self._compare)

    def _part(self, index: int) -> Path:
        return self.parts / f"episode_{index:08d}.part"

    @property
    def finished(self) -> bool:
        """Whether the file already exists, whole and with this very configuration.

        Raises:
            TrajectoryError: it exists, but is damaged.
        """
        if self.earlier is not Relation.SAME:
            return False
        with TrajectoryFile(self.path) as file:
            return len(file) >= self._expected

    @property
    def earlier(self) -> Relation | None:
        """How the file that is there stands to this one; None where there is none.

        Raises:
            TrajectoryError: it exists, but is damaged.
        """
        if not self.path.exists():
            return None
        if _format_version(self.path) != FORMAT_VERSION:
            return Relation.OTHER
        with TrajectoryFile(self.path) as file:
            return self._relation(file.attributes)

    def make_way(self, beside: Sequence[str] = (), others: Sequence[Path] = ()) -> None:
        """Set the file that is there aside, with those that go with it (see `set_aside`)."""
        set_aside(self.path, beside, others)

    @functools.cached_property
    def done(self) -> set[int]:
        """Indices of the episodes that are on disk; a damaged one is removed, to be made again."""
        matches = (_PART.fullmatch(entry.name) for entry in self.parts.iterdir())
        found = {int(match[1]) for match in matches if match}
        return {index for index in found if self._is_whole(index)}

    def _is_whole(self, index: int) -> bool:
        try:
            self._read(index)
        except TrajectoryError:
            self._part(index).unlink()
            return False
        return True

    def _read(self, index: int) -> Episode:
        path = self._part(index)
        try:
            with h5py.File(path) as part:
                return read_part(part["episode"])
        except Exception as error:
            raise TrajectoryError(
                f"{path} is missing or damaged ({error}): run the same command again, and the "
                "episode is made anew"
            ) from error

    def add(self, index: int, episode: Episode) -> None:
        """Write one episode; it becomes visible whole or not at all.

        Raises:
            TrajectoryError: its shapes do not agree, or a number is not finite.
            OutputError: it cannot be written.
        """
        language = self.task.language
        write_bytes(
            self._part(index),
            hdf5_bytes(lambda file: write_episode(file.create_group("episode"), episode, language)),
        )
        self.done.add(index)

    def finish(self) -> TrajectoryFile:
        """Merge the episodes in the order of their indices into the file and open it.

        A file of other settings that is still there is set aside.

        Raises:
            TrajectoryError: there are fewer episodes than expected, or one is damaged.
            OutputError: the file cannot be written.
        """
        if not self.done:
            raise TrajectoryError(f"no episode was collected for {self.path.name}")
        if len(self.done) < self._expected:
            raise TrajectoryError(
                f"{len(self.done)} of {self._expected} episodes are there for {self.path.name}: "
                "run the same command again"
            )
        merged = hdf5_bytes(self._merge)
        with contextlib.suppress(TrajectoryError):  # (one that is damaged is replaced)
            if self.earlier is Relation.OTHER:
                self.make_way()
        write_bytes(self.path, merged)
        with output_errors(self.parts):
            shutil.rmtree(self.parts)
        self.close()
        return TrajectoryFile(self.path)

    def _merge(self, file: h5py.File) -> None:
        data, indices = file.create_group("data"), sorted(self.done)
        infos, steps, digests = [], [], []
        for position, index in enumerate(indices):
            infos.append(asdict(self._read(index).info))
            with h5py.File(self._part(index)) as part:
                part.copy("episode", data, name=f"demo_{position}")
            attributes = data[f"demo_{position}"].attrs
            steps.append(int(attributes["num_samples"]))
            digests.append(list(bytes.fromhex(attributes[DIGEST])))
        index_data: dict[str, np.ndarray] = {
            "info": np.frombuffer(json.dumps(infos).encode(), np.uint8),
            "num_samples": np.array(steps, np.int64),
            DIGEST: np.array(digests, np.uint8),
        }
        attributes = self._attributes | {"num_demos": len(indices), "total": sum(steps)}
        for name, array in index_data.items():
            file.create_dataset(f"{_INDEX}/{name}", data=array)
        data.attrs.update(attributes | {DIGEST: digest(index_data, attributes)})

    def close(self) -> None:
        """Let others write the file; what was added stays."""
        self._lock.release()

    def __enter__(self) -> TrajectoryWriter:
        """Return the writer itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close it."""
        self.close()


class TrajectoryFile:
    """Reads a trajectory file; episodes come from disk one at a time, each checked as it is read.

    Args:
        path: an HDF5 file in LIBERO's layout, written by `TrajectoryWriter`.

    Raises:
        TrajectoryError: the file is missing, truncated, damaged or of another layout.
    """

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        version = _format_version(self.path)
        if version is None:
            raise TrajectoryError(
                f"{self.path} is not of this project's trajectory format {FORMAT_VERSION}; "
                "official LIBERO files are read by `dlr demonstrate --human-demos FOLDER`"
            )
        if version != FORMAT_VERSION:
            raise TrajectoryError(
                f"{self.path} is of trajectory format {version}, but {FORMAT_VERSION} is read "
                "(with a digest of each episode): run the `dlr demonstrate` or `dlr collect` that "
                "made it, and the same episodes are made again; policies need no new training"
            )
        self._file = _open(self.path)
        try:
            self.attributes: dict[str, Any] = dict(self._file["data"].attrs)
            self._steps, self._digests, infos = self._read_index()
            self.infos: Sequence[EpisodeInfo] = infos
            """Where each episode comes from, without reading the episodes."""
            self.config: dict[str, Any] = json.loads(self.attributes["config"])
            """What produced the episodes."""
            self.versions: dict[str, str] = json.loads(self.attributes["versions"])
            """Simulator versions that the episodes were made with."""
            self.asset_pack, self.asset_digest = (
                str(self.attributes[name]) for name in ("asset_pack", "asset_digest")
            )
            self._task = str(self.attributes["task"])
        except Exception as error:
            self._file.close()
            raise _damaged(self.path, error) from error

    def _read_index(self) -> tuple[np.ndarray, np.ndarray, list[EpisodeInfo]]:
        """Return steps (N,), digests (N, 32) and provenance of the N episodes.

        Raises:
            ValueError: they or the file's attributes are not what was written.
        """
        group, data = self._file[_INDEX], self._file["data"]
        if sum(item.nbytes for item in group.values()) > self._file.id.get_filesize():
            raise ValueError("its index is larger than the file")
        index = {name: item[()] for name, item in group.items()}
        attributes = dict(self.attributes)
        if attributes.pop(DIGEST) != digest(index, attributes):
            raise ValueError("its index does not match its sha256")
        steps = index["num_samples"]
        if not len(data) == len(steps) == attributes["num_demos"]:
            raise ValueError(f"it has {len(data)} episodes, not {attributes['num_demos']}")
        if steps.sum() != attributes["total"]:
            raise ValueError(f"it has {steps.sum()} steps, not {attributes['total']}")
        infos = [EpisodeInfo(**info) for info in json.loads(index["info"].tobytes())]
        if not len(infos) == len(index[DIGEST]) == len(steps):
            raise ValueError(f"its index is of {len(infos)} and of {len(steps)} episodes")
        return steps, index[DIGEST], infos

    @property
    def lengths(self) -> Sequence[int]:
        """Control steps of each episode, without reading the episodes."""
        return [int(steps) for steps in self._steps]

    @property
    def digests(self) -> Sequence[str]:
        """The sha256 of each episode's content, without reading the episodes."""
        return [digest.tobytes().hex() for digest in self._digests]

    @property
    def task(self) -> Task:
        """The task of all episodes."""
        return get_task(self._task)

    def __len__(self) -> int:
        """Return the number of episodes."""
        return len(self._steps)

    def __getitem__(self, index: int) -> Episode:
        """Return an episode.

        Raises:
            TrajectoryError: it cannot be read, or is not what was written.
        """
        if not -len(self) <= index < len(self):
            raise IndexError(f"{self.path.name} has {len(self)} episodes")
        position = index % len(self)
        try:
            group = self._file[f"data/demo_{position}"]
            sha256 = self._digests[position].tobytes().hex()
            return read_episode(group, int(self._steps[position]), sha256)
        except Exception as error:
            raise TrajectoryError(
                f"episode {index} of {self.path} is damaged ({error}). "
                "Delete the file and make it again."
            ) from error

    def __iter__(self) -> Iterator[Episode]:
        """Yield the episodes in order."""
        return (self[index] for index in range(len(self)))

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __enter__(self) -> TrajectoryFile:
        """Return the open file itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the file."""
        self.close()


def _format_version(path: Path) -> int | None:
    """Return the format of a trajectory file; None for one that is not this project's.

    Raises:
        TrajectoryError: the file is missing, or HDF5 cannot read it.
    """
    with _open(path) as file:
        try:
            version = file["data"].attrs.get("format_version")
            return None if version is None else int(version)
        except Exception as error:
            raise _damaged(path, error) from error


def _open(path: Path) -> h5py.File:
    if not path.exists():
        raise TrajectoryError(f"trajectory file {path} does not exist")
    try:
        return open_hdf5(path)
    except Exception as error:
        raise _damaged(path, error) from error


def _damaged(path: Path, error: Exception) -> TrajectoryError:
    return TrajectoryError(
        f"{path} is truncated or not a trajectory file ({error}). Delete it and make it again."
    )
