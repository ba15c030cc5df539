"""Sizes of a task's things and heights of what carries them, read from the compiled model."""

from __future__ import annotations

from dataclasses import dataclass

import mujoco
import numpy as np

from simulation.environment import Environment

_RAY_START = 0.30
"""Height above a place from which the search for what carries it begins, m."""
_SKIN = 1e-4


@dataclass(frozen=True)
class Box:
    """Smallest box along a body's own axes that holds all that can touch; body frame, m."""

    low: np.ndarray
    """Least corner, (3,)."""
    high: np.ndarray
    """Greatest corner, (3,)."""

    @property
    def center(self) -> np.ndarray:
        """Middle, body frame, m, (3,)."""
        return 0.5 * (self.low + self.high)

    @property
    def half(self) -> np.ndarray:
        """Half sizes, m, (3,)."""
        return 0.5 * (self.high - self.low)

    def center_at(self, position: np.ndarray, rotation: np.ndarray) -> np.ndarray:
        """Return the middle in the world where the body has a pose, m, (3,)."""
        return position + rotation @ self.center

    def half_height(self, rotation: np.ndarray) -> float:
        """Return half the vertical size where the body is turned so, m."""
        return float(np.abs(rotation[2]) @ self.half)

    def widths(self, rotation: np.ndarray) -> tuple[float, float, float]:
        """Return the narrow and the wide horizontal size, m, and the narrow one's direction, rad.

        The body's two axes that lie flattest are taken for horizontal.
        """
        flat = np.argsort(np.abs(rotation[2]))[:2]
        narrow, wide = sorted(flat, key=lambda axis: float(self.half[axis]))
        direction = float(np.arctan2(rotation[1, narrow], rotation[0, narrow]))
        return 2 * float(self.half[narrow]), 2 * float(self.half[wide]), direction


def box_of(env: Environment, body: int) -> Box:
    """Return the box of a body and what hangs on it."""
    model, data = env.model, env.data
    points = [
        _vertices(env, geom) for geom in range(model.ngeom) if _hangs_on(model, geom, body)
    ] or [data.xpos[body][None]]
    local = (np.concatenate(points) - data.xpos[body]) @ data.xmat[body].reshape(3, 3)
    return Box(local.min(axis=0), local.max(axis=0))


def _hangs_on(model: mujoco.MjModel, geom: int, body: int) -> bool:
    link = int(model.geom_bodyid[geom])
    while link not in (0, body):
        link = int(model.body_parentid[link])
    return link == body


def _vertices(env: Environment, geom: int) -> np.ndarray:
    """Return points in the world, m (n, 3), whose hull holds a geom."""
    model, data = env.model, env.data
    if model.geom_type[geom] == mujoco.mjtGeom.mjGEOM_MESH:
        mesh = int(model.geom_dataid[geom])
        first = int(model.mesh_vertadr[mesh])
        local = model.mesh_vert[first : first + int(model.mesh_vertnum[mesh])]
    else:
        middle, half = model.geom_aabb[geom][:3], model.geom_aabb[geom][3:]
        local = middle + half * (2 * np.array(list(np.ndindex(2, 2, 2))) - 1)
    return local @ data.geom_xmat[geom].reshape(3, 3).T + data.geom_xpos[geom]


def support_height(env: Environment, place: np.ndarray, without: int, from_above: bool) -> float:
    """Return the height of what would carry an object at a place, m.

    Args:
        env: the environment in its present state.
        place: where, world frame, m, (3,).
        without: root body of the object, which does not carry itself; neither does the robot.
        from_above: whether to look down from above the place instead of from the place itself.
    """
    model, data, geom = env.model, env.data, np.zeros(1, np.int32)
    robot = int(model.body_rootid[env.scene.eef_body])
    point = place + np.array([0.0, 0.0, _RAY_START * from_above])
    down = np.array([0.0, 0.0, -1.0])
    while (distance := mujoco.mj_ray(model, data, point, down, None, 1, -1, geom)) >= 0:
        point = point + (distance + _SKIN) * down
        owner = int(model.body_rootid[model.geom_bodyid[geom[0]]])
        if owner not in (robot, without):
            return float(point[2] + _SKIN)
    return float(place[2])
