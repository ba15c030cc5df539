"""A scripted demonstrator: follows skills with a person's speed, tremor and imprecision."""

from __future__ import annotations

import mujoco
import numpy as np

from demonstrations.affordances import hand
from demonstrations.config import SCRIPTED, Style
from demonstrations.skills.skill import Waypoint
from demonstrations.skills.table import find_skills
from simulation.environment import Environment, axis_angle
from simulation.physics.goal import POSITION_SCALE, ROTATION_SCALE
from simulation.recordings.recorder import Recorder
from simulation.recordings.trajectories import Episode
from simulation.tasks import Task

_TREMOR_SHAPE = np.array([1.0, 1.0, 1.0, 0.3, 0.3, 0.3])
_POSITION_GAIN = 1.5
"""Share of the remaining distance that one action asks for."""
_ROTATION_GAIN = 0.8
_PATIENCE = 45
"""Control steps after which the next waypoint is tried although this one was not reached."""
_LIMITS = np.array([0.9375] * 3 + [0.375] * 3)
"""Largest actions of a person's 3-D mouse, as LIBERO recorded them."""
_GRID = _LIMITS / 350
"""Steps in which these come."""
_NOISE_MEMORY = 0.8
"""Correlation of the tremor from one control step to the next."""


class Scripted:
    """Demonstrates a task in several ways, by the skills that its goal asks for.

    Raises:
        UnknownTaskError: a predicate of the task's goal has no skill.
    """

    source = SCRIPTED

    def __init__(self, task: Task) -> None:
        self._skills = find_skills(task)
        self.ways = self._skills.ways

    def demonstrate(
        self, env: Environment, way: str, rng: np.random.Generator, style: Style
    ) -> Episode:
        """Demonstrate the task once from the environment's present state.

        The episode ends at success, or where an object is to be let go, once that is done and
        the goal still holds; at the latest when the plan or its time is over. Its actions are
        those that were applied, its intended actions those without tremor and pushes (DART,
        Laskey et al. 2017).
        """
        arm = _Arm(env, rng, style, ends=not self._skills.releases())
        most = style.max_steps * len(self._skills.steps)
        for waypoint in self._skills.plan(env, way, rng):
            arm.reach(waypoint, most)
            if len(arm.recorder) >= most or arm.done:
                break
        return arm.recorder.finish(arm.success, way=way, method=self.source)


class _Arm:
    """Moves the hand to one waypoint after the other and records what it does."""

    def __init__(
        self, env: Environment, rng: np.random.Generator, style: Style, ends: bool
    ) -> None:
        self.recorder, self.success, self._ends = Recorder(env), False, ends
        self._env, self._rng, self._style = env, rng, style
        self._speed = rng.uniform(*style.speed)
        self._upright = env.data.xmat[env.scene.eef_body].reshape(3, 3).copy()
        self._tremor = np.zeros(6)
        self._push, self._pushed = np.zeros(3), 0

    @property
    def done(self) -> bool:
        """Whether the goal holds and nothing is left to be let go."""
        return self.success and self._ends

    def reach(self, waypoint: Waypoint, most: int) -> None:
        """Move until the waypoint is reached, given up or, of `most` steps, none is left."""
        imprecision = self._rng.normal(0.0, self._style.aim, 3)
        target = waypoint.position + imprecision * (not waypoint.exact)
        orientation = _rotation(self._env, waypoint) @ self._upright
        left = waypoint.dwell
        deadline = min(len(self.recorder) + _PATIENCE + waypoint.dwell, most)
        while len(self.recorder) < deadline:
            move, distance, angle = _toward(
                self._env, target, orientation, self._speed * waypoint.speed
            )
            if distance < waypoint.tolerance and angle < waypoint.level:
                if left == 0:
                    return
                left -= 1
            self._step(move, waypoint.gripper, free=waypoint.speed >= 1 and not waypoint.dwell)
            if self.done or (waypoint.until is not None and waypoint.until()):
                return

    def _step(self, move: np.ndarray, gripper: float, free: bool) -> None:
        noise = self._rng.normal(0.0, self._style.tremor, 6) * np.sqrt(1 - _NOISE_MEMORY**2)
        self._tremor = _NOISE_MEMORY * self._tremor + noise
        applied = self._with_push(move, free) + self._tremor * _TREMOR_SHAPE
        action = np.append(_on_grid(applied), gripper)
        self.recorder.before(action, np.append(_on_grid(move), gripper))
        self.success = self._env.step(action)

    def _with_push(self, move: np.ndarray, free: bool) -> np.ndarray:
        """Return the motion (6,), its translation that of a push while there is one.

        A hand that moves with care, at a thing or with a thing at its place, is not pushed.
        """
        style = self._style
        if not free:
            self._pushed = 0
        elif style.pushes and not self._pushed and self._rng.random() < style.pushes:
            direction = self._rng.normal(size=3)
            self._push = style.push * direction / np.linalg.norm(direction)
            self._pushed = style.push_steps
        if not self._pushed:
            return move
        self._pushed -= 1
        return np.concatenate((self._push, move[3:]))


def _on_grid(motion: np.ndarray) -> np.ndarray:
    """Return the nearest motion (6,) that a person's mouse can ask for."""
    return np.round(np.clip(motion, -_LIMITS, _LIMITS) / _GRID) * _GRID


def _toward(
    env: Environment, target: np.ndarray, orientation: np.ndarray, speed: float
) -> tuple[np.ndarray, float, float]:
    """Return the action (6,) toward a pose at a limited speed, and what is left, m and rad."""
    offset = target - env.data.site_xpos[env.scene.robot.site]
    translation = offset * (_POSITION_GAIN / POSITION_SCALE)
    norm = float(np.linalg.norm(translation))
    translation *= min(1.0, speed / max(norm, 1e-9))
    error = _axis_angle(orientation @ env.data.xmat[env.scene.eef_body].reshape(3, 3).T)
    rotation = error * (_ROTATION_GAIN / ROTATION_SCALE)
    left = float(np.linalg.norm(offset)), float(np.linalg.norm(error))
    return np.concatenate((translation, rotation)), *left


def _rotation(env: Environment, waypoint: Waypoint) -> np.ndarray:
    """Return the rotation (3, 3) of a waypoint's hand from upright, world frame.

    A hand that is to be upright leans back to the robot where the arm is too short otherwise.
    """
    turn = hand.rotation(waypoint.yaw, waypoint.tilt)
    if any(waypoint.tilt):
        return turn
    x, y, _ = waypoint.position - env.data.xpos[env.model.body("robot0_link2").id]
    quaternion, matrix = np.zeros(4), np.zeros(9)
    tangent = np.array([-y, x, 0.0]) / np.hypot(x, y)
    mujoco.mju_axisAngle2Quat(quaternion, tangent, -hand.lean(env, waypoint.position))
    mujoco.mju_quat2Mat(matrix, quaternion)
    return matrix.reshape(3, 3) @ turn


def _axis_angle(matrix: np.ndarray) -> np.ndarray:
    """Return the shortest axis-angle vector, rad (3,), of a rotation matrix."""
    quaternion = np.zeros(4)
    mujoco.mju_mat2Quat(quaternion, matrix.ravel())
    return axis_angle(quaternion if quaternion[0] >= 0 else -quaternion)
