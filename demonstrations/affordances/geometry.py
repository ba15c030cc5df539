"""Sizes, surfaces and free space of a scene, read from the model: no constants per task."""

from __future__ import annotations

import itertools
from collections.abc import Collection
from dataclasses import dataclass

import mujoco
import numpy as np

from simulation.environment import Environment

_CORNERS = np.array(list(itertools.product((-1.0, 1.0), repeat=3)))
_ROBOT = ("robot", "gripper", "mount")
_GROUND = ("world", "table", "floor")
"""Roots that everything stands on."""


@dataclass(frozen=True)
class Region:
    """A box-shaped site of a goal, such as a drawer's inside."""

    position: np.ndarray
    """World frame, m, (3,)."""
    rotation: np.ndarray
    """Its axes as columns, world frame, (3, 3)."""
    half_size: np.ndarray
    """Along its own axes, m, (3,)."""

    @property
    def extent(self) -> np.ndarray:
        """Half of the sides of the axis-aligned box around it, world frame, m, (3,)."""
        return np.abs(self.rotation) @ self.half_size


def region(env: Environment, name: str) -> Region | None:
    """Return the site of this name, or None where the name is an object's or a fixture's."""
    index = mujoco.mj_name2id(env.model, mujoco.mjtObj.mjOBJ_SITE, name)
    if index < 0:
        return None
    return Region(
        env.data.site_xpos[index].copy(),
        env.data.site_xmat[index].reshape(3, 3).copy(),
        env.model.site_size[index].copy(),
    )


def parent(env: Environment, name: str) -> str:
    """Return the object or fixture that a region, or the thing itself, belongs to; else empty."""
    things = [*(item.name for item in env.scene.objects), *env.scene.fixture_names]
    found = [thing for thing in things if name == thing or name.startswith(f"{thing}_")]
    return max(found, key=len, default="")


def pose(env: Environment, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Return position (3,), m, and rotation (3, 3) of an object or fixture, world frame."""
    body = env.model.body(f"{name}_main").id
    return env.data.xpos[body].copy(), env.data.xmat[body].reshape(3, 3).copy()


def turn_between(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Return the rotation (3,), rad, world frame, from one orientation (3, 3) to another."""
    quaternion, turn = np.zeros(4), np.zeros(3)
    mujoco.mju_mat2Quat(quaternion, (after @ before.T).ravel())
    mujoco.mju_quat2Vel(turn, quaternion, 1.0)
    return turn


def geoms(env: Environment, name: str) -> np.ndarray:
    """Return the ids of an object's or fixture's geoms, those of its doors and drawers included.

    `name` is an instance, such as `plate_1`, or a body, such as `white_cabinet_1_cabinet_top`.
    """
    model = env.model
    body = mujoco.mj_name2id(model, mujoco.mjtObj.mjOBJ_BODY, f"{name}_main")
    body = body if body >= 0 else int(model.body(name).id)
    below = {body}
    for child in range(body + 1, model.nbody):
        if int(model.body_parentid[child]) in below:
            below.add(child)
    return np.flatnonzero(np.isin(model.geom_bodyid, list(below)))


def corners(env: Environment, ids: np.ndarray) -> np.ndarray:
    """Return the corners of the boxes around geoms, world frame, m, (G, 8, 3)."""
    box = env.model.geom_aabb[ids]
    local = box[:, None, :3] + _CORNERS * box[:, None, 3:]
    turned = np.einsum("gij,gkj->gki", env.data.geom_xmat[ids].reshape(-1, 3, 3), local)
    return turned + env.data.geom_xpos[ids][:, None]


def bounds(env: Environment, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the lower and upper corner of the box around a thing, world frame, m, (3,) each."""
    points = corners(env, geoms(env, name)).reshape(-1, 3)
    return points.min(0), points.max(0)


def band(env: Environment, name: str, low: float, high: float) -> np.ndarray:
    """Return the corners (N, 3) of those boxes of a thing that reach between two heights, m."""
    points = corners(env, geoms(env, name))
    inside = (points[..., 2].max(1) > low) & (points[..., 2].min(1) < high)
    return points[inside].reshape(-1, 3)


def width(points: np.ndarray, angle: float) -> float:
    """Return the extent of points along a horizontal direction, m."""
    along = points[:, :2] @ (np.cos(angle), np.sin(angle))
    return float(np.ptp(along))


def surface_height(env: Environment, name: str, at: np.ndarray, radius: float = 0.03) -> float:
    """Return the height of a thing's highest box within `radius` of a point `at`, m."""
    points = corners(env, geoms(env, name))
    low, high = points[..., :2].min(1), points[..., :2].max(1)
    near = ((low - radius < at[:2]) & (at[:2] < high + radius)).all(1)
    tops = points[near][..., 2].max(1) if near.any() else points[..., 2].min()
    return float(np.max(tops))


def obstacle_geoms(env: Environment, ignore: Collection[str] = ()) -> np.ndarray:
    """Return the ids of all geoms but the robot's, the ground's and those of `ignore`."""
    model = env.model
    own = np.concatenate([geoms(env, name) for name in ignore]) if ignore else np.empty(0, int)
    names = [model.body(int(body)).name for body in range(model.nbody)]
    skipped = [i for i, n in enumerate(names) if n.startswith(_ROBOT) or n in _GROUND]
    ids = np.flatnonzero(~np.isin(model.geom_bodyid, skipped))
    return ids[~np.isin(ids, own)]


def clearance(env: Environment, points: np.ndarray, ids: np.ndarray) -> float:
    """Return the least distance of points (N, 3) to the boxes around geoms, m; 0 within one."""
    if not len(ids):
        return np.inf
    frames = env.data.geom_xmat[ids].reshape(-1, 3, 3)
    local = (points - env.data.geom_xpos[ids][:, None]) @ frames
    box = env.model.geom_aabb[ids][:, None]
    outside = np.maximum(np.abs(local - box[..., :3]) - box[..., 3:], 0.0)
    return float(np.linalg.norm(outside, axis=2).min())


def corridor_height(
    env: Environment, start: np.ndarray, end: np.ndarray, ids: np.ndarray, radius: float
) -> float:
    """Return the top of the highest geom within `radius` of the way from `start` to `end`, m.

    Minus infinity where there is none.
    """
    points = corners(env, ids)
    if not len(points):
        return -np.inf
    low, high = points[..., :2].min(1), points[..., :2].max(1)
    shares = np.linspace(0.0, 1.0, 12)[:, None, None]
    way = start[:2] + shares * (end[:2] - start[:2])
    gap = np.maximum(np.maximum(low - way, way - high), 0.0)
    near = (np.linalg.norm(gap, axis=2) < radius).any(0)
    return float(points[near][..., 2].max()) if near.any() else -np.inf
