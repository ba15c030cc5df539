"""The arm's posture with its hand at a pose, and how near it comes to things there."""

from __future__ import annotations

import mujoco
import numpy as np
import pytest

from demonstrations.affordances import arm, hand
from demonstrations.affordances.geometry import bounds
from simulation.environment import Environment
from simulation.tasks import get_task

BOWL = get_task("libero_90/KITCHEN_SCENE5_put_the_black_bowl_on_the_plate")


@pytest.fixture(scope="module")
def env() -> Environment:
    env = Environment(BOWL)
    env.reset(0, 0)
    env.settle()
    return env


@pytest.mark.parametrize("yaw", [-1.2, 0.0, 0.9])
def test_the_hand_comes_to_its_pose(env: Environment, yaw: float) -> None:
    at = hand.position(env) + np.array([0.1, -0.1, -0.1])
    data = mujoco.MjData(env.model)
    data.qpos[:] = env.data.qpos
    arm._reach(env.scene, env.model, data, at, hand.rotation(yaw))
    np.testing.assert_allclose(data.site_xpos[env.scene.robot.site], at, atol=2e-3)
    home, upright = arm._initial(env.scene)
    assert np.abs(data.qpos[env.scene.robot.qpos] - home).max() < 1.7
    turned = data.xmat[env.scene.eef_body].reshape(3, 3)
    np.testing.assert_allclose(turned, hand.rotation(yaw) @ upright, atol=0.02)


def test_the_arm_is_free_over_the_table_and_not_in_a_cabinet(env: Environment) -> None:
    state = env.state()
    assert arm.cost(env, hand.position(env), 0.0) == 0.0
    low, high = bounds(env, "white_cabinet_1")
    inside = np.array([*0.5 * (low + high)[:2], low[2] + 0.04])
    assert arm.clearance(env, inside, 0.0) < 0.0
    assert arm.cost(env, inside, 0.0) > 1.8
    np.testing.assert_array_equal(env.state(), state)
