"""One 20 Hz control step of LIBERO's operational-space controller as a compiled function.

robosuite runs its controller in Python and calls `mj_forward` twice before each of the 25
`mj_step`s of a control step. Kinematics and collisions are the same each time and are done once.
The constraint solver, however, warm-starts from its last solution, and contacts amplify even a
difference of one bit to more than 1e-9 within 300 control steps: it runs three times here as well
(`simulation.physics.solver`, which finds the same bits faster), and the states then equal
upstream's bit for bit. The maths is robosuite's own, operation by operation, including that after
a reset the first substep still uses the robot's state from before `set_init_state`. The GIL is
released, so threads step several environments at once.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import NamedTuple

import mujoco
import numba
import numpy as np
from numba import types
from numba.experimental import structref

from common.errors import SettingError
from simulation.physics.compilation import announce, cache_by_sources
from simulation.physics.factor import NO, YES, compiled
from simulation.physics.goal import set_goal
from simulation.physics.lanes import address_of, offset, pointers
from simulation.physics.opspace import (
    MOST_DOFS,
    NORMAL,
    SEVEN,
    SIX,
    THREE,
    TRANSPOSED,
    Workspace,
    fill_workspace,
    multiply_vector,
)
from simulation.physics.problem import ContactProblem
from simulation.physics.sampling import Sample, after_substep, before_substep
from simulation.physics.solver import constrain, prepare

CONTROL_FREQUENCY = 20
"""Control steps per second of simulated time."""
GRIPPER_SPEED = 0.01
"""By which the fingers' command changes in a substep of 2 ms, as robosuite ramps it."""
ACTION_DIM = 7
"""Translation (3), rotation as axis-angle (3), gripper (1), each in [-1, 1]."""
_KP = 150.0
_KD = 2.0 * math.sqrt(_KP)
_NULLSPACE_KP = 10.0
_NULLSPACE_KD = 2.0 * math.sqrt(_NULLSPACE_KP)
_STAGE_VELOCITY = int(mujoco.mjtStage.mjSTAGE_VEL)

_FALLING_BALL = "<mujoco><worldbody><body><freejoint/><geom size='1'/></body></worldbody></mujoco>"

_pair = types.void(types.uintp, types.uintp)
_mj_step1 = types.ExternalFunction("mj_step1", _pair)
_mj_step2 = types.ExternalFunction("mj_step2", _pair)
_mj_step = types.ExternalFunction("mj_step", _pair)
_mj_forward_skip = types.ExternalFunction(
    "mj_forwardSkip", types.void(types.uintp, types.uintp, types.intc, types.intc)
)
_mj_fwd_constraint = types.ExternalFunction("mj_fwdConstraint", _pair)
_mj_fwd_actuation = types.ExternalFunction("mj_fwdActuation", _pair)
_mj_fwd_acceleration = types.ExternalFunction("mj_fwdAcceleration", _pair)
_mj_check_acc = types.ExternalFunction("mj_checkAcc", _pair)
_mj_euler = types.ExternalFunction("mj_Euler", _pair)
_mj_jac_site = types.ExternalFunction(
    "mj_jacSite", types.void(types.uintp, types.uintp, types.uintp, types.uintp, types.intc)
)


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
    ramp: float
    """By which a substep changes the fingers' command, as robosuite ramps it."""

    @staticmethod
    def none() -> RobotIndex:
        """Return the index of no robot, of the right types."""
        indices, numbers = np.zeros(0, np.int64), np.zeros(0)
        return RobotIndex(
            0, indices, indices, indices, indices, numbers, numbers, numbers, numbers, 0, 0.0
        )


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
    vectors: np.ndarray
    """Scratch rows of 7 numbers: force and torque, wrench, torques, null-space torques."""
    opspace: Workspace
    sample: Sample
    problem: ContactProblem

    @staticmethod
    def of(model: mujoco.MjModel, data: mujoco.MjData) -> SimulatorView:
        """Return the view; it is valid as long as `model` and `data` live.

        Raises:
            SettingError: the scene is too large for the compiled functions.
        """
        if model.nv > MOST_DOFS:
            raise SettingError(
                f"a scene has at most {MOST_DOFS} degrees of freedom, not {model.nv}"
            )
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
            np.zeros((5, 7)),
            Workspace.zeros(),
            Sample.zeros(model.nq, model.nv),
            ContactProblem.of(model, data),
        )


