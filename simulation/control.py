"""One 20 Hz control step of LIBERO's operational-space controller as a compiled function.

robosuite runs its controller in Python and calls `mj_forward` twice before each of the 25
`mj_step`s of a control step. Kinematics and collisions are the same each time, so `mj_step1`,
controller, `mj_step2` does them once. The constraint solver, however, warm-starts from its last
solution, and contacts amplify even a difference of one bit to more than 1e-9 within 300 control
steps: it runs three times here as well, and the states then equal upstream's bit for bit. The
maths is robosuite's own, operation by operation, including that after a reset the first substep
still uses the robot's state from before `set_init_state`. The GIL is released, so threads step
several environments at once.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import NamedTuple

import llvmlite.binding
import mujoco
import numba
import numpy as np
from numba import types

from simulation.opspace import Workspace, multiply_vector, opspace_matrices
from simulation.quiet import quiet_robosuite
from simulation.sampling import Sample, after_substep, before_substep

with quiet_robosuite():
    from robosuite.utils.transform_utils import quat2mat

CONTROL_FREQUENCY = 20
"""Control steps per second of simulated time."""
ACTION_DIM = 7
"""Translation (3), rotation as axis-angle (3), gripper (1), each in [-1, 1]."""
POSITION_SCALE = 0.05
"""Metres of end-effector translation for an action of 1."""
ROTATION_SCALE = 0.5
"""Radians of end-effector rotation for an action of 1."""
_KP = 150.0
_KD = 2.0 * math.sqrt(_KP)
_NULLSPACE_KP = 10.0
_NULLSPACE_KD = 2.0 * math.sqrt(_NULLSPACE_KP)
_GRIPPER_SPEED = 0.01
_STAGE_VELOCITY = int(mujoco.mjtStage.mjSTAGE_VEL)

_LIBRARY = next(Path(mujoco.__file__).parent.glob("libmujoco.so*"))
llvmlite.binding.load_library_permanently(str(_LIBRARY))
_pair = types.void(types.uintp, types.uintp)
_mj_step1 = types.ExternalFunction("mj_step1", _pair)
_mj_step2 = types.ExternalFunction("mj_step2", _pair)
_mj_step = types.ExternalFunction("mj_step", _pair)
_mj_forward_skip = types.ExternalFunction(
    "mj_forwardSkip", types.void(types.uintp, types.uintp, types.intc, types.intc)
)
_mj_fwd_constraint = types.ExternalFunction("mj_fwdConstraint", _pair)
_mj_jac_site = types.ExternalFunction(
    "mj_jacSite", types.void(types.uintp, types.uintp, types.uintp, types.uintp, types.intc)
)
_mj_full_m = types.ExternalFunction("mj_fullM", types.void(types.uintp, types.uintp, types.uintp))


class RobotIndex(NamedTuple):
    """Where the robot's quantities lie in the model's arrays."""

    site: int
    """Site id of the grip site, whose pose the controller drives."""
    qpos: np.ndarray
    """Indices of the arm's joint angles in qpos, int64 (7,)."""
    qvel: np.ndarray
    """Indices of the arm's joint velocities in qvel, int64 (7,)."""
    actuators: np.ndarray
    """Indices of the arm's torques in ctrl, int64 (7,)."""
    gripper_actuators: np.ndarray
    """Indices of the fingers' positions in ctrl, int64 (2,)."""
    torque_low: np.ndarray
    """Least torque per joint, N m, (7,)."""
    torque_high: np.ndarray
    """Greatest torque per joint, N m, (7,)."""
    gripper_bias: np.ndarray
    """Middle of the fingers' control range, m, (2,)."""
    gripper_weight: np.ndarray
    """Half the fingers' control range, m, (2,)."""
    substeps: int
    """Simulator steps per control step."""


