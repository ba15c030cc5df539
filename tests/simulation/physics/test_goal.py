from __future__ import annotations

import numba
import numpy as np
from robosuite.utils.transform_utils import quat2mat

from simulation.physics.control import ControllerState
from simulation.physics.goal import GOAL_SCRATCH, set_goal
from simulation.physics.lanes import pointers


@numba.njit(cache=True)
def _set_goal(state, action, scratch):
    set_goal(pointers(state), pointers(action), pointers(scratch))


@numba.njit(cache=True)
def _rotated(action, orientation):
    """Return the goal's orientation in robosuite's own array expressions."""
    rotation = np.minimum(np.maximum(action[3:6], -1.0), 1.0) * 0.5
    angle = np.sqrt(np.dot(rotation, rotation))
    quaternion = np.zeros(4)
    quaternion[3] = np.cos(angle / 2.0)
    quaternion[:3] = rotation / angle * np.sin(angle / 2.0)
    return np.dot(quat2mat(quaternion), orientation)


def test_every_bit_equals_robosuites():
    rng, scratch = np.random.default_rng(0), np.zeros(GOAL_SCRATCH)
    state = ControllerState.zeros()
    for _ in range(2000):
        action = rng.normal(size=7) * 10.0 ** rng.uniform(-9.0, 0.5)
        action[rng.random(7) < 0.1] = 0.0
        action[3] = action[3] or 1e-3
        state.position[:] = rng.normal(size=3)
        state.orientation[:] = np.linalg.qr(rng.normal(size=(3, 3)))[0]
        _set_goal(state, action, scratch)
        assert np.array_equal(state.goal_orientation, _rotated(action, state.orientation))
        translation = np.clip(action[:3], -1.0, 1.0) * 0.05
        assert np.array_equal(state.goal_position, state.position + translation)


def test_without_a_rotation_the_goals_orientation_stays():
    state = ControllerState.zeros()
    state.goal_orientation[:] = np.eye(3)
    _set_goal(state, np.array([1.0, 2.0, -0.5, 0.0, 0.0, 0.0, 1.0]), np.zeros(GOAL_SCRATCH))
    assert np.array_equal(state.goal_orientation, np.eye(3))
    assert np.array_equal(state.goal_position, [0.05, 0.05, -0.025])
