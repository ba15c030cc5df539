from __future__ import annotations

import mujoco
import numpy as np

from simulation.environment import Environment
from simulation.physics.control import ACTION_DIM, CONTROL_FREQUENCY, ControllerState, bare_steps
from simulation.tasks import get_task

TASK = get_task("KITCHEN_SCENE10_close_the_top_drawer_of_the_cabinet")


def test_one_step_takes_a_twentieth_of_a_second(pack):
    env = Environment(TASK, pack)
    before = env.data.time
    env.step(np.zeros(ACTION_DIM))
    assert np.isclose(env.data.time - before, 1.0 / CONTROL_FREQUENCY)


def test_torques_and_fingers_stay_within_their_limits(pack, actions):
    env = Environment(TASK, pack)
    env.reset(seed=0, init_index=0)
    robot = env.scene.robot
    for action in 5.0 * actions[:20]:
        env.step(action)
        torques = env.data.ctrl[robot.actuators]
        assert np.all((torques >= robot.torque_low) & (torques <= robot.torque_high))
        fingers = env.data.ctrl[robot.gripper_actuators]
        assert np.all(np.abs(fingers - robot.gripper_bias) <= robot.gripper_weight)


def test_controller_state_is_copied_not_shared():
    first, second = ControllerState.zeros(), ControllerState.zeros()
    first.mass[:] = 1.0
    second.assign(first)
    first.mass[:] = 2.0
    assert np.all(second.mass == 1.0)


def test_bare_steps_equal_mj_step(pack):
    env = Environment(TASK, pack)
    env.reset(seed=0, init_index=0)
    twin = mujoco.MjData(env.model)
    twin.qpos[:] = env.data.qpos
    twin.qacc_warmstart[:] = env.data.qacc_warmstart
    for _ in range(25):
        mujoco.mj_step(env.model, twin)
    bare_steps(env.model._address, env.data._address, 25)
    assert np.array_equal(twin.qpos, env.data.qpos)
