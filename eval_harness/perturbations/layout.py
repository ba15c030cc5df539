"""The layout axis: other things on the table, and those that the task does not name elsewhere."""

from __future__ import annotations

import functools
import hashlib
from dataclasses import dataclass, replace
from typing import ClassVar

import mujoco
import numpy as np
import numpy.typing as npt

from eval_harness.perturbations.base import Perturbation, PerturbationError, WorldStart
from eval_harness.perturbations.placing import (
    CLEARANCE,
    FARTHEST,
    NEAREST,
    Ground,
    find_groups,
    move_group,
    named_groups,
    root_position,
    stands,
)
from eval_harness.perturbations.surfaces import bounding_boxes
from simulation.crowd import UPRIGHT, CrowdedScene, Stranger, crowd
from simulation.environment import Environment
from simulation.scene import Scene
from simulation.tasks import Task

_TRIES = 300
_HEIGHT = 0.001
"""At which an object is put above the table, m."""


@dataclass(frozen=True)
class Distractor:
    """Where one further object stands."""

    x: float
    """m, world frame."""
    y: float
    """m, world frame."""
    turn: float = 0.0
    """About the vertical, rad."""

    def place(self, start: WorldStart, env: Environment, stranger: Stranger) -> WorldStart:
        """Return the start with the object there.

        Raises:
            PerturbationError: it would be off the table, or collide.
        """
        low, radius = _reach(env.scene, stranger)
        ground = Ground(start, env)
        where = f"{stranger.kind} at ({self.x:.2f}, {self.y:.2f}) m"
        if not ground.carries(np.array([[self.x, self.y]])).all():
            raise PerturbationError(f"{where} would stand off the table of {env.task.key}")
        if not ground.is_free((self.x, self.y), radius, (stranger.name,), 0.0):
            raise PerturbationError(f"{where} would collide, or be out of reach: move it")
        placed = self._put(start, env, stranger, ground.top - low)
        if not stands(placed, env, [[stranger.name]]):
            raise PerturbationError(f"{where} would collide with something: move it")
        return placed

    def _put(
        self, start: WorldStart, env: Environment, stranger: Stranger, height: float
    ) -> WorldStart:
        state, at = start.state.copy(), 1 + stranger.address
        quaternion = np.empty(4)
        turn = np.array([np.cos(self.turn / 2), 0.0, 0.0, np.sin(self.turn / 2)])
        mujoco.mju_mulQuat(quaternion, turn, np.array(stranger.upright))
        state[at : at + 7] = (self.x, self.y, height + _HEIGHT, *quaternion)
        return replace(start, state=state)


@dataclass(frozen=True)
class Layout(Perturbation):
    """Adds objects that the task does not name, and moves those there are.

    There are as many as the level, or as there is room for, which is one at least. Which kinds
    depends on task and level, where they stand on the seed. What the goal or the instruction
    names stays where it is; so do fixtures, and what finds no other free place. The way of the
    drawers and doors, and the regions, that the goal names stay free.
    """

    axis: ClassVar[str] = "layout"
    neutral: ClassVar[bool] = False
    shift: float = 0.15
    """Most that an object is moved, m."""
    gap: float = 0.08
    """Distance of further objects from all else that is kept at level 0, m; at 5, or where there
    is no more room, it is 2 cm."""

    def kinds(self, task: Task) -> tuple[str, ...]:
        """Return the kinds of further objects; none that the task has."""
        about = " ".join(word for term in task.start for word in term) + " ".join(
            name for predicate in task.goal for name in predicate
        )
        words = f"{self.axis}\0{self.version}\0{task.key}\0{self.level}"
        rng = np.random.default_rng(list(hashlib.sha256(words.encode()).digest()))
        free = [kind for kind in UPRIGHT if kind not in about]
        return tuple(rng.permutation(free)[: self.level].tolist())

    def scene(self, scene: Scene) -> Scene:
        """Return the scene with the further objects; it is compiled once a task and level."""
        return crowd(scene, self.kinds(scene.task)) if self.active else scene

    def start(self, start: WorldStart, env: Environment, seed: int) -> WorldStart:
        """Return the start with objects elsewhere, and further ones among them.

        Raises:
            PerturbationError: the table has no room.
        """
        if not self.active:
            return start
        assert isinstance(env.scene, CrowdedScene), "the environment is of another condition"
        rng = self.draws(env.task, seed)
        amount = self.amount(rng)
        start = self._displace(start, env, rng, amount)
        added = 0
        for stranger in env.scene.strangers:
            placed = self._add(start, env, stranger, rng)
            added += placed is not None
            start = placed or start
        if not added:
            raise PerturbationError(
                f"the table of {env.task.key} has no room for a further object: leave this task "
                f"out, or the axis {self.axis}"
            )
        return start

    def _displace(
        self, start: WorldStart, env: Environment, rng: np.random.Generator, amount: float
    ) -> WorldStart:
        scene, named = env.scene, named_groups(env.task, env.scene)
        for group in find_groups(env.task, scene):
            if group in named or group.root in scene.fixture_names:
                continue
            ground, here = Ground(start, env), root_position(start, scene, group.root)[:2]
            for angle in rng.uniform(0, 2 * np.pi, 24):
                way = self.shift * amount * np.array([np.cos(angle), np.sin(angle)])
                if ground.fits(group.members, here, way, group.members):
                    turn = float(rng.uniform(-np.pi, np.pi) * amount)
                    moved = move_group(start, scene, group, way, turn)
                    if stands(moved, env, [group.members], start):
                        start = moved
                        break
        return start

    def _add(
        self, start: WorldStart, env: Environment, stranger: Stranger, rng: np.random.Generator
    ) -> WorldStart | None:
        """Return the start with a further object; None where the table has no room for it."""
        ground, (low, radius) = Ground(start, env), _reach(env.scene, stranger)
        gap = max(CLEARANCE, self.gap - self.level * (self.gap - CLEARANCE) / 5)
        spots = _spots(ground.base, rng)
        for spot, least in [(s, g) for g in (gap, CLEARANCE) for s in spots]:
            if not ground.is_free(spot, radius, (stranger.name,), least):
                continue
            turn = float(rng.uniform(-np.pi, np.pi))
            place = Distractor(float(spot[0]), float(spot[1]), turn)
            placed = place._put(start, env, stranger, ground.top - low)
            if stands(placed, env, [[stranger.name]]):
                return placed
        return None


def _spots(base: npt.NDArray[np.float64], rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """Draw places within the arm's reach, uniform over the area, m, world frame (n, 2)."""
    distance = np.sqrt(rng.uniform(NEAREST**2, FARTHEST**2, _TRIES))
    angle = rng.uniform(-1.2, 1.2, _TRIES)
    return base + distance[:, None] * np.stack((np.cos(angle), np.sin(angle)), axis=1)


@functools.lru_cache(maxsize=64)
def _reach(scene: Scene, stranger: Stranger) -> tuple[float, float]:
    """Return how far an upright object reaches below its origin (negative) and around it, m."""
    model, data = scene.model, mujoco.MjData(scene.model)
    data.qpos[stranger.address : stranger.address + 7] = (0, 0, 0, *stranger.upright)
    mujoco.mj_kinematics(model, data)
    geoms = np.flatnonzero(model.body_rootid[model.geom_bodyid] == stranger.body)
    boxes = bounding_boxes(model, data)[geoms]
    radius = float(np.abs(boxes[:, :, :2]).max())
    return float(boxes[:, 0, 2].min()), radius
