"""Boxes around the geoms of a scene: what stands where, and how high."""

from __future__ import annotations

import mujoco
import numpy as np
import numpy.typing as npt

from simulation.scene import Scene

_ROBOT = ("robot0", "gripper0", "mount0")
_EVERYWHERE = 1e3
"""Half the extent of a plane, m."""


def bounding_boxes(model: mujoco.MjModel, data: mujoco.MjData) -> npt.NDArray[np.float64]:
    """Return the least and greatest corner of each geom, m, world frame. Shape: (ngeom, 2, 3).

    Boxes along the world's axes; a plane's has its height, and goes on everywhere.
    """
    rotation = data.geom_xmat.reshape(-1, 3, 3)
    centre = data.geom_xpos + np.einsum("gij,gj->gi", rotation, model.geom_aabb[:, :3])
    half = np.einsum("gij,gj->gi", np.abs(rotation), model.geom_aabb[:, 3:])
    planes = model.geom_type == mujoco.mjtGeom.mjGEOM_PLANE
    centre[planes], half[planes] = data.geom_xpos[planes], (_EVERYWHERE, _EVERYWHERE, 0.0)
    return np.stack((centre - half, centre + half), axis=1)


def inside(
    model: mujoco.MjModel, data: mujoco.MjData, point: npt.ArrayLike, margin: float
) -> npt.NDArray[np.bool_]:
    """Return whether a point, m, world frame (3,), is within each geom's own box. (ngeom,).

    The boxes are along the geoms' axes, wider by the margin; planes have no inside.
    """
    offset = np.asarray(point) - data.geom_xpos
    local = np.einsum("gji,gj->gi", data.geom_xmat.reshape(-1, 3, 3), offset)
    within = np.abs(local - model.geom_aabb[:, :3]) < model.geom_aabb[:, 3:] + margin
    return within.all(axis=1) & (model.geom_type != mujoco.mjtGeom.mjGEOM_PLANE)


def base_height(model: mujoco.MjModel) -> float:
    """Return the height at which the robot is mounted, which is that of the table or floor, m."""
    return float(model.body("robot0_base").pos[2])


def arena_geoms(scene: Scene) -> npt.NDArray[np.int64]:
    """Return the geoms of the room and the table: what neither moves nor is a fixture."""
    model = scene.model
    owned = set(scene.fixture_bodies.tolist()) | {entry.body for entry in scene.objects}
    bodies = np.ones(model.nbody, bool)
    for body in range(1, model.nbody):
        name = model.body(body).name
        bodies[body] = (
            bodies[model.body_parentid[body]]
            and body not in owned
            and model.body_weldid[body] == 0
            and not name.startswith(_ROBOT)
        )
    return np.flatnonzero(bodies[model.geom_bodyid])


def robot_geoms(model: mujoco.MjModel) -> npt.NDArray[np.int64]:
    """Return the geoms of arm, hand and mount."""
    of_robot = [model.body(body).name.startswith(_ROBOT) for body in range(model.nbody)]
    return np.flatnonzero(np.array(of_robot)[model.geom_bodyid])


def heights_at(
    boxes: npt.NDArray[np.float64], points: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Return the top of the highest box over each point, m, (m,); -inf where there is none.

    Args:
        boxes: of `bounding_boxes`, those of the arena, (n, 2, 3).
        points: m, world frame, (m, 2).
    """
    at = points[:, None]
    over = np.all((boxes[:, 0, :2] <= at) & (at <= boxes[:, 1, :2]), axis=-1)
    return np.where(over, boxes[:, 1, 2], -np.inf).max(axis=1, initial=-np.inf)