class ControllerState(NamedTuple):
    """What robosuite's controller and gripper remember between control steps."""

    stale: np.ndarray
    """1 where the next substep must use the remembered robot state, int64 (1,)."""
    goal_position: np.ndarray
    """World frame, m, (3,)."""
    goal_orientation: np.ndarray
    """Rotation matrix in the world frame, (3, 3)."""
    gripper: np.ndarray
    """Ramped finger command in [-1, 1], (2,)."""
    initial_joint: np.ndarray
    """Joint angles at reset, to which the null-space motion returns, rad, (7,)."""
    position: np.ndarray
    """Grip site position, m, (3,)."""
    orientation: np.ndarray
    """Grip site rotation matrix, (3, 3)."""
    velocity: np.ndarray
    """Grip site linear then angular velocity, (6,)."""
    joint_position: np.ndarray
    """Arm joint angles, rad, (7,)."""
    joint_velocity: np.ndarray
    """Arm joint velocities, rad/s, (7,)."""
    jacobian: np.ndarray
    """Grip site Jacobian, translation then rotation, (6, 7)."""
    mass: np.ndarray
    """Arm mass matrix, (7, 7)."""

    @staticmethod
    def zeros() -> ControllerState:
        """Return a state of the right shapes, all zero."""
        return ControllerState(
            np.zeros(1, np.int64),
            np.zeros(3),
            np.zeros((3, 3)),
            np.zeros(2),
            np.zeros(7),
            np.zeros(3),
            np.zeros((3, 3)),
            np.zeros(6),
            np.zeros(7),
            np.zeros(7),
            np.zeros((6, 7), order="F"),
            np.zeros((7, 7), order="F"),
        )

    def assign(self, other: ControllerState) -> None:
        """Copy every array of `other` into this state's own memory."""
        for mine, theirs in zip(self, other, strict=True):
            mine[...] = theirs


class SimulatorView(NamedTuple):
    """Addresses and array views of one `MjModel` and `MjData`, and scratch memory."""

    model: int
    data: int
    qpos: np.ndarray
    qvel: np.ndarray
    ctrl: np.ndarray
    site_xpos: np.ndarray
    site_xmat: np.ndarray
    qfrc_bias: np.ndarray
    qM: np.ndarray
    jacp: np.ndarray
    jacr: np.ndarray
    full_mass: np.ndarray
    vectors: np.ndarray
    """Scratch rows of 7 numbers: force and torque, wrench, torques, null-space torques."""
    opspace: Workspace
    sample: Sample

    @staticmethod
    def of(model: mujoco.MjModel, data: mujoco.MjData) -> SimulatorView:
        """Return the view; it is valid as long as `model` and `data` live."""
        return SimulatorView(
            model._address,
            data._address,
            data.qpos,
            data.qvel,
            data.ctrl,
            data.site_xpos,
            data.site_xmat,
            data.qfrc_bias,
            data.qM,
            np.zeros((3, model.nv)),
            np.zeros((3, model.nv)),
            np.zeros((model.nv, model.nv)),
            np.zeros((5, 7)),
            Workspace.zeros(),
            Sample.zeros(model.nq, model.nv),
        )


@numba.njit(nogil=True, cache=True)
def _refresh(sim, robot, state):  # type: ignore[no-untyped-def]
    """Read the robot's state as robosuite's `Controller.update` does."""
    state.position[:] = sim.site_xpos[robot.site]
    state.orientation[:] = sim.site_xmat[robot.site].reshape(3, 3)
    _mj_jac_site(sim.model, sim.data, sim.jacp.ctypes.data, sim.jacr.ctypes.data, robot.site)
    np.dot(sim.jacp, sim.qvel, state.velocity[:3])
    np.dot(sim.jacr, sim.qvel, state.velocity[3:])
    _mj_full_m(sim.model, sim.full_mass.ctypes.data, sim.qM.ctypes.data)
    for i in range(7):
        state.joint_position[i] = sim.qpos[robot.qpos[i]]
        state.joint_velocity[i] = sim.qvel[robot.qvel[i]]
        for j in range(3):
            state.jacobian[j, i] = sim.jacp[j, robot.qvel[i]]
            state.jacobian[3 + j, i] = sim.jacr[j, robot.qvel[i]]
        for j in range(7):
            state.mass[i, j] = sim.full_mass[robot.qvel[i], robot.qvel[j]]


@numba.njit(nogil=True, cache=True)
def _set_goal(state, action):  # type: ignore[no-untyped-def]
    """Set the goal pose from a delta action (OSC_POSE, delta mode)."""
    rotation = np.minimum(np.maximum(action[3:6], -1.0), 1.0) * ROTATION_SCALE
    if rotation[0] != 0.0 or rotation[1] != 0.0 or rotation[2] != 0.0:
        angle = np.sqrt(np.dot(rotation, rotation))
        quaternion = np.zeros(4)
        quaternion[3] = np.cos(angle / 2.0)
        quaternion[:3] = rotation / angle * np.sin(angle / 2.0)
        state.goal_orientation[:] = np.dot(quat2mat(quaternion), state.orientation)
    translation = np.minimum(np.maximum(action[:3], -1.0), 1.0) * POSITION_SCALE
    state.goal_position[:] = state.position + translation


