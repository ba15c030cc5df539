from __future__ import annotations

import copy
from concurrent.futures import ThreadPoolExecutor

import mujoco
import numpy as np
import pytest

from common.errors import InvalidStateError
from simulation.scene import Placement, Scene, load_scene
from simulation.tasks import get_task

TASK = get_task("KITCHEN_SCENE5_put_the_black_bowl_on_the_plate")


@pytest.fixture(scope="module")
def scene(pack):
    return load_scene(TASK, pack)


def test_a_scene_is_built_once(scene, pack):
    assert load_scene(TASK, pack) is scene


def test_states_of_the_reduced_model_equal_the_full_models_bit_for_bit(scene):
    rng = np.random.default_rng(0)
    ctrl = rng.uniform(-5.0, 5.0, (500, scene.model.nu))
    trajectories = []
    for model in (scene.model, copy.copy(scene.visual_model)):
        model.body_pos[:] = scene.visual_model.body_pos
        model.body_quat[:] = scene.visual_model.body_quat
        data = mujoco.MjData(model)
        data.qpos[:] = scene.sample_placement(1).qpos
        states = []
        for row in ctrl:
            data.ctrl[:] = row
            mujoco.mj_step(model, data)
            states.append(np.concatenate((data.qpos, data.qvel)))
        trajectories.append(states)
    np.testing.assert_array_equal(trajectories[0], trajectories[1])
    assert scene.model.ngeom < scene.visual_model.ngeom
    assert scene.model.ntex == scene.model.nmat == 0


def test_mujoco_keeps_no_source_of_it(pack, tmp_path):
    """Which is half of the memory that a scene of LIBERO's own assets would take."""
    loaded = Scene(TASK, pack)
    with pytest.raises(mujoco.FatalError, match="XML"):
        mujoco.mj_saveLastXML(str(tmp_path / "a.xml"), loaded.model)


def test_placements_depend_on_the_seed_alone(scene):
    first = scene._sample_placement(5)
    scene._sample_placement(6)
    again = scene._sample_placement(5)
    assert np.array_equal(first.qpos, again.qpos)
    assert np.array_equal(first.fixtures.positions, again.fixtures.positions)
    other = scene._sample_placement(6)
    assert not np.array_equal(first.qpos, other.qpos)
    assert not np.array_equal(first.fixtures.positions, other.fixtures.positions)


def test_scenes_that_sample_at_once_do_not_mix_their_draws(scene, pack):
    scenes = [scene, load_scene(get_task("libero_goal/turn_on_the_stove"), pack)]

    def sample(one: Scene) -> list[Placement]:
        return [one._sample_placement(seed) for seed in range(20, 40)]

    alone = [sample(one) for one in scenes]
    with ThreadPoolExecutor(2) as threads:
        together = list(threads.map(sample, scenes))
    for first, second in zip(alone, together, strict=True):
        for one, other in zip(first, second, strict=True):
            assert np.array_equal(one.qpos, other.qpos)
            assert np.array_equal(one.fixtures.positions, other.fixtures.positions)


def test_sampling_leaves_the_global_generator_alone(scene):
    before = np.random.get_state(legacy=False)  # noqa: NPY002
    scene._sample_placement(11)
    after = np.random.get_state(legacy=False)  # noqa: NPY002
    np.testing.assert_equal(after, before)


def test_every_environment_has_its_own_model(scene):
    first, second = scene.new_model(), scene.new_model()
    first.body_pos[:] += 1.0
    assert not np.array_equal(first.body_pos, second.body_pos)
    assert np.array_equal(second.body_pos, scene.model.body_pos)


@pytest.mark.parametrize("state", [np.zeros(3), np.zeros((1, 1)), np.array(0.0)])
def test_a_state_of_another_size_is_one_clear_error(scene, state):
    with pytest.raises(InvalidStateError, match=f"{scene.state_size} numbers"):
        scene.check_state(state)


@pytest.mark.parametrize("state", ["x", [[1.0], 2.0], None])
def test_a_state_that_is_no_numbers_is_one_clear_error(scene, state):
    with pytest.raises(InvalidStateError, match="array of real numbers"):
        scene.check_state(state)


def test_a_state_with_nan_is_one_clear_error(scene):
    with pytest.raises(InvalidStateError, match="NaN"):
        scene.check_state(np.full(scene.state_size, np.nan))


@pytest.mark.parametrize("part", ["time", "qpos", "qvel"])
@pytest.mark.parametrize("number", [1.1e10, -1e300])
def test_a_state_that_mujoco_would_replace_is_one_clear_error(scene, part, number):
    state = np.zeros(scene.state_size)
    state[{"time": 0, "qpos": 1, "qvel": -1}[part]] = number
    with pytest.raises(InvalidStateError, match="up to 1e"):
        scene.check_state(state)
    state[:] = 1e10
    assert scene.check_state(state) is state
