"""The robot axis: the arm starts in another posture."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import mujoco
import numpy as np
import numpy.typing as npt

from eval_harness.perturbations.base import (
    Perturbation,
    PerturbationError,
    WorldStart,
    unit_vector,
)
from eval_harness.perturbations.surfaces import bounding_boxes, robot_geoms
from simulation.environment import Environment
from simulation.tasks import Task

_TRIES = 64
_CLEARANCE = 0.03
"""Least height of the hand above everything under it, m."""


@dataclass(frozen=True)
class Robot(Perturbation):
    """Offsets the arm's seven joints, their offsets of one length, however it is shared out.

    The first action starts from the new posture. The controller's null space goes on pulling to
    the usual one, as on a robot that was switched on there.
    """

    axis: ClassVar[str] = "robot"
    neutral: ClassVar[bool] = False
    offset: float = 0.6
    """Most, length of the seven offsets together, rad."""

    def draw(self, task: Task, seed: int) -> list[npt.NDArray[np.float64]]:
        """Return an episode's offsets, rad (7,) each: the first that fits is taken."""
        rng = self.draws(task, seed)
        amount = self.amount(rng) if self.active else 0.0
        return [unit_vector(rng, 7) * (self.offset * amount) for _ in range(_TRIES)]

    def start(self, start: WorldStart, env: Environment, seed: int) -> WorldStart:
        """Return the start with the arm elsewhere.

        Raises:
            PerturbationError: none of the postures drawn is free of collisions.
        """
        if not self.active:
            return start
        for offset in self.draw(env.task, seed):
            moved = offset_arm(start, env, offset)
            if moved is not None:
                return moved
        raise PerturbationError(
            f"of {_TRIES} postures of the arm none is free in {env.task.key}: give a lower level"
        )


def offset_arm(
    start: WorldStart, env: Environment, offset: npt.NDArray[np.float64]
) -> WorldStart | None:
    """Return a start with offsets (7,) of the arm's joints, rad; None where that cannot stand.

    It must be within the joints' range, touch nothing, and leave the hand above the table.
    """
    state = start.state.copy()
    joints = 1 + env.scene.robot.qpos
    state[joints] += offset
    model, data = env.model, env.data
    names = [f"robot0_joint{i}" for i in range(1, 8)]
    ranges = np.array([model.joint(name).range for name in names])
    if np.any(state[joints] < ranges[:, 0]) or np.any(state[joints] > ranges[:, 1]):
        return None
    env.reset(env.seed, init_state=state, fixtures=start.fixtures)
    robot = robot_geoms(model)
    boxes = bounding_boxes(model, data)
    hand = boxes[[g for g in robot if _of_hand(model, int(g))]]
    below = boxes[np.setdiff1d(np.arange(model.ngeom), robot)]
    under = _overlap(below, hand[:, 0].min(axis=0), hand[:, 1].max(axis=0))
    top = below[under, 1, 2].max(initial=-np.inf)
    if touches(data, robot) or hand[:, 0, 2].min() < top + _CLEARANCE:
        return None
    return replace(start, state=state, arm_moved=True)


def touches(data: mujoco.MjData, geoms: npt.NDArray[np.int64]) -> bool:
    """Return whether one of the geoms touches one that is not among them, itself excluded."""
    pairs = np.isin(data.contact.geom[: data.ncon], geoms)
    return bool(np.any(pairs[:, 0] != pairs[:, 1])) if data.ncon else False


def _of_hand(model: mujoco.MjModel, geom: int) -> bool:
    name = model.body(int(model.geom_bodyid[geom])).name
    return name.startswith("gripper0") or name == "robot0_right_hand"


def _overlap(
    boxes: npt.NDArray[np.float64], low: npt.NDArray[np.float64], high: npt.NDArray[np.float64]
) -> npt.NDArray[np.bool_]:
    """Return which boxes lie over or under a box, seen from above."""
    return np.all((boxes[:, 0, :2] < high[:2]) & (boxes[:, 1, :2] > low[:2]), axis=1)
