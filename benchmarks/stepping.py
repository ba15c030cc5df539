"""Speed of stepping and resetting, and memory, beside upstream's `ControlEnv` and bare MuJoCo."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from typing import Any

import mujoco
import numpy as np

from benchmarks.measure import (
    Result,
    Setting,
    benchmark,
    compare_rates,
    cpu_rate,
    summarise,
    wall_rate,
)
from simulation.control import ACTION_DIM, bare_passes, bare_steps
from simulation.environment import BatchEnvironment, Environment
from simulation.registry import get_task
from simulation.scene import make_upstream

TASK = get_task("libero_90/KITCHEN_SCENE10_close_the_top_drawer_of_the_cabinet")
_SEED = 3
_INIT_INDEX = 7


def _random_actions(count: int) -> np.ndarray:
    return np.random.default_rng(0).uniform(-1.0, 1.0, (count, ACTION_DIM))


def _upstream_reset(env: Any, seed: int) -> None:
    env.seed(seed)
    env.reset()
    env.set_init_state(TASK.init_states()[_INIT_INDEX])


@benchmark
def upstream_step(setting: Setting) -> list[Result]:
    """State-only control steps from the same state under the same random actions."""
    actions = _random_actions(20)
    ours, theirs = Environment(TASK, setting.assets), make_upstream(TASK, setting.assets)
    _upstream_reset(theirs, _SEED)
    initial = TASK.init_states()[_INIT_INDEX]

    def step_ours() -> float:
        ours.reset(_SEED, _INIT_INDEX)
        return cpu_rate(lambda: [ours.step(action) for action in actions], len(actions))

    def step_theirs() -> float:
        theirs.set_init_state(initial)
        return cpu_rate(lambda: [theirs.step(action) for action in actions], len(actions))

    step_ours(), step_theirs()
    name = "state-only stepping / upstream ControlEnv"
    return [compare_rates(name, "control steps/s", setting.repetitions, step_ours, step_theirs)]


@benchmark
def physics_limit(setting: Setting) -> list[Result]:
    """Control steps beside MuJoCo alone, from every state of the same trajectory.

    First beside 25 `mj_step`s of upstream's full model. Then beside upstream's three passes of
    the constraint solver a substep, without a controller: as fast as parity allows at all.
    """
    env = Environment(TASK, setting.assets)
    full = env.scene.visual_model
    peers = {
        "25 mj_step of upstream's model": (full, bare_steps),
        "upstream's solver passes alone": (env.model, bare_passes),
    }
    pairs: dict[str, list[tuple[float, float]]] = {name: [] for name in peers}
    for repetition in range(setting.repetitions + 1):
        ours, theirs = _trajectory_rates(env, list(peers.values()))
        if repetition > 0:
            for name, rate in zip(peers, theirs, strict=True):
                pairs[name].append((ours, rate))
    return [
        summarise(f"state-only stepping / {name}", "control steps/s", pairs[name]) for name in peers
    ]


def _trajectory_rates(
    env: Environment, peers: list[tuple[mujoco.MjModel, Callable[[int, int, int], None]]]
) -> tuple[float, list[float]]:
    """Return control steps per second of ours and of each peer along one trajectory."""
    actions = _random_actions(40)
    env.reset(_SEED, _INIT_INDEX)
    copies = []
    for model, passes in peers:
        model.body_pos[:], model.body_quat[:] = env.model.body_pos, env.model.body_quat
        copies.append((model, mujoco.MjData(model), passes))
    spent = np.zeros(1 + len(peers))
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
    """Resets to an official init state, with a seed not seen before."""
    ours, theirs = Environment(TASK, setting.assets), make_upstream(TASK, setting.assets)
    seeds = itertools.count(1)

    def reset_ours() -> float:
        return cpu_rate(lambda: ours.reset(1000 + next(seeds), _INIT_INDEX), 1)

    def reset_theirs() -> float:
        return cpu_rate(lambda: _upstream_reset(theirs, next(seeds)), 1)

    name = "reset / upstream's seed, reset, set_init_state"
    repetitions = 1 if setting.quick else 3
    return [compare_rates(name, "resets/s", repetitions, reset_ours, reset_theirs)]


@benchmark
def threads(setting: Setting) -> list[Result]:
    """Four environments on two threads beside one thread, in wall time."""
    slots = [0, 1, 2, 3]
    actions = _random_actions(80).reshape(20, 4, ACTION_DIM)
    one, two = (BatchEnvironment(TASK, 4, setting.assets, num_threads=n) for n in (1, 2))

    def rate(batch: BatchEnvironment) -> float:
        batch.reset(slots, [_SEED] * 4, [_INIT_INDEX] * 4)
        return wall_rate(lambda: [batch.step(slots, row) for row in actions], actions.size // 7)

    result = compare_rates(
        "2 threads / 1 thread, 4 environments",
        "control steps/s",
        setting.repetitions,
        lambda: rate(two),
        lambda: rate(one),
    )
    one.close()
    two.close()
    return [result]


@benchmark
def memory(setting: Setting) -> list[Result]:
    """Size of the model that each environment copies beside upstream's."""
    scene = Environment(TASK, setting.assets).scene
    sizes = [mujoco.mj_sizeModel(m) / 1e6 for m in (scene.model, scene.visual_model)]
    return [summarise("model of one environment / upstream's", "MB", [(sizes[0], sizes[1])])]
