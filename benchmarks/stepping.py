"""Speed of stepping and resetting, beside upstream's `ControlEnv` and bare MuJoCo."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import mujoco
import numpy as np

from benchmarks.measure import (
    Result,
    Setting,
    Target,
    benchmark,
    compare,
    cpu_rate,
    geometric_mean,
    summarise,
    wall_rate,
    worst,
)
from benchmarks.peers import upstream as peers
from benchmarks.tasks import (
    DRAWER,
    INIT_INDEX,
    ONE_OF_EACH_SUITE,
    SEED,
    TASKS,
    random_actions,
)
from simulation.environment import BatchEnvironment, Environment
from simulation.physics.control import bare_passes, bare_steps
from simulation.tasks import Task

_STEPS = 20
"""Control steps of one repetition."""
_BARE_STEPS = "25 mj_step of upstream's model"
_BARE_PASSES = "upstream's solver passes alone"
_LIMITS: dict[str, Target | None] = {_BARE_STEPS: Target(0.80), _BARE_PASSES: None}


@benchmark
def upstream_step(setting: Setting) -> list[Result]:
    """State-only control steps, with observations, from the same state under the same actions."""
    name, target = "state-only stepping / upstream ControlEnv", Target(4.0)
    actions = random_actions(_STEPS)
    results = []
    for label, task in TASKS.items():
        ours, theirs = Environment(task, setting.assets), peers.control_env(task, setting.assets)
        initial = task.init_states()[INIT_INDEX]
        peers.start(theirs, SEED, initial)

        def step_ours(env: Environment = ours) -> float:
            env.reset(SEED, INIT_INDEX)
            return cpu_rate(lambda: [(env.step(a), env.policy_state()) for a in actions], _STEPS)

        def step_theirs(env: Any = theirs, initial: np.ndarray = initial) -> float:
            env.set_init_state(initial)
            return cpu_rate(lambda: [env.step(a) for a in actions], _STEPS)

        step_ours(), step_theirs()
        results.append(
            compare(
                f"{name}, {label}",
                "control steps/s",
                setting.repetitions(11),
                step_ours,
                step_theirs,
                target,
            )
        )
        theirs.close()
    return [*results, geometric_mean(name, results, target)]


@benchmark
def physics_limit(setting: Setting) -> list[Result]:
    """Control steps beside MuJoCo alone, from every state of the same trajectory.

    First beside 25 `mj_step`s of upstream's full model. Then beside upstream's three passes of
    the constraint solver a substep, without a controller: as fast as parity allows at all.
    """
    results: dict[str, list[Result]] = {name: [] for name in _LIMITS}
    for label, task in TASKS.items():
        env = Environment(task, setting.assets)
        limits = [(env.scene.visual_model, bare_steps), (env.model, bare_passes)]
        _trajectory_rates(env, limits)
        rates = [_trajectory_rates(env, limits) for _ in range(setting.repetitions(11))]
        for column, (name, target) in enumerate(_LIMITS.items()):
            pairs = [(ours, theirs[column]) for ours, theirs in rates]
            title = f"state-only stepping / {name}, {label}"
            results[name].append(summarise(title, "control steps/s", pairs, target))
    return [
        result
        for name, target in _LIMITS.items()
        for result in (
            *results[name],
            geometric_mean(f"state-only stepping / {name}", results[name], target),
        )
    ]


def _trajectory_rates(
    env: Environment, limits: list[tuple[mujoco.MjModel, Callable[[int, int, int], None]]]
) -> tuple[float, list[float]]:
    """Return control steps per second of ours and of each limit along one trajectory."""
    actions = random_actions(2 * _STEPS)
    env.reset(SEED, INIT_INDEX)
    copies = []
    for model, passes in limits:
        model.body_pos[:], model.body_quat[:] = env.model.body_pos, env.model.body_quat
        copies.append((model, mujoco.MjData(model), passes))
    spent = np.zeros(1 + len(limits))
    for action in actions:
        for index, (model, data, passes) in enumerate(copies, 1):
            for field in ("qpos", "qvel", "ctrl", "qacc_warmstart"):
                getattr(data, field)[:] = getattr(env.data, field)
            start = time.thread_time()
            passes(model._address, data._address, env.scene.robot.substeps)
            spent[index] += time.thread_time() - start
        start = time.thread_time()
        env.step(action)
        spent[0] += time.thread_time() - start
    rates = (len(actions) / spent).tolist()
    return rates[0], rates[1:]


@benchmark
def reset(setting: Setting) -> list[Result]:
    """Resets to an official init state, with a seed not seen before, in a task of each suite."""
    name, target = "reset / upstream's seed, reset, set_init_state", Target(1 / 20, at_most=True)
    results = [
        _reset(f"{name}, {suite}", task, setting, target)
        for suite, task in ONE_OF_EACH_SUITE.items()
    ]
    return [*results, worst(name, results, target)]


def _reset(name: str, task: Task, setting: Setting, target: Target) -> Result:
    ours, theirs = Environment(task, setting.assets), peers.control_env(task, setting.assets)
    initial, seeds = task.init_states()[INIT_INDEX], itertools.count(1)
    ours.reset(SEED, INIT_INDEX)
    peers.start(theirs, SEED, initial)

    def reset_ours() -> float:
        return 1e3 / cpu_rate(lambda: ours.reset(1000 + next(seeds), INIT_INDEX), 1)

    def reset_theirs() -> float:
        return 1e3 / cpu_rate(lambda: peers.start(theirs, next(seeds), initial), 1)

    result = compare(name, "ms", setting.repetitions(11), reset_ours, reset_theirs, target)
    theirs.close()
    return result


@benchmark
def threads(setting: Setting) -> list[Result]:
    """Four environments on two threads beside one thread, in wall time.

    Two threads of bare `mj_step` beside one, measured in turn with it, tell what the machine's two
    cores are worth at that time.
    """
    slots = [0, 1, 2, 3]
    actions = random_actions(len(slots) * _STEPS).reshape(_STEPS, len(slots), -1)
    two, one = (BatchEnvironment(DRAWER, 4, setting.assets, num_threads=n) for n in (2, 1))

    def stepping(batch: BatchEnvironment) -> float:
        batch.reset(slots, [SEED] * 4, [INIT_INDEX] * 4)
        return wall_rate(lambda: [batch.step(slots, row) for row in actions], 4 * _STEPS)

    def bare(batch: BatchEnvironment) -> float:
        batch.reset(slots, [SEED] * 4, [INIT_INDEX] * 4)
        with ThreadPoolExecutor(batch.num_threads) as pool:
            return wall_rate(lambda: list(pool.map(_bare_trajectory, batch.envs)), 4 * _STEPS)

    stepping(two)
    rows = [
        (stepping(two), stepping(one), bare(two), bare(one)) for _ in range(setting.repetitions(31))
    ]
    two.close()
    one.close()
    name, unit = "2 threads / 1 thread", "control steps/s"
    return [
        summarise(f"{name}, 4 environments", unit, [row[:2] for row in rows], Target(1.8)),
        summarise(f"{name}, bare mj_step", unit, [row[2:] for row in rows]),
    ]


def _bare_trajectory(env: Environment) -> None:
    bare_steps(env.model._address, env.data._address, _STEPS * env.scene.robot.substeps)
