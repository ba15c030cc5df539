"""All axes by name, and several of them at once as one condition of an evaluation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import mujoco

from eval_harness.perturbations.background import Background
from eval_harness.perturbations.base import (
    CONTROL,
    MOST,
    Perturbation,
    PerturbationError,
    Picture,
    WorldStart,
)
from eval_harness.perturbations.camera import Camera
from eval_harness.perturbations.language import Language
from eval_harness.perturbations.layout import Layout
from eval_harness.perturbations.light import Light
from eval_harness.perturbations.noise import Noise
from eval_harness.perturbations.objects import Objects
from eval_harness.perturbations.robot import Robot
from simulation.environment import Environment
from simulation.pictures.look import Look
from simulation.scene import Scene
from simulation.tasks import Task

AXES: dict[str, type[Perturbation]] = {
    kind.axis: kind for kind in (Camera, Light, Background, Noise, Language, Objects, Layout, Robot)
}
"""Axis -> its class, in the order in which they are applied."""
EVERY = "all"
"""Stands for each axis in turn."""

Condition = tuple[Perturbation, ...]
"""Perturbations that hold at once, each of an axis of its own, in the order of `AXES`."""


def make_condition(perturbations: Sequence[Perturbation]) -> Condition:
    """Return perturbations in order, without those of level 0.

    Raises:
        PerturbationError: two are of one axis.
    """
    axes = [one.axis for one in perturbations]
    if twice := [axis for axis in axes if axes.count(axis) > 1]:
        raise PerturbationError(f"the axis {twice[0]} cannot be asked for twice at once")
    order = list(AXES)
    active = [one for one in perturbations if one.active]
    return tuple(sorted(active, key=lambda one: order.index(one.axis)))


def parse_condition(names: str, level: int) -> Condition:
    """Return the condition of `camera`, or of `camera+light`, at one level.

    Raises:
        PerturbationError: there is no such axis or level.
    """
    unknown = [name for name in names.split("+") if name not in AXES]
    if unknown:
        raise PerturbationError(f"unknown axis {unknown[0]!r}; there are {', '.join(AXES)}")
    return make_condition([AXES[name](level) for name in names.split("+")])


def parse_axes(text: str) -> list[str]:
    """Return the axes, or sums of axes, of `camera,light+noise`, or of `all`.

    Raises:
        PerturbationError: there is no such axis.
    """
    names = list(AXES) if text == EVERY else [name.strip() for name in text.split(",")]
    ordered = (parse_condition(name, MOST) for name in names)
    return list(dict.fromkeys("+".join(one.axis for one in condition) for condition in ordered))


def parse_levels(text: str, control: bool = True) -> list[int]:
    """Return the levels of `0-5`, `3` or `0,2,4`, and 0, the control, unless that is not wanted.

    Raises:
        PerturbationError: one is out of range, or the text is of another form.
    """
    levels = {CONTROL} if control else set()
    for part in text.split(","):
        low, dash, high = part.partition("-")
        if not low.isdecimal() or (dash and not high.isdecimal()):
            raise PerturbationError(f"levels are given as 0-5, 3 or 0,2,4, not as {text!r}")
        ends = [int(end) for end in (low, high if dash else low)]
        if max(ends) > MOST:
            raise PerturbationError(f"levels are {CONTROL} (control) to {MOST}, not {max(ends)}")
        if ends[0] > ends[1]:
            raise PerturbationError(f"levels are given from low to high, not as {part.strip()}")
        levels |= set(range(ends[0], ends[1] + 1))
    return sorted(levels)


def read_condition(protocol: Mapping[str, Any]) -> Condition:
    """Return the condition of a protocol's `as_dict`, as a results folder keeps it.

    Raises:
        PerturbationError: it is of an axis, or of a version of one, that is not known here.
    """
    found = []
    for entry in protocol.get("perturbations", ()):
        settings = dict(entry)
        axis, version = settings.pop("axis"), settings.pop("version")
        if axis not in AXES or AXES[axis].version != version:
            raise PerturbationError(
                f"version {version} of the axis {axis!r} is not known here: these results were "
                "made with another version of this project"
            )
        found.append(AXES[axis](**settings))
    return make_condition(found)


def scene_of(scene: Scene, condition: Condition) -> Scene:
    """Return the scene that a condition's episodes are simulated in."""
    for one in condition:
        scene = one.scene(scene)
    return scene


def begin_otherwise(env: Environment, condition: Condition, seed: int) -> None:
    """Move an environment, which has just been reset, to where a condition's episode starts.

    Raises:
        PerturbationError: nothing fits.
    """
    movers = [one for one in condition if not one.neutral]
    if not movers:
        return
    reset_seed, index = env.seed, env.init_index
    start = WorldStart(env.state(), env.fixtures())
    for one in movers:
        start = one.start(start, env, seed)
    if start.arm_moved:
        env.resume(reset_seed, start.state, start.fixtures, ())
    else:
        env.reset(reset_seed, init_state=start.state, fixtures=start.fixtures)
    env.init_index = index


def look_of(condition: Condition, model: mujoco.MjModel, task: Task, seed: int) -> Look:
    """Return what the pictures of a condition's episode show otherwise."""
    look = Look()
    for one in condition:
        look += one.look(model, task, seed)
    return look


def picture_of(
    condition: Condition, picture: Picture, task: Task, seed: int, step: int, camera: str
) -> Picture:
    """Return a picture as a condition's camera gives it."""
    for one in condition:
        picture = one.picture(picture, task, seed, step, camera)
    return picture


def instruction_of(condition: Condition, task: Task, seed: int) -> str:
    """Return how the instruction of a condition's episode is put."""
    instruction = task.language
    for one in condition:
        instruction = one.instruction(instruction, task, seed)
    return instruction
