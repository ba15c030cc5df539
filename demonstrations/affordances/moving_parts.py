"""Drawers, doors and knobs as the model has them: the joint, how it moves, where to hold it."""

from __future__ import annotations

from dataclasses import dataclass

import mujoco
import numpy as np

from common.errors import UnknownTaskError
from demonstrations.affordances.geometry import corners, geoms, parent
from simulation.environment import Environment


@dataclass(frozen=True)
class MovingPart:
    """A drawer, a door or a knob."""

    joint: int
    """Id of its joint."""
    body: int
    """Id of the body that the joint moves."""

    def value(self, env: Environment) -> float:
        """Return the joint's position, m or rad."""
        return float(env.data.qpos[env.model.jnt_qposadr[self.joint]])

    def limits(self, env: Environment) -> tuple[float, float]:
        """Return the joint's limits, the one nearer to zero (closed, off) first, m or rad."""
        first, second = sorted(env.model.jnt_range[self.joint], key=abs)
        return float(first), float(second)

    def axis(self, env: Environment) -> np.ndarray:
        """Return the axis along or about which it opens, world frame, (3,)."""
        return env.data.xaxis[self.joint] * np.sign(self.limits(env)[1])

    def anchor(self, env: Environment) -> np.ndarray:
        """Return a point of the joint's axis, world frame, m, (3,)."""
        return env.data.xanchor[self.joint].copy()

    def swung(self, env: Environment, point: np.ndarray, by: float) -> np.ndarray:
        """Return where a point (3,) that moves with it goes when its vertical joint turns, rad."""
        angle = by * env.data.xaxis[self.joint][2]
        cosine, sine = np.cos(angle), np.sin(angle)
        x, y, z = point - self.anchor(env)
        return self.anchor(env) + np.array([cosine * x - sine * y, sine * x + cosine * y, z])

    def boxes(self, env: Environment) -> np.ndarray:
        """Return the corners of the boxes of its colliding geoms, world frame, m, (G, 8, 3)."""
        ids = geoms(env, env.model.body(self.body).name)
        solid = (env.model.geom_contype[ids] | env.model.geom_conaffinity[ids]) > 0
        return corners(env, ids[solid])


def moving_part(env: Environment, name: str) -> MovingPart:
    """Return the drawer that a region lies in, or an object's or fixture's door or knob.

    Raises:
        UnknownTaskError: nothing of this name moves.
    """
    model = env.model
    site = mujoco.mj_name2id(model, mujoco.mjtObj.mjOBJ_SITE, name)
    if site >= 0:
        bodies = [int(model.site_bodyid[site])]
    else:
        ids = geoms(env, parent(env, name))
        bodies = sorted({int(body) for body in model.geom_bodyid[ids]})
    for body in bodies:
        joint = int(model.body_jntadr[body])
        if joint >= 0 and model.jnt_type[joint] != mujoco.mjtJoint.mjJNT_FREE:
            return MovingPart(joint, body)
    raise UnknownTaskError(f"{name!r} has no joint that opens, closes or turns it")


def holds(env: Environment, atom: tuple[str, ...]) -> bool:
    """Return whether a predicate of the task's goal holds."""
    return env.scene.atoms[env.task.goal.index(atom)](env.model, env.data)


@dataclass(frozen=True)
class Handle:
    """A drawer's bar in front of its front, held by two posts."""

    outward: np.ndarray
    """Direction in which the drawer opens, (3,), horizontal."""
    side: np.ndarray
    """Horizontal direction along the front, (3,)."""
    front: float
    """Coordinate of the front's surface along `outward`, m."""
    inner: float
    """Of the bar's inner face, m."""
    outer: float
    """Of its outer face, m."""
    gap: tuple[float, float]
    """Ends of the opening between the posts along `side`, m."""
    height: tuple[float, float]
    """Of the bar's lower and upper face, m."""

    def point(self, outward: float, side: float, height: float) -> np.ndarray:
        """Return a point from its coordinates, world frame, m, (3,)."""
        return outward * self.outward + side * self.side + np.array([0.0, 0.0, height])


def drawer_handle(env: Environment, drawer: MovingPart) -> Handle:
    """Return a drawer's handle as it stands."""
    outward = drawer.axis(env)
    side = np.array([-outward[1], outward[0], 0.0])
    boxes = drawer.boxes(env)
    along, across = boxes @ outward, boxes @ side
    bar = int(along.max(1).argmax())
    front = int(np.where(np.ptp(across, axis=1) > 0.9 * np.ptp(across), along.max(1), -9).argmax())
    middle = 0.5 * (across[bar].min() + across[bar].max())
    posts = [
        index
        for index in range(len(boxes))
        if index != bar and along[index].max() > along[front].max() + 0.005
    ]
    low = max((across[i].max() for i in posts if across[i].mean() < middle), default=middle)
    high = min((across[i].min() for i in posts if across[i].mean() > middle), default=middle)
    return Handle(
        outward,
        side,
        float(along[front].max()),
        float(along[bar].min()),
        float(along[bar].max()),
        (float(low), float(high)),
        (float(boxes[bar][:, 2].min()), float(boxes[bar][:, 2].max())),
    )
