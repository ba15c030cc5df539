"""Makes many demonstrations of a task from one or a few: the amplifier and its ways."""

from __future__ import annotations

import numpy as np

from demonstrations.amplify.aim import (
    AimedClip,
    carry_motion,
    drift,
    grasp_motion,
    held_in,
    operate_motion,
)
from demonstrations.amplify.clearance import SIDES, SLANTS, by_clearance, obstruction
from demonstrations.amplify.follow import Follower
from demonstrations.amplify.kinds import family, is_round, split
from demonstrations.amplify.plan import Course, Option, Step, options
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
_REHEARSALS = 6
"""Options that are rehearsed at most."""


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

        What is to be done is rehearsed first, on a copy of the environment: the first of a few
        options that succeeds there is performed. The episode goes on after the goal first holds,
        through release and retreat, and is a success if the goal holds at its end.
        """
        tries = options(self.courses, Frames(env), rng, _REHEARSALS)
        seeds = rng.spawn(len(tries))
        chosen = next(
            (o for o, seed in zip(tries, seeds, strict=True) if _rehearse(env, o, way, seed)),
            tries[0],
        )
        follower = Follower(env, rng, _NOISE)
        success = _perform(env, chosen, way, follower)
        return follower.recorder.finish(success, way=way, method="amplified")


def _rehearse(env: Environment, option: Option, way: str, rng: np.random.Generator) -> bool:
    """Return whether an option succeeds in a copy of the environment, with noise of its own."""
    copy = Environment(env.task, env.scene.assets)
    copy.reset(env.seed, init_state=env.state(), fixtures=env.fixtures())
    return _perform(copy, option, way, Follower(copy, rng, _NOISE))


def _perform(env: Environment, option: Option, way: str, follower: Follower) -> bool:
    """Do all steps of an option's course; return whether the goal holds at the end."""
    steps = option.course.steps
    turn = 0.0
    for number, (step, bow) in enumerate(zip(steps, _bows(option.course, BOWS[way]), strict=True)):
        if step.clip.deed is Deed.GRASP:
            turns = _turns(env, step, steps[number + 1])
            turn = turns[min(option.turn, len(turns) - 1)]
        if not _do(env, step, bow, turn, option.nudge, follower):
            return False
        if step.clip.deed is Deed.OPERATE and number < len(steps) - 1:
            follower.release()
    return env.success()


def _do(
    env: Environment,
    step: Step,
    bow: np.ndarray,
    turn: float,
    nudge: tuple[float, float],
    follower: Follower,
) -> bool:
    """Do one step of a course; return whether it is worth going on."""
    clip, thing = step.clip, step.thing
    if clip.deed is Deed.GRASP:
        motion = grasp_motion(clip, thing, env, turn).shifted(nudge)
        return follower.follow(clip, AimedClip(clip, env, motion, None, bow, step.free))
    if clip.deed is Deed.CARRY:
        motion = carry_motion(clip, thing, step.target, env).shifted(nudge)
        held = held_in(clip, thing, env)
        aimed = AimedClip(clip, env, motion, held, bow, step.free or turn != 0.0)
        if not follower.follow(clip, aimed, held):
            return False
        follower.release(drift(clip, motion))
        return True
    motion = operate_motion(clip, thing, env).shifted(nudge)
    follower.follow(clip, AimedClip(clip, env, motion, None, bow))
    atom = (clip.predicate, thing)
    if atom in env.task.goal:
        follower.carry_on(clip, motion, env.scene.atoms[env.task.goal.index(atom)])
    return True


def _turns(env: Environment, grasp: Step, carry: Step) -> list[float]:
    """Return turns of the hand about an object, rad, those first that keep clear of others."""
    kind = split(grasp.thing)[0]
    choices = SIDES if is_round(kind) else SLANTS if family(kind) == "grocery" else (0.0,)
    clip, thing, scene = grasp.clip, grasp.thing, Frames(env)
    body, site = scene.body(thing), clip.source.hand[clip.key]
    there = carry_motion(carry.clip, thing, carry.target, env)
    held = held_in(carry.clip, thing, env)
    places, rotations = carry.clip.source.objects[carry.clip.thing]
    end = carry.clip.end
    released = there.point(held.source_anchor(places[end], rotations[end]))
    anchor = held.anchor(*scene.of(thing))
    found = {}
    for turn in choices if len(choices) > 1 else ():
        motion = grasp_motion(clip, thing, env, turn)
        grip, closing = motion.point(site), clip.closing + motion.turn
        found[turn] = obstruction(env, grip, closing, body) + obstruction(
            env, released + grip - anchor, closing, body
        )
    return by_clearance(found) if found else [0.0]


def _bows(course: Course, bow: np.ndarray) -> list[np.ndarray]:
    """Return the way round of each step: of the carries, or of the first approach to a joint."""
    deeds = [step.clip.deed for step in course.steps]
    if Deed.CARRY in deeds:
        return [bow * (deed is Deed.CARRY) for deed in deeds]
    return [bow * (number == 0) for number in range(len(deeds))]