@compiled
def _refresh(sim, robot, state):  # type: ignore[no-untyped-def]
    """Read the robot's state as robosuite's `Controller.update` does."""
    for i in range(3):
        state.position[i] = sim.site_xpos[3 * robot.site + i]
    for i in range(9):
        state.orientation[i] = sim.site_xmat[9 * robot.site + i]
    jacp, jacr = address_of(sim.jacp), address_of(sim.jacr)
    _mj_jac_site(sim.model, sim.data, jacp, jacr, robot.site)
    qvel, velocity, nv = address_of(sim.qvel), address_of(state.velocity), sim.problem.nv
    multiply_vector(TRANSPOSED, nv, THREE, jacp, qvel, velocity)
    multiply_vector(TRANSPOSED, nv, THREE, jacr, qvel, velocity + 3 * 8)
    for i in range(7):
        dof = robot.qvel[i]
        state.joint_position[i] = sim.qpos[robot.qpos[i]]
        state.joint_velocity[i] = sim.qvel[dof]
        for j in range(3):
            state.jacobian[6 * i + j] = sim.jacp[j * nv + dof]
            state.jacobian[6 * i + 3 + j] = sim.jacr[j * nv + dof]
        _read_mass(sim, robot, state, i)


@compiled
def _read_mass(sim, robot, state, joint):  # type: ignore[no-untyped-def]
    """Read the mass matrix's entries between an arm joint and those before it in the chain."""
    dof, other = robot.qvel[joint], joint
    at = sim.problem.dof_address[dof]
    while other >= 0:
        if dof == robot.qvel[other]:
            state.mass[7 * joint + other] = sim.problem.mass[at]
            state.mass[7 * other + joint] = sim.problem.mass[at]
            other -= 1
        dof = sim.problem.dof_parent[dof]
        at += 1


@compiled
def _desired_wrench(state, wrench):  # type: ignore[no-untyped-def]
    """Write desired force (3) and torque (3), before decoupling, to `wrench`."""
    desired, current = state.goal_orientation, state.orientation
    for i in range(3):
        j, k = 3 * ((i + 1) % 3), 3 * ((i + 2) % 3)
        error = 0.0
        for axis in range(3):
            error += current[j + axis] * desired[k + axis] - current[k + axis] * desired[j + axis]
        distance = state.goal_position[i] - state.position[i]
        wrench[i] = distance * _KP + -state.velocity[i] * _KD
        wrench[3 + i] = 0.5 * error * _KP + -state.velocity[3 + i] * _KD


@compiled
def _torques(sim, robot, state):  # type: ignore[no-untyped-def]
    """Return the arm's joint torques, N m (7,), before clipping, in scratch memory."""
    space = sim.opspace
    desired, wrench, torques = sim.vectors, offset(sim.vectors, 7), offset(sim.vectors, 14)
    pose, null = offset(sim.vectors, 21), offset(sim.vectors, 28)
    fill_workspace(space, state.mass, state.jacobian)
    _desired_wrench(state, desired)
    a, b, c = address_of(desired), address_of(wrench), address_of(torques)
    multiply_vector(NORMAL, THREE, THREE, address_of(space.position_inertia), a, b)
    multiply_vector(
        NORMAL, THREE, THREE, address_of(space.orientation_inertia), a + 3 * 8, b + 3 * 8
    )
    multiply_vector(TRANSPOSED, SIX, SEVEN, address_of(state.jacobian), b, c)
    for i in range(7):
        distance = state.initial_joint[i] - state.joint_position[i]
        pose[i] = _NULLSPACE_KP * distance - _NULLSPACE_KD * state.joint_velocity[i]
    multiply_vector(NORMAL, SEVEN, SEVEN, address_of(state.mass), address_of(pose), a)
    multiply_vector(NORMAL, SEVEN, SEVEN, address_of(space.nullspace), a, address_of(null))
    for i in range(7):
        torques[i] = (torques[i] + sim.qfrc_bias[robot.qvel[i]]) + null[i]
    return torques


