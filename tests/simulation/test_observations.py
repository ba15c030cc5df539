from __future__ import annotations

import numpy as np
import pytest

from simulation.environment import Environment
from simulation.observations import JOINT_DIM, PROPRIO_DIM, Observer
from simulation.pictures.rendering import DEFAULT_CAMERAS, Renderer
from simulation.tasks import get_task, import_libero

TASK = get_task("libero_goal/open_the_middle_drawer_of_the_cabinet")


def _started(pack) -> tuple[Environment, Observer]:
    env = Environment(TASK, pack)
    env.reset(seed=0, init_index=0)
    return env, Observer(env)


def test_sets_hold_what_they_are_documented_to_hold(pack):
    env, observer = _started(pack)
    assert observer.proprio().shape == (PROPRIO_DIM,)
    assert observer.joint().shape == (JOINT_DIM,)
    values = dict(zip(observer.privileged_names, observer.privileged(), strict=True))
    upstream = observer.upstream()
    for item in env.scene.objects:
        for part in ("pos", "quat"):
            letters = "xyz" if part == "pos" else "xyzw"
            for prefix in (f"{item.name}_{part}", f"{item.name}_to_robot0_eef_{part}"):
                named = [values[f"{prefix}_{letter}"] for letter in letters]
                np.testing.assert_array_equal(named, upstream[prefix])
    for name, address in zip(env.scene.joint_names, env.scene.joint_qpos, strict=True):
        assert values[f"{name}_qpos"] == env.data.qpos[address]
    for name, position in zip(env.scene.fixture_names, env.fixtures().positions, strict=True):
        assert [values[f"{name}_pos_{letter}"] for letter in "xyz"] == position.tolist()


def test_after_a_step_values_are_older_than_its_end(pack, actions):
    """With an init state the sample is the last substep but one; poses are a substep older."""
    env, observer = _started(pack)
    for action in actions[:3]:
        env.step(action)
    ends = env.data.qpos[env.scene.robot.qpos] - observer.joint()[:7]
    speed = np.abs(env.data.qvel[env.scene.robot.qvel]).max()
    assert 0.0 < np.abs(ends).max() < 3 * 0.002 * speed + 1e-4
    assert not np.array_equal(env.sample.pose_qpos, env.sample.qpos)


@pytest.mark.parametrize(("init_index", "same"), [(None, True), (4, False)])
def test_recorded_numbers_are_the_observed_ones_only_after_a_drawn_start(
    pack, actions, init_index, same
):
    """As the dataset's README says: after an init state the observed ones are 2 ms older."""
    env = Environment(TASK, pack)
    observer = Observer(env)
    env.reset(seed=2, init_index=init_index)
    env.settle()
    for action in actions[:5]:
        env.step(action)
        recorded, observed = env.proprio(), observer.proprio()
        assert np.array_equal(recorded[:3], observed[:3]) is same
        assert np.array_equal(env.joints(), observer.joint()[:7]) is same
        assert np.abs(recorded[:3] - observed[:3]).max() < 1e-3
        np.testing.assert_allclose(recorded[3:6], observed[3:6], atol=1e-14 if same else 5e-3)


def test_a_state_that_is_set_is_observed_at_once(pack, actions):
    env, observer = _started(pack)
    for action in actions[:3]:
        env.step(action)
    env.set_state(env.state())
    np.testing.assert_allclose(observer.proprio(), env.proprio(), rtol=0, atol=1e-12)
    np.testing.assert_array_equal(observer.joint()[:7], env.joints())


def test_reading_does_not_disturb_the_episode(pack, actions):
    (env, observer), (twin, _) = _started(pack), _started(pack)
    for action in actions[:10]:
        env.step(action)
        twin.step(action)
        observer.upstream()
        observer.privileged()
        assert np.array_equal(env.state(), twin.state())
    first = observer.proprio()
    assert np.array_equal(first, observer.proprio())


@pytest.mark.slow
@pytest.mark.parametrize("init_index", [4, None])
def test_pictures_after_steps_are_upstreams(real_pack, actions, init_index):
    """To the bit, which they are of the sampled state alone: the arm moves on in the meantime."""
    libero = import_libero()
    from libero.libero.envs.env_wrapper import OffScreenRenderEnv

    setattr(libero, "_assets_path_cache", str(real_pack.path))  # noqa: B010 (untyped module)
    size = (96, 128)
    theirs = OffScreenRenderEnv(
        bddl_file_name=str(TASK.bddl_file), camera_heights=size[0], camera_widths=size[1]
    )
    ours = Environment(TASK, real_pack)
    observer = Observer(ours)
    theirs.seed(2)
    expected = theirs.reset()
    if init_index is not None:
        expected = theirs.set_init_state(TASK.init_states()[init_index])
    ours.reset(seed=2, init_index=init_index)
    with Renderer(TASK, real_pack) as renderer:
        for action in actions[:4]:
            pictures = observer.pictures(renderer, ["pixels"], DEFAULT_CAMERAS, size)
            for key, picture in pictures.items():
                np.testing.assert_array_equal(picture, expected[key], err_msg=key)
            expected, *_ = theirs.step(action)
            ours.step(action)
    theirs.close()
