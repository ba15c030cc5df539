"""Which of an object's grasps is taken: the same one from nearly every start of a task."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from functools import lru_cache

import numpy as np

from demonstrations.affordances import arm
from demonstrations.affordances.geometry import pose
from demonstrations.affordances.grasps import Grasp, body_grasps, is_hollow, rim_grasps
from demonstrations.affordances.placing import find_place, turned
from simulation.environment import Environment
from simulation.scene import Scene
from simulation.starts import FIRST_HELD_OUT_INIT
from simulation.tasks import Task

_REHEARSED = range(0, FIRST_HELD_OUT_INIT, 5)
"""Official starts over which a task's usual grasp is the best."""
_WORST = 4.0
"""What a grasp counts with that costs more, or that is not there from a start."""
_STEADY = 2.0
"""What a grasp costs for each radian that it is from the usual one."""


def choose_grasp(env: Environment, name: str, target: str, azimuth: float) -> Grasp:
    """Return the grasp that costs least at the object and, so held, at the target.

    Another one than the task's usual costs more. By which of many things that stand a little
    elsewhere a demonstrator takes another side, a clone can hardly tell.

    Args:
        env: the environment, in a state before the object is grasped.
        name: the object.
        target: where it is to be put.
        azimuth: side of a hollow object that is preferred, from world x, rad.
    """
    usual = usual_grasp(env.task, env.scene, name, target, azimuth)
    best, least = None, np.inf
    for grasp in grasps(env, name, azimuth):
        apart = wrap(grasp.side - usual.side), grasp.yaw - usual.yaw
        unusual = _STEADY * max(map(abs, apart))
        if best is None or grasp.cost + unusual < least:
            cost = unusual + whole_cost(env, name, target, grasp)
            if best is None or cost < least:
                best, least = grasp, cost
    assert best is not None, "an object has a grasp"
    return best


@lru_cache(maxsize=12)
def usual_grasp(task: Task, scene: Scene, name: str, target: str, azimuth: float) -> Grasp:
    """Return a grasp whose side costs least over several of a task's official starts."""
    totals, seen = defaultdict[float, float](float), dict[float, Grasp]()
    for env in rehearsals(task, scene):
        for grasp in grasps(env, name, azimuth):
            cost = _WORST
            if grasp.cost < _WORST:
                cost = min(cost, whole_cost(env, name, target, grasp))
            side = round(grasp.side, 6)
            totals[side] += cost - _WORST
            seen[side] = grasp
    return seen[min(totals, key=lambda side: totals[side])]


def rehearsals(task: Task, scene: Scene) -> Iterator[Environment]:
    """Yield an environment of a task at several of its official starts, one after the other."""
    env = Environment(task, scene=scene)
    for index in _REHEARSED:
        env.reset(0, init_index=index)
        env.settle()
        yield env


def grasps(env: Environment, name: str, azimuth: float) -> list[Grasp]:
    """Return an object's grasps, the best first: of its wall if it is hollow, else of its body."""
    found = body_grasps(env, name)
    if is_hollow(env, name) or not found:
        found = rim_grasps(env, name, azimuth) or found
    return found


def whole_cost(env: Environment, name: str, target: str, grasp: Grasp) -> float:
    """Return what speaks against a grasp: at the object, at the target, and of the arm at both."""
    place = find_place(env, name, target, grasp)
    origin, _ = pose(env, name)
    over = place.position + turned(grasp.position - origin, place.yaw - grasp.yaw)
    poses = (grasp.position, grasp.yaw), (over, place.yaw)
    return grasp.cost + place.cost + sum(arm.cost(env, at, yaw) for at, yaw in poses)


def wrap(angle: float) -> float:
    """Return an angle between -pi and pi."""
    return float((angle + np.pi) % (2 * np.pi) - np.pi)
