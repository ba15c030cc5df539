"""Where things can stand: what rests on what, what must stay free, and moves without collision."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import mujoco
import numpy as np
import numpy.typing as npt

from eval_harness.perturbations.base import WorldStart
from eval_harness.perturbations.surfaces import (
    arena_geoms,
    bounding_boxes,
    heights_at,
    robot_geoms,
)
from simulation.environment import Environment
from simulation.scene import Fixtures, Scene
from simulation.tasks import Task

_TABLES = (
    "main_table",
    "kitchen_table",
    "living_room_table",
    "study_table",
    "coffee_table",
    "floor",
)
"""How the names of the tables' regions begin."""
NEAREST, FARTHEST = 0.32, 0.8
"""Distance from the robot's base within which the hand comes down on things, m."""
_ARENA = "the room"
"""Stands for table, floor and walls among the names of things."""
_EVEN = 1e-3
"""Difference in height that is none, m."""
CLEARANCE = 0.02
"""Least distance of what was moved from everything else, seen from above, m."""


@dataclass(frozen=True)
class Group:
    """A thing that stands on the table or floor, and all that rests on it or in it."""

    root: str
    """Object or fixture that stands there."""
    members: tuple[str, ...]
    """All of them, the root first."""

    def among(self, names: Iterable[str]) -> bool:
        """Whether one of these names is a member, or a region of one."""
        return any(_is_of(name, member) for name in names for member in self.members)


def find_groups(task: Task, scene: Scene) -> tuple[Group, ...]:
    """Return what stands by itself in a task, each with all that rests on it."""
    names = [entry.name for entry in scene.objects] + list(scene.fixture_names)
    carriers: dict[str, str] = {}
    for term in task.start:
        if len(term) == 3 and term[0] in ("on", "in") and term[1] in names:
            carrier = next((n for n in names if n != term[1] and _is_of(term[2], n)), None)
            if carrier is not None and not _is_of_table(term[2]):
                carriers[term[1]] = carrier
    groups = []
    for root in names:
        if root not in carriers:
            members = [root]
            for name in members:  # grows as it is walked
                members += [n for n, on in carriers.items() if on == name]
            groups.append(Group(root, tuple(members)))
    return tuple(groups)


def goal_names(task: Task) -> tuple[str, ...]:
    """Return the objects, fixtures and regions that a task's goal is about."""
    return tuple(name for predicate in task.goal for name in predicate[1:])


def named_groups(task: Task, scene: Scene) -> list[Group]:
    """Return the groups that a task's goal is about, or a word in its instruction."""
    words = task.language
    near = [g for g in find_groups(task, scene) if g.among(goal_names(task))]
    return [g for g in find_groups(task, scene) if g in near or _is_said(g, words)]


def move_group(
    start: WorldStart, scene: Scene, group: Group, shift: npt.ArrayLike, turn: float
) -> WorldStart:
    """Return a start with a group moved on the table, and turned about its root's vertical axis.

    Args:
        start: the start.
        scene: the task's scene.
        group: what moves, as one.
        shift: m, world frame (2,).
        turn: rad, seen from above.
    """
    state, fixtures = start.state.copy(), start.fixtures
    positions, quaternions = fixtures.positions.copy(), fixtures.quaternions.copy()
    pivot = root_position(start, scene, group.root)
    rotation = np.array([np.cos(turn / 2), 0.0, 0.0, np.sin(turn / 2)])
    for name in group.members:
        if name in fixtures.names:
            i = fixtures.names.index(name)
            positions[i] = _moved(positions[i], pivot, rotation, shift)
            quaternions[i] = _turned(quaternions[i], rotation)
        else:
            at = pose_address(scene, name)
            state[at : at + 3] = _moved(state[at : at + 3], pivot, rotation, shift)
            state[at + 3 : at + 7] = _turned(state[at + 3 : at + 7], rotation)
    return replace(start, state=state, fixtures=Fixtures(fixtures.names, positions, quaternions))


def root_position(start: WorldStart, scene: Scene, name: str) -> npt.NDArray[np.float64]:
    """Return where an object or fixture is, m, world frame (3,)."""
    if name in start.fixtures.names:
        return np.array(start.fixtures.positions[start.fixtures.names.index(name)])
    at = pose_address(scene, name)
    return start.state[at : at + 3].copy()


def pose_address(scene: Scene, name: str) -> int:
    """Return where an object's position begins in a state; its quaternion follows."""
    body = next(entry.body for entry in scene.objects if entry.name == name)
    return 1 + int(scene.model.jnt_qposadr[scene.model.body_jntadr[body]])


