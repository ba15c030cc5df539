"""Makes many demonstrations of a task from one or a few: the amplifier and its ways."""

from __future__ import annotations

import numpy as np

from common.errors import DemonstrationError
from demonstrations.amplify.aim import AimedClip, held_in
from demonstrations.amplify.clearance import by_clearance, obstruction
from demonstrations.amplify.follow import Follower
from demonstrations.amplify.motions import carry_motion, drift, grasp_motion, operate_motion
from demonstrations.amplify.plan import Course, Option, Step, options
from demonstrations.amplify.segments import Deed
from demonstrations.amplify.source import Frames
from demonstrations.amplify.ways import Way, bows, choose_ways
from demonstrations.config import Style
from simulation.environment import Environment
from simulation.recordings.trajectories import Episode
from simulation.tasks import Task

_NOISE = 0.05
"""Standard deviation of the noise on actions."""
_REHEARSALS = 6
"""Options that are rehearsed at most."""


class Amplifier:
    """Demonstrates a task as recorded demonstrations did, at any start.

    Args:
        task: the task.
        courses: one or several ways to reach its goal by clips of demonstrations.
    """

    source = "amplified"

    def __init__(self, task: Task, courses: tuple[Course, ...]) -> None:
        self.task, self.courses = task, courses
        self._ways = choose_ways(courses)
        self.ways: tuple[str, ...] = tuple(self._ways)

    def demonstrate(
        self, env: Environment, way: str, rng: np.random.Generator, style: Style
    ) -> Episode:
        """Demonstrate the task once from the environment's present state.

        What is to be done is rehearsed first, on a copy of the environment: the first of a few
        options that succeeds there is performed. The episode goes on after the goal first holds,
        through release and retreat, and is a success if the goal holds at its end.

        Args:
            env: the environment, reset and settled.
            way: one of `ways`.
            rng: draws options and noise.
            style: not used: speed and imprecision are the sources' own.

        Raises:
            DemonstrationError: there is no such way.
        """
        if way not in self._ways:
            raise DemonstrationError(
                f"{self.task.key} is not amplified by the way {way!r}, but by "
                f"{', '.join(self.ways)}"
            )
        path = self._ways[way]
        tries = options(self.courses, Frames(env), rng, _REHEARSALS)
        seeds = rng.spawn(len(tries))
        chosen = next(
            (o for o, seed in zip(tries, seeds, strict=True) if _rehearse(env, o, path, seed)),
            tries[0],
        )
        follower = Follower(env, rng, _NOISE)
        success = _perform(env, chosen, path, follower)
        return follower.recorder.finish(success, way=way, method="amplified")


def _rehearse(env: Environment, option: Option, way: Way, rng: np.random.Generator) -> bool:
    """Return whether an option succeeds in a copy of the environment, with noise of its own."""
    copy = Environment(env.task, env.scene.assets)
    copy.reset(env.seed, init_state=env.state(), fixtures=env.fixtures())
    return _perform(copy, option, way, Follower(copy, rng, _NOISE))


def _perform(env: Environment, option: Option, way: Way, follower: Follower) -> bool:
    """Do all steps of an option's course; return whether the goal holds at the end."""
    steps = option.course.steps
    turn = 0.0
    for number, (step, bow) in enumerate(zip(steps, bows(option.course, way), strict=True)):
        if step.clip.deed is Deed.GRASP:
            turns = _turns(env, step, steps[number + 1], way)
            turn = turns[min(option.turn, len(turns) - 1)]
        bow = bow + np.array([0.0, 0.0, option.raised])
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


def _turns(env: Environment, grasp: Step, carry: Step, way: Way) -> list[float]:
    """Return turns of the hand about an object, rad, those first that keep clear of others."""
    choices = way.turns(grasp)
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
    return by_clearance(found) if found else list(choices)
