"""One episode of any kind of file becomes the states that were lived through."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest

from common.errors import AssetError, TrajectoryError, UnknownTaskError
from simulation.assets.resolve import embedded_pack
from simulation.environment import Environment
from simulation.recordings.footage import read_footage
from simulation.recordings.recorder import Recorder
from simulation.recordings.trajectories import TrajectoryWriter
from simulation.tasks import get_task

TASK = get_task("KITCHEN_SCENE10_close_the_top_drawer_of_the_cabinet")
OTHER = get_task("KITCHEN_SCENE5_put_the_black_bowl_on_the_plate")


@pytest.fixture(scope="module")
def episodes():
    """Two episodes of six random actions, from init states 1 and 2 and other fixture poses."""
    env = Environment(TASK, embedded_pack())
    found = []
    for index in (1, 2):
        env.reset(seed=index, init_index=index)
        recorder = Recorder(env)
        for action in np.random.default_rng(index).uniform(-1, 1, (6, 7)):
            recorder.before(action)
            env.step(action)
        found.append(recorder.finish(success=False))
    return found


def lived(episode) -> np.ndarray:
    return np.concatenate((episode.states, episode.final_state[None]))


def test_a_trajectory_file(episodes, tmp_path: Path) -> None:
    writer = TrajectoryWriter(tmp_path / "a.hdf5", TASK, embedded_pack(), {})
    for index, episode in enumerate(episodes):
        writer.add(index, episode)
    writer.finish().close()
    recording = read_footage(tmp_path / "a.hdf5", 1)
    np.testing.assert_array_equal(recording.states, lived(episodes[1]))
    np.testing.assert_array_equal(recording.fixtures.positions, episodes[1].fixtures.positions)
    assert (recording.task, recording.assets) == (TASK, embedded_pack())
    assert recording.title.endswith("failure (a.hdf5, episode 1 of 2)")
    with pytest.raises(TrajectoryError, match="episodes 0 to 1, but 2"):
        read_footage(tmp_path / "a.hdf5", 2)
    with pytest.raises(TrajectoryError, match=f"not of {OTHER.key}"):
        read_footage(tmp_path / "a.hdf5", 0, OTHER)


def test_a_file_made_with_assets_that_are_not_here(
    episodes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, pack = tmp_path / "a.hdf5", embedded_pack()
    writer = TrajectoryWriter(path, TASK, replace(pack, digest="ab" * 32), {})
    writer.add(0, episodes[0])
    writer.finish().close()
    monkeypatch.setenv("DLR_LIBERO_ASSETS", str(pack.path))
    with pytest.raises(AssetError, match=r"made with other assets .*abababababab"):
        read_footage(path)
    assert read_footage(path, assets=pack.path).assets.digest == pack.digest


def write_libero(path: Path, episodes, lost: str = "") -> None:
    """A file of LIBERO's own layout, whose fixtures' poses are in the models' MJCF."""
    with h5py.File(path, "w") as file:
        for index, episode in enumerate(episodes):
            group = file.create_group(f"data/demo_{index}")
            group["states"], group["actions"] = episode.states, episode.actions
            poses = zip(
                episode.fixtures.names,
                episode.fixtures.positions,
                episode.fixtures.quaternions,
                strict=True,
            )
            bodies = "".join(
                f'<body name="{name}_main" pos="{" ".join(map(repr, position.tolist()))}" '
                f'quat="{" ".join(map(repr, quaternion.tolist()))}"/>'
                for name, position, quaternion in poses
                if name != lost
            )
            group.attrs["model_file"] = f"<mujoco><worldbody>{bodies}</worldbody></mujoco>"


def test_liberos_own_file(episodes, tmp_path: Path) -> None:
    path = tmp_path / f"{TASK.name}_demo.hdf5"
    write_libero(path, episodes)
    recording = read_footage(path, 1, assets=embedded_pack().path)
    np.testing.assert_array_equal(recording.states, episodes[1].states)
    np.testing.assert_array_equal(recording.fixtures.positions, episodes[1].fixtures.positions)
    np.testing.assert_array_equal(recording.fixtures.quaternions, episodes[1].fixtures.quaternions)
    assert recording.task == TASK
    with pytest.raises(TrajectoryError, match="numbers: name the task"):
        read_footage(path, 1, OTHER, embedded_pack().path)
    write_libero(path, episodes, lost=episodes[0].fixtures.names[0])
    with pytest.raises(TrajectoryError, match="is damaged or not what it should be"):
        read_footage(path, 0, assets=embedded_pack().path)
    write_libero(tmp_path / "mine.hdf5", episodes)
    with pytest.raises(UnknownTaskError):
        read_footage(tmp_path / "mine.hdf5", assets=embedded_pack().path)
    assert len(read_footage(tmp_path / "mine.hdf5", 0, TASK, embedded_pack().path).states) == 6


def test_a_json_demonstration_is_simulated(episodes, tmp_path: Path) -> None:
    episode = episodes[0]
    content = {
        "suite": TASK.suite,
        "task": TASK.name,
        "init_state": episode.states[0].tolist(),
        "actions": episode.actions.tolist(),
    }
    path = tmp_path / "a.json"
    path.write_text(json.dumps(content))
    recording = read_footage(path, 0, TASK, embedded_pack().path)
    assert recording.states.shape == (7, len(episode.states[0]))
    np.testing.assert_array_equal(recording.states[0], episode.states[0])
    assert np.abs(recording.states[-1] - episode.final_state).max() < 0.05
    assert "simulated" in recording.title
    path.write_text(json.dumps(content | {"actions": []}))
    with pytest.raises(TrajectoryError, match=r"actions has shape \(0,\)"):
        read_footage(path)
    path.write_text(json.dumps({"actions": []}))
    with pytest.raises(TrajectoryError, match="init_state"):
        read_footage(path)


@pytest.mark.parametrize("content", [b"", b"not HDF5 at all"])
def test_other_files_are_one_clear_error(content: bytes, tmp_path: Path) -> None:
    with pytest.raises(TrajectoryError, match="is not there"):
        read_footage(tmp_path / "a.hdf5")
    (tmp_path / "a.hdf5").write_bytes(content)
    with pytest.raises(TrajectoryError, match="neither HDF5"):
        read_footage(tmp_path / "a.hdf5")
    with h5py.File(tmp_path / "b.hdf5", "w") as file:
        file["numbers"] = np.zeros(3)
    with pytest.raises(TrajectoryError, match="neither HDF5"):
        read_footage(tmp_path / "b.hdf5")
