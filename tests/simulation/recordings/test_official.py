"""LIBERO's published files: read as they are; what is not such a file is one clear error."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import h5py
import mujoco
import numpy as np
import pytest

from common.errors import TrajectoryError
from simulation.assets.resolve import embedded_pack
from simulation.environment import Environment
from simulation.recordings.episode import Episode
from simulation.recordings.official import check_whole
from simulation.recordings.recordings import fixtures_from_mjcf, open_recordings
from simulation.tasks import get_task
from tests.demonstrations.conftest import drawer, successes  # noqa: F401 (fixtures)
from tests.demonstrations.official_files import LEFT_OUT, environment_settings, write_official

OTHER = "KITCHEN_SCENE10_put_the_black_bowl_in_the_top_drawer_of_the_cabinet"


def test_each_demonstration_has_a_start_and_fixtures_of_its_own(
    drawer: Environment,  # noqa: F811
    successes: list[Episode],  # noqa: F811
    tmp_path: Path,
) -> None:
    path = write_official(tmp_path, drawer, successes, pixels=128)
    check_whole(path, drawer.task)
    with open_recordings(path, assets=embedded_pack()) as file:
        assert file.task == drawer.task
        found = list(file)
    assert len({recording.info.seed for recording in found}) == 2
    first, second = (recording.fixtures for recording in found)
    assert first is not None and second is not None
    assert np.abs(first.positions - second.positions).max() > 1e-3
    for recording, episode in zip(found, successes, strict=True):
        np.testing.assert_array_equal(recording.init_state, episode.states[LEFT_OUT])
        np.testing.assert_array_equal(recording.states, episode.states[LEFT_OUT:])
        np.testing.assert_array_equal(recording.actions, episode.actions[LEFT_OUT:])
        assert recording.fixtures is not None
        np.testing.assert_array_equal(recording.fixtures.positions, episode.fixtures.positions)


def test_poses_are_read_from_mjcf_as_mujoco_saves_it(
    drawer: Environment,  # noqa: F811
    successes: list[Episode],  # noqa: F811
    tmp_path: Path,
) -> None:
    model = mujoco.MjModel.from_xml_string(drawer.scene._upstream.model.get_xml())
    for episode in successes:
        model.body_pos[drawer.scene.fixture_bodies] = episode.fixtures.positions
        model.body_quat[drawer.scene.fixture_bodies] = episode.fixtures.quaternions
        mujoco.mj_saveLastXML(str(tmp_path / "saved.xml"), model)
        saved = fixtures_from_mjcf((tmp_path / "saved.xml").read_text(), drawer.scene)
        assert saved.names == episode.fixtures.names
        np.testing.assert_allclose(saved.positions, episode.fixtures.positions, atol=1e-6)
        np.testing.assert_allclose(saved.quaternions, episode.fixtures.quaternions, atol=1e-6)


def told(language: str) -> str:
    return json.dumps({"language_instruction": language})


@pytest.mark.parametrize(
    "attributes",
    [
        {"bddl_file_name": "chiliocosm/bddl_files/libero_100/close_the_top_layer.bddl"},
        {"bddl_file_name": "old_name.bddl", "problem_info": told("close the top layer")},
        {"bddl_file_name": "old_name.bddl", "problem_info": told("turn on the stove")},
        {"bddl_file_name": "old_name.bddl", "problem_info": told(" Close the  Top drawer of it")},
    ],
)
def test_names_that_libero_no_longer_has_are_no_fault(
    attributes: dict[str, Any],
    drawer: Environment,  # noqa: F811
    successes: list[Episode],  # noqa: F811
    tmp_path: Path,
) -> None:
    check_whole(write_official(tmp_path, drawer, successes, attributes), drawer.task)


FOREIGN = [
    ({"bddl_file_name": f"libero/{OTHER}.bddl"}, f"is of libero_90/{OTHER} by what it says"),
    (
        {
            "bddl_file_name": "old_name.bddl",
            "problem_info": told("put the black bowl in the top drawer of the cabinet"),
        },
        f"is of libero_90/{OTHER} by what it says",
    ),
    ({"env_args": environment_settings(robots=["Sawyer"])}, r"with the robot \['Sawyer'\]"),
    (
        {"env_args": environment_settings(controller_configs={"type": "JOINT_POSITION"})},
        "with the controller JOINT_POSITION",
    ),
    ({"env_args": environment_settings(control_freq=10)}, "with a control frequency of 10 Hz"),
    ({"env_args": "{"}, "it is no JSON"),
    ({"env_args": "[]"}, "its env_args is no JSON object"),
    ({"num_demos": 50}, "it holds 2 demonstrations, not 50"),
]


@pytest.mark.parametrize(("attributes", "words"), FOREIGN)
def test_a_file_of_another_task_or_robot_is_refused(
    attributes: dict[str, Any],
    words: str,
    drawer: Environment,  # noqa: F811
    successes: list[Episode],  # noqa: F811
    tmp_path: Path,
) -> None:
    path = write_official(tmp_path, drawer, successes, attributes)
    for read in (
        lambda: check_whole(path, drawer.task),
        lambda: open_recordings(path, None, embedded_pack()),
    ):
        with pytest.raises(TrajectoryError, match=words) as caught:
            read()
        assert "\n" not in str(caught.value) and str(path) in str(caught.value)


def without(name: str) -> Any:
    def change(data: h5py.Group) -> None:
        del data["demo_1"][name]

    return change


def six_actions(data: h5py.Group) -> None:
    del data["demo_1/actions"]
    data["demo_1/actions"] = np.zeros((len(data["demo_1/states"]), 6))


def fewer_states(data: h5py.Group) -> None:
    states = data["demo_1/states"][:-1]
    del data["demo_1/states"]
    data["demo_1/states"] = states


def no_model(data: h5py.Group) -> None:
    del data["demo_1"].attrs["model_file"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (without("states"), "demo_1: .*states"),
        (without("actions"), "demo_1: .*actions"),
        (six_actions, r"actions has shape .* not \(T, 7\)"),
        (fewer_states, "states and .* actions"),
        (no_model, "demo_1 has no model_file"),
    ],
)
def test_a_file_that_lacks_something_is_refused(
    change: Any,
    words: str,
    drawer: Environment,  # noqa: F811
    successes: list[Episode],  # noqa: F811
    tmp_path: Path,
) -> None:
    path = write_official(tmp_path, drawer, successes)
    with h5py.File(path, "r+") as file:
        change(file["data"])
    with pytest.raises(TrajectoryError, match=words) as caught:
        check_whole(path, drawer.task)
    assert "\n" not in str(caught.value) and "dlr demos download" in str(caught.value)
    with pytest.raises(TrajectoryError), open_recordings(path, None, embedded_pack()) as file:
        list(file)


def test_a_truncated_file_is_refused(
    drawer: Environment,  # noqa: F811
    successes: list[Episode],  # noqa: F811
    tmp_path: Path,
) -> None:
    path = write_official(tmp_path, drawer, successes)
    content = path.read_bytes()
    for size in (0, 100, len(content) // 2, len(content) - 8):
        path.write_bytes(content[:size])
        with pytest.raises(TrajectoryError, match="is damaged or not what it should be"):
            check_whole(path, drawer.task)
    with pytest.raises(TrajectoryError, match="is not there"):
        check_whole(tmp_path / "x", get_task(OTHER))
