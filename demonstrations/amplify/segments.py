"""Cuts a demonstration into clips: grasps, carries, and operations of drawers, doors and knobs."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from common.errors import DemonstrationError
from demonstrations.amplify.kinds import family, instance, split
from demonstrations.amplify.shapes import support_height
from demonstrations.amplify.source import Frames, Source
from simulation.environment import Environment
from simulation.touch import FINGERS

_LIFT_STEPS = 12
"""Control steps after the fingers began to close that still belong to the grasp."""
_OPENING_STEPS = 8
"""Control steps that the fingers take to open; what is shorter lets nothing go."""
_MOVED = 0.03
"""Distance by which an object has moved, m, if it was carried."""
_STIRRED = 0.004
"""Distance or angle by which an object or a joint has moved if it was touched, m or rad."""
JOINT_PREDICATES = ("open", "close", "turnon", "turnoff")
"""Predicates about a drawer, a door or a knob."""


class Deed(StrEnum):
    """What the hand does in a clip."""

    GRASP = "grasp"
    CARRY = "carry"
    OPERATE = "operate"


@dataclass(frozen=True)
class Clip:
    """Part of a demonstration that moves with one thing."""

    source: Source
    """The demonstration."""
    deed: Deed
    """What the hand does."""
    predicate: str
    """Predicate that it serves, such as `on` or `close`."""
    start: int
    """First control step."""
    end: int
    """First control step after it."""
    key: int
    """Control step at which the fingers close or open, or the joint begins to move."""
    thing: str
    """Object that is grasped or carried; region or fixture that is operated."""
    frame: str
    """Object, fixture or region that the clip moves with."""
    position: np.ndarray
    """Where that was at the start, world frame, m, (3,)."""
    rotation: np.ndarray
    """How it was turned, (3, 3)."""
    support: float = 0.0
    """Height of what carries the object where it is released, m."""
    reached: int = 0
    """Control step at which the predicate of an operation came to hold."""
    closing: float = 0.0
    """Direction along which the fingers close in a grasp, world frame, rad."""
    clean: bool = True
    """Whether the object lay still until the fingers closed on it."""

    def __len__(self) -> int:
        """Return the number of control steps."""
        return self.end - self.start


@dataclass(frozen=True)
class _Hold:
    """Control steps from closing the fingers on an object to opening them."""

    name: str
    close: int
    open: int


def cut(source: Source, env: Environment) -> tuple[Clip, ...]:
    """Return the clips of a demonstration, in their order.

    A clip ends at a release, or shortly after a grasp; what is done without holding anything is
    cut where predicates of the goal come to hold.

    Args:
        source: the demonstration.
        env: the environment that it was replayed in, whose state is overwritten.

    Raises:
        DemonstrationError: the goal is to put something somewhere, but the fingers never close
            on anything and carry it.
    """
    holds = _find_holds(source)
    goal = source.task.goal
    if any(atom[0] not in JOINT_PREDICATES for atom in goal) and not holds:
        raise DemonstrationError(
            f"a recording of {source.task.key} has no gripper event that carries an object: "
            "it cannot be cut into grasping and placing"
        )
    clips: list[Clip] = []
    at = 0
    for hold in holds:
        clips += _operations(source, env, at, hold.close)
        at = clips[-1].end if clips else 0
        lifted = min(hold.close + _LIFT_STEPS, hold.open - 1)
        clips.append(_grasp(source, env, hold, at, lifted))
        clips.append(_carry(source, env, hold, lifted))
        at = hold.open
    return (*clips, *_operations(source, env, at, len(source)))


def _at(source: Source, env: Environment, step: int) -> Frames:
    """Return the scene as it stood before an action."""
    env.set_state(source.states[step])
    return Frames(env)


def _find_holds(source: Source) -> list[_Hold]:
    """Return what was carried, up to the release after which the goal holds."""
    closed = source.gripper > 0
    edges = np.flatnonzero(np.diff(np.concatenate(([False], closed, [False])).astype(int)))
    spans: list[list[int]] = []
    for close, opened in edges.reshape(-1, 2).tolist():
        if spans and close - spans[-1][1] < _OPENING_STEPS:
            spans[-1][1] = opened
        else:
            spans.append([close, opened])
    holds = []
    for close, opened in spans:
        touches = {name: int(t[close : opened + 1].sum()) for name, t in source.touched.items()}
        name = max(touches, key=touches.__getitem__, default="")
        if not name or not touches[name]:
            continue
        path = source.objects[name][0][close : opened + 1]
        if np.linalg.norm(path - path[0], axis=1).max() > _MOVED:
            holds.append(_Hold(name, close, opened))
            if source.atoms[min(opened, len(source) - 1)].all():
                break
    return holds


def _grasp(source: Source, env: Environment, hold: _Hold, start: int, end: int) -> Clip:
    position, rotation = (poses[start] for poses in source.objects[hold.name])
    predicate = _atom_of(source, hold.name)[0]
    path = source.objects[hold.name][0][start : hold.close + 1]
    left, right = (_at(source, env, hold.close).of(finger)[0] for finger in FINGERS)
    return Clip(
        source,
        Deed.GRASP,
        predicate,
        start,
        end,
        hold.close,
        hold.name,
        hold.name,
        position,
        rotation,
        closing=float(np.arctan2(left[1] - right[1], left[0] - right[0])),
        clean=bool(np.linalg.norm(path - path[0], axis=1).max() < _STIRRED),
    )


def _carry(source: Source, env: Environment, hold: _Hold, start: int) -> Clip:
    predicate, target = _atom_of(source, hold.name)
    scene = _at(source, env, hold.open)
    body = scene.body(hold.name)
    released = source.objects[hold.name][0][hold.open]
    if not target:
        target = _nearest(source, scene, hold.name, released)
    height = support_height(scene.env, released, body, from_above=False)
    position, rotation = scene.of(target)
    return Clip(
        source,
        Deed.CARRY,
        predicate,
        start,
        hold.open,
        hold.open,
        hold.name,
        target,
        position,
        rotation,
        height,
    )


def _atom_of(source: Source, name: str) -> tuple[str, str]:
    """Return predicate and target of the goal's atom that places an object; else `in` and ''."""
    for atom in source.task.goal:
        if atom[0] not in JOINT_PREDICATES and atom[1] == name:
            return atom[0], atom[2]
    return "in", ""


