from __future__ import annotations

import numpy as np
import pytest

from simulation.environment import Environment
from simulation.errors import InvalidStateError, RenderError
from simulation.registry import get_task, import_libero
from simulation.rendering import DEFAULT_CAMERAS, Renderer

TASK = get_task("KITCHEN_SCENE5_put_the_black_bowl_on_the_plate")


@pytest.fixture(scope="module")
def env(pack):
    environment = Environment(TASK, pack)
    environment.reset(seed=0, init_index=3)
    return environment


@pytest.fixture(scope="module")
def renderer(pack):
    with Renderer(TASK, pack) as renderer:
        yield renderer


def test_both_cameras_in_any_size_up_to_the_buffers(renderer, env):
    pictures = [
        renderer.render(env.state(), env.fixtures(), camera, width=96, height=64)
        for camera in DEFAULT_CAMERAS
    ]
    for picture in pictures:
        assert picture.shape == (64, 96, 3) and picture.dtype == np.uint8
        assert picture.std() > 20
    assert np.abs(pictures[0].astype(int) - pictures[1]).mean() > 10
    with pytest.raises(RenderError, match="larger than this renderer's buffer"):
        renderer.render(env.state(), env.fixtures(), width=4096, height=4096)


def test_upright(renderer, env):
    """The bright table is below, the dark wall above; the arm stands in the middle."""
    rows = renderer.render(env.state(), env.fixtures()).mean(axis=2)
    assert rows[-64:, 64:192].mean() > 2 * rows[:64, :64].mean()


def test_a_lifted_object_moves_up_in_the_picture(renderer, env):
    low = renderer.render(env.state(), env.fixtures())
    lifted = env.state()
    address = env.model.joint("akita_black_bowl_1_joint0").qposadr[0]
    lifted[1 + address + 2] += 0.1
    changed = np.abs(renderer.render(lifted, env.fixtures()).astype(int) - low).sum(axis=2) > 60
    darker = renderer.render(lifted, env.fixtures()).mean(axis=2) < low.mean(axis=2)
    appeared, vanished = changed & darker, changed & ~darker
    assert np.nonzero(appeared)[0].mean() < np.nonzero(vanished)[0].mean()


def test_the_same_state_gives_the_same_picture(renderer, env, pack):
    state, fixtures = env.state(), env.fixtures()
    before = renderer.render(state, fixtures)
    renderer.render(TASK.init_states()[9], fixtures)
    assert np.array_equal(renderer.render(state, fixtures), before)
    with Renderer(TASK, pack) as other:
        assert np.array_equal(other.render(state, fixtures), before)


def test_upstreams_picture_is_ours_with_the_rows_in_reverse(renderer, env, pack):
    import_libero()
    from libero.libero.envs.env_wrapper import OffScreenRenderEnv

    size = 128
    upstream = OffScreenRenderEnv(
        bddl_file_name=str(TASK.bddl_file), camera_heights=size, camera_widths=size
    )
    try:
        upstream.seed(0)
        upstream.reset()
        observation = upstream.set_init_state(TASK.init_states()[3])
        for camera in DEFAULT_CAMERAS:
            ours = renderer.render(env.state(), env.fixtures(), camera, size, size)
            difference = ours[::-1].astype(int) - observation[f"{camera}_image"]
            assert np.abs(difference).mean() < 1
    finally:
        upstream.close()


def test_mistakes_are_one_clear_error(renderer, env):
    with pytest.raises(RenderError, match=r"this task has .*agentview"):
        renderer.render(env.state(), env.fixtures(), camera="front")
    with pytest.raises(InvalidStateError, match="belongs to another task"):
        renderer.render(env.state()[:-1], env.fixtures())
