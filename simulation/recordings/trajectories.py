"""Trajectories on disk in LIBERO's HDF5 layout, one file for a (source, task), with provenance."""

from __future__ import annotations

import functools
import json
import re
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from common.errors import TrajectoryError
from common.files import atomic_write, ensure_writable, write_text
from common.versions import package_versions
from simulation.assets.resolve import AssetPack
from simulation.scene import Fixtures
from simulation.tasks import Task, get_task

FORMAT_VERSION = 1
"""Version of the attributes that this module adds to LIBERO's layout."""
_PART = re.compile(r"episode_(\d{8})\.part")


@dataclass(frozen=True)
class EpisodeInfo:
    """Where an episode comes from."""

    seed: int
    """Seed of the reset, which draws fixture poses (and object poses of a fresh start)."""
    init_index: int = -1
    """Official init state, or -1 for a fresh start."""
    pattern: int = -1
    """Pattern that the policy was conditioned on, or -1."""
    way: str = ""
    """Name of the scripted demonstrator's way, or empty."""
    method: str = ""
    """`human`, `scripted` or the recipe's name."""
    policy_hash: str = ""
    """Hash of the policy's weights, or empty."""
    success: bool = True
    """Whether the task's goal held at the end."""


@dataclass(frozen=True)
class Episode:
    """One episode of T control steps."""

    states: np.ndarray
    """Simulator state before each action: time, qpos, qvel; float64 (T, 1 + nq + nv)."""
    actions: np.ndarray
    """In [-1, 1]: translation, rotation, gripper; float64 (T, 7)."""
    proprio: np.ndarray
    """LIBERO's 8-D state before each action, float64 (T, 8)."""
    joints: np.ndarray
    """Arm joint angles before each action, rad, float64 (T, 7)."""
    final_state: np.ndarray
    """Simulator state after the last action, float64 (1 + nq + nv,)."""
    final_proprio: np.ndarray
    """LIBERO's 8-D state after the last action, float64 (8,)."""
    fixtures: Fixtures
    """Poses of the fixtures, which the states do not hold."""
    info: EpisodeInfo
    """Where the episode comes from."""

    def __len__(self) -> int:
        """Return the number of control steps."""
        return len(self.actions)

    @property
    def rewards(self) -> np.ndarray:
        """1 at the last step of a success, else 0; float64 (T,)."""
        rewards = np.zeros(len(self))
        rewards[-1] = float(self.info.success)
        return rewards

    @property
    def dones(self) -> np.ndarray:
        """1 at the last step, else 0; uint8 (T,)."""
        dones = np.zeros(len(self), np.uint8)
        dones[-1] = 1
        return dones

    @property
    def path(self) -> np.ndarray:
        """Proprioceptive states with the final one, float64 (T + 1, 8)."""
        return np.concatenate((self.proprio, self.final_proprio[None]))

    def with_info(self, **changes: Any) -> Episode:
        """Return the episode with some of its provenance replaced."""
        return replace(self, info=replace(self.info, **changes))


def simulator_versions() -> dict[str, str]:
    """Return the versions of the packages that decide what a simulator state means."""
    return package_versions(("mujoco", "robosuite", "hf-libero", "dlr-vla"))


class TrajectoryWriter:
    """Collects a task's episodes, each safe on disk once added, into one HDF5 file.

    Every episode is first a file of its own beside the target, so a killed run loses at most
    the episode in work, and running again goes on with those that are missing.

    Args:
        path: the HDF5 file to make.
        task: the task.
        assets: asset pack that the episodes were simulated with.
        config: what produced the episodes; parts of another configuration are discarded.

    Raises:
        OutputError: the folder cannot be written.
    """

    def __init__(
        self, path: Path, task: Task, assets: AssetPack, config: Mapping[str, Any]
    ) -> None:
        self.path = Path(path)
        self._task = task
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

    @functools.cached_property
    def _parts(self) -> Path:
        """Folder of the episodes so far, made when it is first asked for."""
        folder = self.path.with_name(f"{self.path.name}.parts")
        manifest = folder / "manifest.json"
        text = json.dumps(self._attributes, sort_keys=True)
        if not (manifest.exists() and manifest.read_text() == text):
            if folder.exists():
                shutil.rmtree(folder)
            write_text(manifest, text)
        return folder

    def _part(self, index: int) -> Path:
        return self._parts / f"episode_{index:08d}.part"

    @property
    def finished(self) -> bool:
        """Whether the file already exists with this very configuration."""
        if not self.path.exists():
            return False
        with TrajectoryFile(self.path) as file:
            return all(file.attributes.get(k) == v for k, v in self._attributes.items())

    @property
    def done(self) -> set[int]:
        """Indices of the episodes that are on disk."""
        matches = (_PART.fullmatch(entry.name) for entry in self._parts.iterdir())
        return {int(match[1]) for match in matches if match}

    def add(self, index: int, episode: Episode) -> None:
        """Write one episode; it becomes visible whole or not at all."""
        with atomic_write(self._part(index)) as temporary, h5py.File(temporary, "w") as file:
            _write_episode(file.create_group("episode"), episode, self._task)

    def finish(self) -> TrajectoryFile:
        """Merge the episodes in the order of their indices into the file and open it.

        Raises:
            TrajectoryError: there is no episode.
        """
        indices = sorted(self.done)
        if not indices:
            raise TrajectoryError(f"no episode was collected for {self.path.name}")
        total = 0
        with atomic_write(self.path) as temporary, h5py.File(temporary, "w") as file:
            data = file.create_group("data")
            for position, index in enumerate(indices):
                with h5py.File(self._part(index)) as part:
                    part.copy("episode", data, name=f"demo_{position}")
                total += int(data[f"demo_{position}"].attrs["num_samples"])
            data.attrs.update(self._attributes | {"num_demos": len(indices), "total": total})
        shutil.rmtree(self._parts)
        return TrajectoryFile(self.path)