class Ground:
    """The table or floor of one start, and what stands on it.

    Args:
        start: the start.
        env: environment to look at it in; it is left in another state.
    """

    def __init__(self, start: WorldStart, env: Environment) -> None:
        self.env = env
        scene, model = env.scene, env.model
        env.reset(env.seed, init_state=start.state, fixtures=start.fixtures)
        self.boxes = bounding_boxes(model, env.data)
        self.base = env.data.xpos[model.body("robot0_base").id][:2].copy()
        geoms = _geoms_of(scene)
        self._surfaces = self.boxes[geoms.surfaces]
        self.top = float(heights_at(self._surfaces, np.zeros((1, 2)))[0])
        """Height of the table, or of the floor where there is none, m."""
        self._others = others = geoms.others
        self.owners = [geoms.owners[geom] for geom in others]
        """The object or fixture that each of the rectangles is part of."""
        self.rectangles = self.boxes[others, :, :2].copy()
        """Least and greatest corner of what stands there, seen from above, m, (n, 2, 2)."""
        self.reserved = np.array(list(_goal_regions(env))).reshape(-1, 2, 2)
        """Regions that the goal names, likewise."""
        self.about = goal_names(env.task)
        for joint in range(model.njnt):
            name = model.joint(joint).name
            if name in scene.joint_names and any(
                name.startswith(fixture) and any(_is_of(about, fixture) for about in self.about)
                for fixture in scene.fixture_names
            ):
                self._sweep(joint)

    def _sweep(self, joint: int) -> None:
        """Widen the rectangles of what a drawer, door or knob moves by all its positions."""
        env, model = self.env, self.env.model
        address, (low, high) = int(model.jnt_qposadr[joint]), model.jnt_range[joint].tolist()
        own = float(env.data.qpos[address])
        for value in np.linspace(low, high, 4):
            env.data.qpos[address] = value
            mujoco.mj_kinematics(model, env.data)
            boxes = bounding_boxes(model, env.data)[self._others, :, :2]
            np.minimum(self.rectangles[:, 0], boxes[:, 0], out=self.rectangles[:, 0])
            np.maximum(self.rectangles[:, 1], boxes[:, 1], out=self.rectangles[:, 1])
        env.data.qpos[address] = own
        mujoco.mj_kinematics(model, env.data)

    def carries(self, points: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
        """Return whether points (m, 2) are on the table, or on the floor if there is none, (m,)."""
        return np.abs(heights_at(self._surfaces, points) - self.top) < _EVEN

    def is_free(
        self,
        centre: npt.ArrayLike,
        radius: float,
        without: Sequence[str] = (),
        gap: float = CLEARANCE,
    ) -> bool:
        """Return whether a disc can stand somewhere: on the table, in reach, and off all else.

        Args:
            centre: m, world frame (2,).
            radius: of the disc, m.
            without: objects and fixtures that do not count.
            gap: least distance from everything, m.
        """
        point = np.asarray(centre, np.float64)
        if not NEAREST <= np.linalg.norm(point - self.base) <= FARTHEST:
            return False
        rim = point + radius * np.array([[0, 0], [1, 0], [-1, 0], [0, 1], [0, -1]])
        if not self.carries(rim).all():
            return False
        taken = [r for r in (self._without(without), self.reserved) if len(r)]
        for low, high in (np.moveaxis(rectangles, 1, 0) for rectangles in taken):
            away = np.maximum(np.maximum(low - point, point - high), 0.0)
            if np.any(np.hypot(*away.T) < radius + gap):
                return False
        return True

    def _without(self, names: Sequence[str]) -> npt.NDArray[np.float64]:
        """Return the rectangles of all that is none of these, (n, 2, 2)."""
        return self.rectangles[[owner not in names for owner in self.owners]]

    def fits(
        self, names: Sequence[str], here: npt.ArrayLike, way: npt.ArrayLike, beside: Sequence[str]
    ) -> bool:
        """Return whether a group can be moved by a way: on the table, in reach, off all else.

        What does not hold where it is need not hold there either: upstream puts cabinets over the
        table's edge, and mugs where a door opens. How it is turned is left to `stands`.

        Args:
            names: the group's objects and fixtures.
            here: where its root is, m, world frame (2,).
            way: m, world frame (2,).
            beside: what moves with it, and so does not count; the group among it.
        """
        step, now = np.asarray(way), float(np.linalg.norm(np.asarray(here) - self.base))
        then = float(np.linalg.norm(np.asarray(here) + step - self.base))
        if not min(NEAREST, now) <= then <= max(FARTHEST, now):
            return False
        own = self.rectangles[[owner in names for owner in self.owners]]
        if not len(own):
            return True
        low, high = own[:, 0].min(axis=0), own[:, 1].max(axis=0)
        corners = np.array([low, high, (low[0], high[1]), (high[0], low[1])])
        if np.any(self.carries(corners) & ~self.carries(corners + step)):
            return False
        others = self._without(beside)
        if not set(names) & set(self.about):
            others = np.concatenate((others, self.reserved))
        least = np.minimum(_distances(own, others), CLEARANCE)
        return bool(np.all(_distances(own + step, others) >= least))


def stands(
    start: WorldStart,
    env: Environment,
    groups: Sequence[Sequence[str]],
    before: WorldStart | None = None,
) -> bool:
    """Return whether a start is sound: moved groups touch only the table, no goal is reached.

    Things of one group may touch each other. Where `before` is given, others may as deeply as
    they do there: upstream starts some things in touch.
    """
    touching = _touching(start, env)
    if env.success():
        return False
    group_of = {name: i for i, group in enumerate(groups) for name in group}
    foreign = [
        (pair, depth)
        for pair, depth in touching.items()
        if _ARENA not in pair and not group_of.keys().isdisjoint(pair)
        if group_of.get(pair[0], -1) != group_of.get(pair[1], -2)
    ]
    if not foreign or before is None:
        return not foreign
    allowed = _touching(before, env)
    return all(depth <= allowed.get(pair, -1.0) + _EVEN for pair, depth in foreign)


def _touching(start: WorldStart, env: Environment) -> dict[tuple[str, str], float]:
    """Return how deeply things overlap at a start, m, by their names in order; touching is 0."""
    env.reset(env.seed, init_state=start.state, fixtures=start.fixtures)
    owner = _geoms_of(env.scene).owners
    found: dict[tuple[str, str], float] = {}
    contacts = zip(env.data.contact.geom[: env.data.ncon], env.data.contact.dist, strict=False)
    for (first, second), distance in contacts:
        a, b = sorted((owner[first], owner[second]))
        found[a, b] = max(found.get((a, b), 0.0), -float(distance))
    return found


def _distances(a: npt.NDArray[np.float64], b: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return how far rectangles (n, 2, 2) are from others (m, 2, 2), m; 0 where they overlap."""
    away = np.maximum(b[None, :, 0] - a[:, None, 1], a[:, None, 0] - b[None, :, 1])
    return np.linalg.norm(np.maximum(away, 0.0), axis=-1)


@dataclass(frozen=True, eq=False)
class _Geoms:
    """Whose the geoms of a scene are."""

    owners: tuple[str, ...]
    """The object or fixture that each is part of, the room, or an empty text."""
    surfaces: npt.NDArray[np.int64]
    """Solid ones of the room."""
    others: npt.NDArray[np.int64]
    """Solid ones of neither the room nor the robot."""


@functools.lru_cache(maxsize=64)
def _geoms_of(scene: Scene) -> _Geoms:
    model, arena = scene.model, arena_geoms(scene)
    names = {entry.body: entry.name for entry in (*scene.objects, *scene.strangers)}
    names |= dict(zip(scene.fixture_bodies.tolist(), scene.fixture_names, strict=True))
    of_body = [""] * model.nbody
    for body in range(1, model.nbody):
        of_body[body] = names.get(body, of_body[model.body_parentid[body]])
    owners = [of_body[body] for body in model.geom_bodyid]
    for geom in arena:
        owners[geom] = _ARENA
    solid = np.flatnonzero(model.geom_contype | model.geom_conaffinity)
    others = np.setdiff1d(solid, np.union1d(arena, robot_geoms(model)))
    return _Geoms(tuple(owners), np.intersect1d(arena, solid), others)


def _is_of(name: str, member: str) -> bool:
    """Return whether a name is an object's or fixture's, or that of a region of it."""
    return name == member or name.startswith(f"{member}_")


def _is_of_table(region: str) -> bool:
    return region.startswith(_TABLES)


def _goal_regions(env: Environment) -> Iterator[npt.NDArray[np.float64]]:
    """Yield the least and greatest corner of regions of the table that the goal names, (2, 2)."""
    for name in goal_names(env.task):
        site = mujoco.mj_name2id(env.model, mujoco.mjtObj.mjOBJ_SITE, name)
        if site >= 0 and _is_of_table(name):
            centre, half = env.data.site_xpos[site][:2], env.model.site_size[site][:2]
            yield np.array((centre - half, centre + half))


def _is_said(group: Group, words: str) -> bool:
    """Return whether an instruction names a member of a group, or seems to."""
    return any(
        part in words.split()
        for member in group.members
        for part in member.rsplit("_", 1)[0].split("_")
        if part not in ("black", "white", "wooden", "flat", "red", "yellow", "new", "top")
    )


def _moved(
    position: npt.NDArray[np.float64],
    pivot: npt.NDArray[np.float64],
    rotation: npt.NDArray[np.float64],
    shift: npt.ArrayLike,
) -> npt.NDArray[np.float64]:
    turned = np.empty(3)
    mujoco.mju_rotVecQuat(turned, position - pivot, rotation)
    return pivot + turned + np.append(np.asarray(shift), 0.0)


def _turned(
    quaternion: npt.NDArray[np.float64], rotation: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    result = np.empty(4)
    mujoco.mju_mulQuat(result, rotation, quaternion)
    return result