@numba.njit(nogil=True, cache=True)
def _desired_wrench(state, wrench):  # type: ignore[no-untyped-def]
    """Write desired force (3) and torque (3), before decoupling, to `wrench`."""
    desired, current = state.goal_orientation, state.orientation
    for i in range(3):
        j, k = (i + 1) % 3, (i + 2) % 3
        error = 0.0
        for axis in range(3):
            error += current[j, axis] * desired[k, axis] - current[k, axis] * desired[j, axis]
        offset = state.goal_position[i] - state.position[i]
        wrench[i] = offset * _KP + -state.velocity[i] * _KD
        wrench[3 + i] = 0.5 * error * _KP + -state.velocity[3 + i] * _KD


@numba.njit(nogil=True, cache=True)
def _torques(sim, robot, state):  # type: ignore[no-untyped-def]
    """Return the arm's joint torques, N m (7,), before clipping, in scratch memory."""
    space, vectors = sim.opspace, sim.vectors
    desired, wrench, torques, pose, null = vectors
    opspace_matrices(space, state.mass, state.jacobian)
    _desired_wrench(state, desired)
    multiply_vector(
        "N", 3, 3, space.position_inertia.ctypes.data, desired.ctypes.data, wrench.ctypes.data
    )
    multiply_vector(
        "N", 3, 3, space.orientation_inertia.ctypes.data,
        desired[3:].ctypes.data, wrench[3:].ctypes.data,
    )  # fmt: skip
    multiply_vector("T", 6, 7, state.jacobian.ctypes.data, wrench.ctypes.data, torques.ctypes.data)
    for i in range(7):
        offset = state.initial_joint[i] - state.joint_position[i]
        pose[i] = _NULLSPACE_KP * offset - _NULLSPACE_KD * state.joint_velocity[i]
    multiply_vector("N", 7, 7, state.mass.ctypes.data, pose.ctypes.data, desired.ctypes.data)
    multiply_vector("N", 7, 7, space.nullspace.ctypes.data, desired.ctypes.data, null.ctypes.data)
    for i in range(7):
        torques[i] = (torques[i] + sim.qfrc_bias[robot.qvel[i]]) + null[i]
    return torques


@numba.njit(nogil=True, cache=True)
def control_step(sim, robot, state, action):  # type: ignore[no-untyped-def]
    """Advance one control step (25 substeps of 2 ms) under `action`, float64 (7,).

    `sim` is a `SimulatorView`, `robot` a `RobotIndex`, `state` a `ControllerState`; `state` and
    the simulator's memory are changed in place.
    """
    direction = np.sign(action[6])
    for substep in range(robot.substeps):
        before_substep(sim.sample, sim.qpos)
        _mj_step1(sim.model, sim.data)
        _mj_forward_skip(sim.model, sim.data, _STAGE_VELOCITY, 1)
        if state.stale[0] == 0:
            _mj_fwd_constraint(sim.model, sim.data)
            _refresh(sim, robot, state)
        state.stale[0] = 0
        if substep == 0:
            _set_goal(state, action)
        torques = _torques(sim, robot, state)
        for i in range(7):
            clipped = min(max(torques[i], robot.torque_low[i]), robot.torque_high[i])
            sim.ctrl[robot.actuators[i]] = clipped
        for i in range(2):
            sign = -1.0 if i == 0 else 1.0
            ramped = state.gripper[i] + sign * _GRIPPER_SPEED * direction
            state.gripper[i] = min(max(ramped, -1.0), 1.0)
            sim.ctrl[robot.gripper_actuators[i]] = (
                robot.gripper_bias[i] + robot.gripper_weight[i] * state.gripper[i]
            )
        _mj_step2(sim.model, sim.data)
        after_substep(sim.sample, sim.qpos, sim.qvel)


@numba.njit(nogil=True, cache=True)
def bare_steps(model, data, count):  # type: ignore[no-untyped-def]
    """Call `mj_step` `count` times: the physical limit that benchmarks compare with."""
    for _ in range(count):
        _mj_step(model, data)


@numba.njit(nogil=True, cache=True)
def bare_passes(model, data, count):  # type: ignore[no-untyped-def]
    """Do all that `control_step` asks of the simulator `count` times, without the controller."""
    for _ in range(count):
        _mj_step1(model, data)
        _mj_forward_skip(model, data, _STAGE_VELOCITY, 1)
        _mj_fwd_constraint(model, data)
        _mj_step2(model, data)
