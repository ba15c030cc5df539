"""An episode in an HDF5 group: written, digested, and read only if it is what was written."""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

import h5py
import numpy as np

from simulation.recordings.episode import Episode, EpisodeInfo
from simulation.scene import Fixtures

DIGEST = "sha256"
"""Attribute with the sha256 of a group's other content; see `digest`."""
_PER_STEP = (
    "states",
    "actions",
    "intended",
    "rewards",
    "dones",
    "robot_states",
    "obs/ee_pos",
    "obs/ee_ori",
    "obs/ee_states",
    "obs/gripper_states",
    "obs/joint_states",
)
_OTHERS = ("final/state", "final/proprio", "fixtures/positions", "fixtures/quaternions")
_MOST_INFLATION = 1100
"""More bytes than this for one on disk are not in a compressed file: deflate reaches 1,032."""


def hdf5_bytes(fill: Callable[[h5py.File], None]) -> bytes:
    """Return the bytes of an HDF5 file that `fill` fills, made in memory.

    HDF5 does not survive a disk that becomes full: only whole files are given to it.
    """
    name = uuid.uuid4().hex  # HDF5 takes two open files of one name for the same
    with h5py.File(name, "w", driver="core", backing_store=False) as file:
        fill(file)
        file.flush()
        return file.id.get_file_image()


def digest(datasets: Mapping[str, np.ndarray], attributes: Mapping[str, Any]) -> str:
    """Return the sha256 of arrays and attributes: names, types, shapes and numbers."""
    found = hashlib.sha256()
    for kind, items in (("dataset", datasets), ("attribute", attributes)):
        for name in sorted(items):
            value: Any = items[name]
            text = isinstance(value, str)
            array = np.frombuffer(value.encode(), np.uint8) if text else np.asarray(value)
            little = array.astype(array.dtype.newbyteorder("<"), copy=False)
            form = ["text" if text else little.dtype.str, *array.shape]
            found.update(json.dumps([kind, name, form]).encode())
            found.update(np.ascontiguousarray(little).data)
    return found.hexdigest()


def episode_digest(episode: Episode, language: str) -> str:
    """Return the digest that `write_episode` writes beside an episode."""
    return digest(_datasets(episode), _attributes(episode, language))


def write_episode(group: h5py.Group, episode: Episode, language: str) -> None:
    """Write an episode in LIBERO's layout, its digest in the attribute `sha256`.

    Raises:
        TrajectoryError: its shapes do not agree, or a number is not finite.
    """
    episode.check()
    datasets, attributes = _datasets(episode), _attributes(episode, language)
    for name, array in datasets.items():
        compress = {"compression": "gzip", "shuffle": True} if array.ndim > 1 else {}
        group.create_dataset(name, data=array, **(compress if array.size else {}))
    group.attrs.update(attributes)
    group.attrs[DIGEST] = digest(datasets, attributes)


def read_episode(group: h5py.Group, steps: int, sha256: str) -> Episode:
    """Return the episode of a group.

    Args:
        group: what `write_episode` wrote, or something damaged.
        steps: control steps that it must have, checked before anything is read.
        sha256: the digest that it must have.

    Raises:
        ValueError: it is not what was written.
        TrajectoryError: as `write_episode`.
    """
    datasets = _read_datasets(group, steps)
    attributes = dict(group.attrs)
    stored = attributes.pop(DIGEST)
    if not stored == sha256 == digest(datasets, attributes):
        raise ValueError("its content does not match its sha256")
    episode = _episode(datasets, attributes)
    episode.check()
    return episode


def read_part(group: h5py.Group) -> Episode:
    """Return the episode of a group that nothing but itself tells of; see `read_episode`."""
    return read_episode(group, int(group.attrs["num_samples"]), str(group.attrs[DIGEST]))


def _read_datasets(group: h5py.Group, steps: int) -> dict[str, np.ndarray]:
    names = {*_PER_STEP, *_OTHERS}
    present: set[str] = set()
    group.visititems(lambda name, item: _note(present, name, item))
    if present != names:
        raise ValueError(f"it has other datasets than it should: {min(present ^ names)}")
    if wrong := [name for name in _PER_STEP if group[name].shape[:1] != (steps,)]:
        raise ValueError(f"{wrong[0]} has not {steps} steps")
    if sum(group[name].nbytes for name in names) > _MOST_INFLATION * group.file.id.get_filesize():
        raise ValueError("it declares more numbers than the file can hold")
    return {name: group[name][()] for name in names}


def _note(present: set[str], name: str, item: h5py.Group | h5py.Dataset) -> None:
    if isinstance(item, h5py.Dataset):
        present.add(name)


def _datasets(episode: Episode) -> dict[str, np.ndarray]:
    proprio = episode.proprio
    return {
        "states": episode.states,
        "actions": episode.actions,
        "intended": episode.labels,
        "rewards": episode.rewards,
        "dones": episode.dones,
        "robot_states": np.concatenate((proprio[:, 6:8], proprio[:, :6]), axis=1),
        "obs/ee_pos": proprio[:, :3],
        "obs/ee_ori": proprio[:, 3:6],
        "obs/ee_states": proprio[:, :6],
        "obs/gripper_states": proprio[:, 6:8],
        "obs/joint_states": episode.joints,
        "final/state": episode.final_state,
        "final/proprio": episode.final_proprio,
        "fixtures/positions": episode.fixtures.positions,
        "fixtures/quaternions": episode.fixtures.quaternions,
    }


def _attributes(episode: Episode, language: str) -> dict[str, Any]:
    return {
        "num_samples": len(episode),
        "init_state": episode.states[0],
        "fixture_names": json.dumps(episode.fixtures.names),
        "language_instruction": language,
        **asdict(episode.info),
    }


def _episode(datasets: Mapping[str, np.ndarray], attributes: Mapping[str, Any]) -> Episode:
    proprio = np.concatenate((datasets["obs/ee_states"], datasets["obs/gripper_states"]), axis=1)
    return Episode(
        states=datasets["states"],
        actions=datasets["actions"],
        proprio=proprio,
        joints=datasets["obs/joint_states"],
        final_state=datasets["final/state"],
        final_proprio=datasets["final/proprio"],
        fixtures=Fixtures(
            tuple(json.loads(attributes["fixture_names"])),
            datasets["fixtures/positions"],
            datasets["fixtures/quaternions"],
        ),
        info=_info(attributes),
        intended=datasets["intended"],
    )


def _info(attributes: Mapping[str, Any]) -> EpisodeInfo:
    return EpisodeInfo(
        seed=int(attributes["seed"]),
        init_index=int(attributes["init_index"]),
        pattern=int(attributes["pattern"]),
        way=str(attributes["way"]),
        method=str(attributes["method"]),
        policy_hash=str(attributes["policy_hash"]),
        success=bool(attributes["success"]),
        attempts=int(attributes["attempts"]),
    )
