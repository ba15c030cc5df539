"""Follows waypoints with a person's speed, tremor and imprecision."""

from __future__ import annotations

import mujoco
import numpy as np

from demonstrations.config import Style
from demonstrations.skills.skill import Skill
from simulation.environment import Environment, axis_angle
from simulation.physics.goal import POSITION_SCALE, ROTATION_SCALE
from simulation.recordings.recorder import Recorder
from simulation.recordings.trajectories import Episode

_TREMOR_SHAPE = np.array([1.0, 1.0, 1.0, 0.3, 0.3, 0.3])
_POSITION_GAIN = 1.5
"""Share of the remaining distance that one action asks for."""
_ROTATION_GAIN = 0.8
_PATIENCE = 45
"""Control steps after which the next waypoint is tried although this one was not reached."""
_NOISE_MEMORY = 0.8
"""Correlation of the tremor from one control step to the next."""


def demonstrate(
    env: Environment,
    skill: Skill,
    way: str,
    rng: np.random.Generator,
    style: Style,
) -> Episode:
    """Demonstrate the task once from the environment's present state.

    The episode ends at success, or when the plan or `style.max_steps` is over. Its actions are
    those that were applied, noise included.
    """
    speed = rng.uniform(*style.speed)
    upright = env.data.xmat[env.scene.eef_body].reshape(3, 3).copy()
    tremor = np.zeros(6)
    recorder, success = Recorder(env), False
    for waypoint in skill.plan(env, env.task.goal, way, rng):
        target = waypoint.position + rng.normal(0.0, style.aim, 3) * (not waypoint.exact)
        orientation = _rotation_z(waypoint.yaw) @ upright
        left = waypoint.dwell
        deadline = min(len(recorder) + _PATIENCE, style.max_steps)
        while len(recorder) < deadline and not success:
            position = env.data.site_xpos[env.scene.robot.site]
            if np.linalg.norm(target - position) < waypoint.tolerance:
                if left == 0:
                    break
                left -= 1
            noise = rng.normal(0.0, style.tremor, 6) * np.sqrt(1 - _NOISE_MEMORY**2)
            tremor = _NOISE_MEMORY * tremor + noise
            move = _toward(env, target, orientation, speed * waypoint.speed)
            motion = np.clip(move + tremor * _TREMOR_SHAPE, -1.0, 1.0)
            action = np.append(motion, waypoint.gripper)
            recorder.before(action)
            success = env.step(action)
        if success:
            break
    return recorder.finish(success, way=way, method="scripted")


def _toward(
    env: Environment, target: np.ndarray, orientation: np.ndarray, speed: float
) -> np.ndarray:
    """Return the action (6,) that moves the grip site toward a pose at a limited speed."""
    translation = (target - env.data.site_xpos[env.scene.robot.site]) * (
        _POSITION_GAIN / POSITION_SCALE
    )
    norm = float(np.linalg.norm(translation))
    translation *= min(1.0, speed / max(norm, 1e-9))
    error = orientation @ env.data.xmat[env.scene.eef_body].reshape(3, 3).T
    rotation = _matrix_axis_angle(error) * (_ROTATION_GAIN / ROTATION_SCALE)
    return np.concatenate((translation, np.clip(rotation, -0.5 * speed, 0.5 * speed)))


def _rotation_z(angle: float) -> np.ndarray:
    cosine, sine = np.cos(angle), np.sin(angle)
    return np.array([[cosine, -sine, 0.0], [sine, cosine, 0.0], [0.0, 0.0, 1.0]])


def _matrix_axis_angle(matrix: np.ndarray) -> np.ndarray:
    """Return the shortest axis-angle vector, rad (3,), of a rotation matrix."""
    quaternion = np.zeros(4)
    mujoco.mju_mat2Quat(quaternion, matrix.ravel())
    return axis_angle(quaternion if quaternion[0] >= 0 else -quaternion)