class TrajectoryFile:
    """Reads a trajectory file; episodes come from disk one at a time.

    Args:
        path: an HDF5 file in LIBERO's layout, written by `TrajectoryWriter`.

    Raises:
        TrajectoryError: the file is missing, truncated or of another layout.
    """

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        if not self.path.exists():
            raise TrajectoryError(f"trajectory file {self.path} does not exist")
        try:
            self._file = h5py.File(self.path)
            self.attributes: dict[str, Any] = dict(self._file["data"].attrs)
            self._names = sorted(self._file["data"], key=lambda name: int(name.split("_")[1]))
        except (OSError, KeyError, ValueError, IndexError) as error:
            raise TrajectoryError(
                f"{self.path} is truncated or not a trajectory file ({error}). "
                "Delete it and make it again."
            ) from error
        if self.attributes.get("format_version") != FORMAT_VERSION:
            raise TrajectoryError(
                f"{self.path} is not of this project's trajectory format {FORMAT_VERSION}; "
                "official LIBERO files are read by `dlr demonstrate --human-demos FOLDER`"
            )

    @property
    def task(self) -> Task:
        """The task of all episodes."""
        return get_task(str(self.attributes["task"]))

    @property
    def config(self) -> dict[str, Any]:
        """What produced the episodes."""
        return json.loads(self.attributes["config"])

    @property
    def versions(self) -> dict[str, str]:
        """Simulator versions that the episodes were made with."""
        return json.loads(self.attributes["versions"])

    @property
    def asset_pack(self) -> str:
        """Name of the asset pack that the episodes were simulated with."""
        return str(self.attributes["asset_pack"])

    @property
    def asset_digest(self) -> str:
        """Digest of the asset pack that the episodes were simulated with."""
        return str(self.attributes["asset_digest"])

    def __len__(self) -> int:
        """Return the number of episodes."""
        return len(self._names)

    def __getitem__(self, index: int) -> Episode:
        """Return an episode.

        Raises:
            TrajectoryError: it cannot be read.
        """
        if not -len(self) <= index < len(self):
            raise IndexError(f"{self.path.name} has {len(self)} episodes")
        try:
            return _read_episode(self._file["data"][self._names[index]])
        except (OSError, KeyError, ValueError) as error:
            raise TrajectoryError(
                f"episode {index} of {self.path} cannot be read ({error}). "
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


def _write_episode(group: h5py.Group, episode: Episode, task: Task) -> None:
    datasets = {
        "states": episode.states,
        "actions": episode.actions,
        "rewards": episode.rewards,
        "dones": episode.dones,
        "robot_states": np.concatenate((episode.proprio[:, 6:8], episode.proprio[:, :6]), axis=1),
        "obs/ee_pos": episode.proprio[:, :3],
        "obs/ee_ori": episode.proprio[:, 3:6],
        "obs/ee_states": episode.proprio[:, :6],
        "obs/gripper_states": episode.proprio[:, 6:8],
        "obs/joint_states": episode.joints,
        "final/state": episode.final_state,
        "final/proprio": episode.final_proprio,
        "fixtures/positions": episode.fixtures.positions,
        "fixtures/quaternions": episode.fixtures.quaternions,
    }
    for name, array in datasets.items():
        compress = {"compression": "gzip", "shuffle": True} if array.ndim > 1 else {}
        group.create_dataset(name, data=array, **(compress if array.size else {}))
    group.attrs["num_samples"] = len(episode)
    group.attrs["init_state"] = episode.states[0]
    group.attrs["fixture_names"] = json.dumps(episode.fixtures.names)
    group.attrs["language_instruction"] = task.language
    group.attrs.update(asdict(episode.info))


def _read_episode(group: h5py.Group) -> Episode:
    attributes = group.attrs
    info = EpisodeInfo(
        seed=int(attributes["seed"]),
        init_index=int(attributes["init_index"]),
        pattern=int(attributes["pattern"]),
        way=str(attributes["way"]),
        method=str(attributes["method"]),
        policy_hash=str(attributes["policy_hash"]),
        success=bool(attributes["success"]),
    )
    proprio = np.concatenate((group["obs/ee_states"][()], group["obs/gripper_states"][()]), axis=1)
    return Episode(
        states=group["states"][()],
        actions=group["actions"][()],
        proprio=proprio,
        joints=group["obs/joint_states"][()],
        final_state=group["final/state"][()],
        final_proprio=group["final/proprio"][()],
        fixtures=Fixtures(
            tuple(json.loads(attributes["fixture_names"])),
            group["fixtures/positions"][()],
            group["fixtures/quaternions"][()],
        ),
        info=info,
    )
