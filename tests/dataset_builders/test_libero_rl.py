"""The built dataset as TFDS and rlds read it, and what `verify` finds in damaged copies."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cloudpickle import register_pickle_by_value  # type: ignore[import-untyped]

from common.workers import run_in_fresh_process
from dataset_builders import import_tfds
from dataset_builders.episodes import to_stored
from dataset_builders.provenance import describe_dataset
from simulation.recordings.trajectories import TrajectoryFile
from tests.dataset_builders.conftest import PIXELS

register_pickle_by_value(sys.modules[__name__])  # the fresh process cannot import this file


def load(dataset: Path) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Return the episodes, steps as stacked arrays, and the metadata, as TFDS gives them."""
    tfds = import_tfds()
    builder = tfds.builder_from_directory(dataset)
    episodes = []
    for episode in tfds.as_numpy(builder.as_dataset(split="train")):
        steps = [{**step, **step.pop("observation")} for step in episode["steps"]]
        stacked = {name: np.stack([step[name] for step in steps]) for name in steps[0]}
        episodes.append({"steps": stacked, "metadata": episode["episode_metadata"]})
    episodes.sort(key=lambda episode: episode["metadata"]["trajectory_index"])
    return episodes, dict(builder.info.metadata)


def use_rlds(dataset: Path) -> dict[str, Any]:
    """Return what a few of rlds's transformations make of an episode."""
    from dataset_builders.rlds_compat import rlds

    builder = import_tfds().builder_from_directory(dataset)
    steps = next(iter(builder.as_dataset(split="train")))[rlds.STEPS]
    numbers = steps.map(lambda step: {key: step[key] for key in (rlds.REWARD, rlds.IS_LAST)})
    windows = rlds.transformations.batch(numbers, size=2, shift=1, drop_remainder=True)
    rewards = rlds.transformations.sum_dataset(numbers, lambda step: step[rlds.REWARD])
    try:
        rlds.transformations.pattern_map(steps, [])
    except AttributeError as error:
        message = str(error)
    return {
        "length": int(rlds.transformations.episode_length(steps)),
        "windows": len(list(windows)),
        "reward": float(rewards),
        "message": message,
    }


def inspect(dataset: Path) -> dict[str, Any]:
    """Do everything that needs TensorFlow, once."""
    episodes, metadata = load(dataset)
    return {
        "episodes": episodes,
        "metadata": metadata,
        "rlds": use_rlds(dataset),
    }


@pytest.fixture(scope="module")
def inspected(dataset: Path) -> dict[str, Any]:
    return run_in_fresh_process(inspect, dataset)


LAYOUT = {
    "image": ((PIXELS, PIXELS, 3), "uint8"),
    "wrist_image": ((PIXELS, PIXELS, 3), "uint8"),
    "state": ((8,), "float32"),
    "joint_state": ((7,), "float32"),
    "action": ((7,), "float32"),
    "discount": ((), "float32"),
    "reward": ((), "float32"),
    "is_first": ((), "bool"),
    "is_last": ((), "bool"),
    "is_terminal": ((), "bool"),
    "language_instruction": ((), "text"),
}
"""Names, shapes and types of a step in OpenVLA's LIBERO datasets."""


def kind_of(array: np.ndarray) -> tuple[tuple[int, ...], str]:
    """Return the shape and type of one step's value."""
    return array.shape[1:], "text" if array.dtype.kind in "SO" else array.dtype.name


def test_steps_are_laid_out_as_openvla_s(inspected: dict[str, Any]) -> None:
    for episode in inspected["episodes"]:
        found = {name: kind_of(array) for name, array in episode["steps"].items()}
        assert found.keys() - LAYOUT.keys() == {"observation"}  # whose parts are beside it
        assert {name: found[name] for name in LAYOUT} == LAYOUT
        assert "file_path" in episode["metadata"]


def test_flags_and_rewards_mark_first_last_and_success(inspected: dict[str, Any]) -> None:
    for episode, length in zip(inspected["episodes"], (4, 3), strict=True):
        steps = episode["steps"]
        assert np.array_equal(steps["is_first"], np.arange(length) == 0)
        for name in ("is_last", "is_terminal", "reward"):
            assert np.array_equal(steps[name], np.arange(length) == length - 1)
        assert np.array_equal(steps["discount"], np.ones(length))
        assert set(steps["language_instruction"]) == {b"close the top drawer of the cabinet"}


def test_numbers_are_those_of_the_trajectory(inspected: dict[str, Any], trajectories: Path) -> None:
    with TrajectoryFile(trajectories / "libero_90.hdf5") as source:
        for stored in inspected["episodes"]:
            metadata, steps = stored["metadata"], stored["steps"]
            episode = source[int(metadata["trajectory_index"])]
            assert np.array_equal(steps["state"], episode.proprio.astype(np.float32))
            assert np.array_equal(steps["joint_state"], episode.joints.astype(np.float32))
            assert np.array_equal(steps["action"], episode.actions.astype(np.float32))
            for name in ("pattern", "seed", "init_index", "success"):
                assert metadata[name] == getattr(episode.info, name)
            assert metadata["policy_hash"].decode() == episode.info.policy_hash
            assert metadata["asset_digest"].decode() == source.asset_digest
            assert metadata["mujoco_version"].decode() == source.versions["mujoco"]


def test_only_successes_of_the_method_and_only_scalar_metadata(inspected: dict[str, Any]) -> None:
    metadata = [episode["metadata"] for episode in inspected["episodes"]]
    assert [item["method"] for item in metadata] == [b"dlr", b"dlr"]
    assert all(np.ndim(value) == 0 for item in metadata for value in item.values())


def test_metadata_names_sources_packs_and_counts(
    inspected: dict[str, Any], trajectories: Path
) -> None:
    metadata = inspected["metadata"]
    assert list(metadata["episodes"].values()) == [{"0": 1, "1": 1}]
    (source,) = metadata["sources"]
    assert (source["file"], source["config"]) == ("libero_90.hdf5", {"recipe": "libero_90.hdf5"})
    assert metadata["asset_packs"] == {source["asset_pack"]: source["asset_digest"]}
    assert str(trajectories) not in json.dumps(metadata)


def test_packs_of_one_name_are_all_told() -> None:
    sources = [
        {"asset_pack": name, "asset_digest": digest}
        for name, digest in (("embedded-v1", "b"), ("libero", "c"), ("embedded-v1", "a"))
    ]
    told = describe_dataset([], 24, {"image": "agentview"}, sources)["asset_packs"]
    assert told == {"embedded-v1": "a, b", "libero": "c"}


def test_stored_is_the_raw_observation_rotated() -> None:
    upright = np.arange(4 * 5 * 3, dtype=np.uint8).reshape(4, 5, 3)
    raw = upright[::-1]  # LIBERO's observation: OpenGL's first row is the bottom
    assert np.array_equal(to_stored(upright), np.rot90(raw, 2))
    assert np.array_equal(to_stored(upright)[:, ::-1], upright)


def test_rlds_transformations_work_without_reverb(inspected: dict[str, Any]) -> None:
    result = inspected["rlds"]
    assert result["windows"] == result["length"] - 1
    assert result["reward"] == 1
    assert "dm-reverb has no build" in result["message"]