def _nearest(source: Source, scene: Frames, name: str, place: np.ndarray) -> str:
    """Return the region of a fixture, else the object, that is nearest to a place."""
    env = scene.env
    sites = [env.model.site(i).name for i in range(env.model.nsite)]
    regions = [s for s in sites if s.endswith("_region") and family(split(s)[0]) != "table"]
    others = [other for other in source.objects if other != name]
    return min(regions + others, key=lambda n: float(np.linalg.norm(scene.of(n)[0] - place)))


def _operations(source: Source, env: Environment, start: int, end: int) -> list[Clip]:
    """Return what is done to joints between two steps without holding anything."""
    found: list[tuple[int, tuple[str, ...]]] = []
    for column, atom in enumerate(source.task.goal):
        if atom[0] not in JOINT_PREDICATES:
            continue
        holds = source.atoms[:, column]
        begins = np.flatnonzero(holds & ~np.concatenate(([False], holds[:-1])))
        inside = begins[(begins >= max(start, 1)) & (begins < end)]
        if len(inside):
            found.append((int(inside[-1]), atom))
    clips: list[Clip] = []
    for order, (reached, atom) in enumerate(sorted(found)):
        last = order == len(found) - 1 and end == len(source)
        stop = end if last else reached + 1
        clips.append(_operate(source, env, atom, start, stop, reached))
        start = stop
    return clips


def _operate(
    source: Source, env: Environment, atom: tuple[str, ...], start: int, end: int, reached: int
) -> Clip:
    scene = _at(source, env, start)
    frame = joint_frame(scene, atom[1])
    index = env.scene.joint_names.index(joint_name(scene, atom[1]))
    stirred = np.abs(source.joints[start:, index] - source.joints[start, index]) > _STIRRED
    key = start + int(np.argmax(stirred))
    position, rotation = joint_pose(scene, frame)
    return Clip(
        source,
        Deed.OPERATE,
        atom[0],
        start,
        end,
        key,
        atom[1],
        frame,
        position,
        rotation,
        reached=reached,
    )


def joint_name(scene: Frames, thing: str) -> str:
    """Return the joint of a drawer's region, or of a fixture with one joint.

    Raises:
        DemonstrationError: there is none.
    """
    fixture, names = instance(thing), scene.env.scene.joint_names
    level = split(thing)[1].removesuffix("_region")
    for name in names:
        if name.startswith(f"{fixture}_") and (not level or f"_{level}_" in name):
            return name
    raise DemonstrationError(f"{scene.env.task.key} has no joint of {thing!r}")


def joint_frame(scene: Frames, thing: str) -> str:
    """Return the region that slides with a drawer, or the joint of a fixture that has but one."""
    return thing if split(thing)[1] else joint_name(scene, thing)


def joint_pose(scene: Frames, frame: str) -> tuple[np.ndarray, np.ndarray]:
    """Return position (3,) of a moving part, and rotation (3, 3) of the fixture that it is of."""
    model, data = scene.env.model, scene.env.data
    if frame not in scene.env.scene.joint_names:
        return scene.of(frame)
    body = int(model.jnt_bodyid[model.joint(frame).id])
    root = int(model.body_rootid[body])
    return data.xpos[body].copy(), data.xmat[root].reshape(3, 3).copy()
