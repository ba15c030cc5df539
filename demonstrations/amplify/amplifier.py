"""Makes many demonstrations of a task from one or a few: the amplifier and its ways."""

from __future__ import annotations

import numpy as np

from demonstrations.amplify.aim import (
    AimedClip,
    carry_motion,
    grasp_motion,
    held_in,
    operate_motion,
)
from demonstrations.amplify.clearance import SIDES, clearest, obstruction
from demonstrations.amplify.follow import Follower
from demonstrations.amplify.kinds import is_round, split
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
        turn = 0.0
        for number, (step, bow) in enumerate(zip(course.steps, bows, strict=True)):
            if step.clip.deed is Deed.GRASP:
                turn = _turn(env, step, course.steps[number + 1])
            if not self._do(env, step, bow, turn, follower, number == len(course.steps) - 1):
                return follower.recorder.finish(False, way=way, method="amplified")
        return follower.recorder.finish(env.success(), way=way, method="amplified")

    def _do(
        self,
        env: Environment,
        step: Step,
        bow: np.ndarray,
        turn: float,
        follower: Follower,
        last: bool,
    ) -> bool:
        """Do one step of a course; return whether it is worth going on."""
        clip = step.clip
        if clip.deed is Deed.CARRY:
            held = held_in(clip, step.thing, env)
            motion = carry_motion(clip, step.thing, step.target, env)
            aimed = AimedClip(clip, env, motion, held, bow, step.free or turn != 0.0)
            if not follower.follow(clip, aimed, held):
                return False
            follower.release()
            return True
        if clip.deed is Deed.GRASP:
            motion = grasp_motion(clip, step.thing, env, turn)
            return follower.follow(clip, AimedClip(clip, env, motion, None, bow, step.free))
        motion = operate_motion(clip, step.thing, env)
        follower.follow(clip, AimedClip(clip, env, motion, None, bow))
        atom = (clip.predicate, step.thing)
        if atom in env.task.goal:
            follower.carry_on(clip, motion, env.scene.atoms[env.task.goal.index(atom)])
        if not last:
            follower.release()
        return True


def _turn(env: Environment, grasp: Step, carry: Step) -> float:
    """Return the turn of the hand about a round object, rad, that keeps clear of other things."""
    if not is_round(split(grasp.thing)[0]):
        return 0.0
    clip, thing, scene = grasp.clip, grasp.thing, Frames(env)
    body, site = scene.body(thing), clip.source.hand[clip.key]
    there = carry_motion(carry.clip, thing, carry.target, env)
    held = held_in(carry.clip, thing, env)
    places, turns = carry.clip.source.objects[carry.clip.thing]
    end = carry.clip.end
    released = there.point(held.source_anchor(places[end], turns[end]))
    anchor = held.anchor(*scene.of(thing))
    found = {}
    for turn in SIDES:
        motion = grasp_motion(clip, thing, env, turn)
        grip, closing = motion.point(site), clip.closing + motion.turn
        found[turn] = obstruction(env, grip, closing, body) + obstruction(
            env, released + grip - anchor, closing, body
        )
    return clearest(found)


def _bows(course: Course, bow: np.ndarray) -> list[np.ndarray]:
    """Return the way round of each step: of the carries, or of the first approach to a joint."""
    deeds = [step.clip.deed for step in course.steps]
    if Deed.CARRY in deeds:
        return [bow * (deed is Deed.CARRY) for deed in deeds]
    return [bow * (number == 0) for number in range(len(deeds))]
