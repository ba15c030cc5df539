"""How near the arm comes to things with its hand at a pose, by inverse kinematics."""

from __future__ import annotations

from functools import lru_cache

import mujoco
import numpy as np

from demonstrations.affordances import hand
from demonstrations.affordances.geometry import obstacle_geoms, turn_between
from simulation.environment import Environment
from simulation.scene import Scene

_LINKS = tuple(f"robot0_link{i}" for i in range(3, 8))
"""Bodies that reach over the table, but the hand."""
_FAR = 0.015
"""Distance beyond which more is no better, m."""
_STEPS, _LARGEST = 40, 0.3
"""Steps of the inverse kinematics, and how far each turns a joint at most, rad."""
_DAMPING, _HOMING = 1e-4, 0.2
"""Of the inverse; and the share of what is left to the initial posture that a step goes, within the
arm's null space: the controller holds it there as well."""


def cost(env: Environment, at: np.ndarray, yaw: float) -> float:
    """Return what speaks against an upright hand at a position (3,): an arm that touches things.

    In the unit of `Grasp.cost`: 0 where forearm and wrist are free, 1.8 where they touch.
    """
    return 120.0 * (_FAR - clearance(env, at, yaw))


def clearance(env: Environment, at: np.ndarray, yaw: float) -> float:
    """Return the least distance of forearm and wrist to things, m, at most 1.5 cm; below 0 in them.

    Args:
        env: the environment, whose state is not changed.
        at: grip site, world frame, m, (3,).
        yaw: the upright hand's, from the arm's initial pose, rad.
    """
    model, data = env.model, mujoco.MjData(env.model)
    data.qpos[:] = env.data.qpos
    _reach(env.scene, model, data, at, hand.rotation(yaw))
    things = obstacle_geoms(env)
    things = things[model.geom_contype[things] > 0]
    bodies = [model.body(name).id for name in _LINKS]
    arm = np.flatnonzero(np.isin(model.geom_bodyid, bodies) & (model.geom_contype > 0))
    apart = data.geom_xpos[arm][:, None] - data.geom_xpos[things]
    gaps = np.linalg.norm(apart, axis=2) - model.geom_rbound[arm][:, None]
    near = np.argwhere(gaps - model.geom_rbound[things] < _FAR)
    found = [
        mujoco.mj_geomDistance(model, data, int(arm[i]), int(things[j]), _FAR, None)
        for i, j in near
    ]
    return min([_FAR, *found])


def _reach(
    scene: Scene, model: mujoco.MjModel, data: mujoco.MjData, at: np.ndarray, pose: np.ndarray
) -> None:
    """Move the arm's joints so that the hand comes to a pose, near the initial posture."""
    joints, dofs = scene.robot.qpos, scene.robot.qvel
    home, upright = _initial(scene)
    data.qpos[joints] = home
    target, site = pose @ upright, scene.robot.site
    jacobian = np.zeros((6, model.nv))
    for _ in range(_STEPS):
        mujoco.mj_kinematics(model, data)
        mujoco.mj_comPos(model, data)
        mujoco.mj_jacSite(model, data, jacobian[:3], jacobian[3:], site)
        part = jacobian[:, dofs]
        turn = turn_between(data.xmat[scene.eef_body].reshape(3, 3), target)
        error = np.append(at - data.site_xpos[site], turn)
        inverse = part.T @ np.linalg.inv(part @ part.T + _DAMPING * np.eye(6))
        homing = _HOMING * (home - data.qpos[joints])
        step = inverse @ error + homing - inverse @ (part @ homing)
        data.qpos[joints] += np.clip(step, -_LARGEST, _LARGEST)
    mujoco.mj_kinematics(model, data)


@lru_cache(maxsize=2)
def _initial(scene: Scene) -> tuple[np.ndarray, np.ndarray]:
    """Return the arm's initial posture, rad, (7,), and its hand's rotation (3, 3) there."""
    model = scene.new_model()
    data = mujoco.MjData(model)
    data.qpos[:] = scene.sample_placement(0).qpos
    mujoco.mj_kinematics(model, data)
    upright = data.xmat[scene.eef_body].reshape(3, 3).copy()
    return data.qpos[scene.robot.qpos].copy(), upright