@compiled
def _apply(sim, robot, state, torques, direction):  # type: ignore[no-untyped-def]
    """Write clipped torques and the fingers' ramped positions to ctrl."""
    for i in range(7):
        clipped = min(max(torques[i], robot.torque_low[i]), robot.torque_high[i])
        sim.ctrl[robot.actuators[i]] = clipped
    for i in range(2):
        sign = -1.0 if i == 0 else 1.0
        ramped = state.gripper[i] + sign * robot.ramp * direction
        state.gripper[i] = min(max(ramped, -1.0), 1.0)
        sim.ctrl[robot.gripper_actuators[i]] = (
            robot.gripper_bias[i] + robot.gripper_weight[i] * state.gripper[i]
        )


@structref.register
class _ControlLoopType(types.StructRef):
    """Numba's type of `ControlLoop`."""


class ControlLoop(structref.StructRefProxy):
    """All that `control_step` works on, handed to it as one pointer.

    Handed over one by one, its hundred arrays would take half as long as a substep.
    """

    def __new__(cls, sim: SimulatorView, robot: RobotIndex, state: ControllerState) -> ControlLoop:
        """Return a loop that changes `state` and the simulator's memory in place."""
        loop: ControlLoop = _make_loop(sim, robot, state)
        return loop


structref.define_proxy(ControlLoop, _ControlLoopType, ["sim", "robot", "state"])


@numba.njit(cache=True)
def _make_loop(sim, robot, state):  # type: ignore[no-untyped-def]
    return ControlLoop(sim, robot, state)


@numba.njit(nogil=True, cache=True)
def control_step(loop, action):  # type: ignore[no-untyped-def]
    """Advance a `ControlLoop` by one step (25 substeps of 2 ms) under `action`, float64 (7,)."""
    sim, robot, state = pointers(loop.sim), pointers(loop.robot), pointers(loop.state)
    model, data, problem, sample = sim.model, sim.data, sim.problem, sim.sample
    direction = np.sign(action[6])
    for substep in range(robot.substeps):
        before_substep(sample, sim.qpos, problem.nq)
        _mj_step1(model, data)
        _mj_fwd_actuation(model, data)
        _mj_fwd_acceleration(model, data)
        prepare(problem)
        constrain(problem, NO, NO)
        if state.stale[0] == 0:
            constrain(problem, YES, NO)
            _refresh(sim, robot, state)
        state.stale[0] = 0
        if substep == 0:
            set_goal(state, pointers(action), sim.vectors)
        _apply(sim, robot, state, _torques(sim, robot, state), direction)
        _mj_fwd_actuation(model, data)
        _mj_fwd_acceleration(model, data)
        constrain(problem, NO, YES)
        _mj_check_acc(model, data)
        _mj_euler(model, data)
        after_substep(sample, sim.qpos, problem.nq, sim.qvel, problem.nv)


cache_by_sources(Path(__file__).parent)
announce(control_step, "the simulator's control loop", 15)


def compile_control_step() -> None:
    """Compile `control_step`, or read it from numba's cache, without a scene to step."""
    model = mujoco.MjModel.from_xml_string(_FALLING_BALL)
    view = SimulatorView.of(model, mujoco.MjData(model))
    loop = ControlLoop(view, RobotIndex.none(), ControllerState.zeros())
    control_step.compile((numba.typeof(loop), numba.typeof(np.zeros(ACTION_DIM))))


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
