"""Makes many demonstrations of a task from one or a few: the amplifier and its ways."""

from __future__ import annotations

import numpy as np

from demonstrations.amplify.aim import (
    AimedClip,
    Motion,
    carry_motion,
    grasp_motion,
    held_in,
    operate_motion,
)
from demonstrations.amplify.follow import Follower
from demonstrations.amplify.plan import Course, Step, draw
from demonstrations.amplify.segments import Deed
from demonstrations.amplify.source import Frames
from demonstrations.config import Style
from simulation.environment import Environment
from simulation.recordings.trajectories import Episode
from simulation.tasks import Task

BOWS: dict[str, np.ndarray] = {
    "direct": np.array([0.0, 0.0, 0.0]),
    "high": np.array([0.0, 0.0, 0.10]),
    "left": np.array([0.0, 0.10, 0.0]),
    "right": np.array([0.0, -0.10, 0.0]),
}
"""Way -> how far the hand goes round in the middle of its path, world frame, m."""
_NOISE = 0.05
"""Standard deviation of the noise on actions."""


class Amplifier:
    """Demonstrates a task as recorded demonstrations did, at any start.

    Args:
        task: the task.
        courses: one or several ways to reach its goal by clips of demonstrations.
        ways: names of ways, of `BOWS`.
    """

    source = "amplified"

    def __init__(
        self, task: Task, courses: tuple[Course, ...], ways: tuple[str, ...] = tuple(BOWS)
    ) -> None:
        self.task, self.courses, self.ways = task, courses, ways

    def demonstrate(
        self, env: Environment, way: str, rng: np.random.Generator, style: Style
    ) -> Episode:
        """Demonstrate the task once from the environment's present state.

        The episode goes on after the goal first holds, through release and retreat, and is a
        success if the goal holds at its end.
        """
        course = draw(self.courses, Frames(env), rng)
        follower = Follower(env, rng, _NOISE)
        bows = _bows(course, BOWS[way])
        for number, (step, bow) in enumerate(zip(course.steps, bows, strict=True)):
            self._do(env, step, bow, follower, number == len(course.steps) - 1)
        return follower.recorder.finish(env.success(), way=way, method="amplified")

    def _do(
        self, env: Environment, step: Step, bow: np.ndarray, follower: Follower, last: bool
    ) -> None:
        clip = step.clip
        motion = _motion(step, env)
        held = held_in(clip, step.thing, env) if clip.deed is Deed.CARRY else None
        follower.follow(clip, AimedClip(clip, env, motion, held, bow, step.free))
        if clip.deed is Deed.OPERATE:
            goal = env.task.goal
            atom = (clip.predicate, step.thing)
            if atom in goal:
                follower.carry_on(clip, motion, env.scene.atoms[goal.index(atom)])
        if clip.deed is Deed.CARRY or (clip.deed is Deed.OPERATE and not last):
            follower.release()


def _motion(step: Step, env: Environment) -> Motion:
    match step.clip.deed:
        case Deed.GRASP:
            return grasp_motion(step.clip, step.thing, env, 0.0)
        case Deed.CARRY:
            return carry_motion(step.clip, step.thing, step.target, env)
    return operate_motion(step.clip, step.thing, env)


def _bows(course: Course, bow: np.ndarray) -> list[np.ndarray]:
    """Return the way round of each step: of the carries, or of the first approach to a joint."""
    deeds = [step.clip.deed for step in course.steps]
    if Deed.CARRY in deeds:
        return [bow * (deed is Deed.CARRY) for deed in deeds]
    return [bow * (number == 0) for number in range(len(deeds))]
