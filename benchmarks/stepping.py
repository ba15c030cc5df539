"""Speed of stepping and resetting, and memory, beside upstream's `ControlEnv` and bare MuJoCo."""

from __future__ import annotations

import time
from typing import Any

import mujoco
import numpy as np

from benchmarks.measure import Result, Setting, benchmark, compare_rates, cpu_rate, wall_rate
from simulation.assets import AssetPack
from simulation.control import ACTION_DIM, bare_passes, bare_steps
from simulation.environment import BatchEnvironment, Environment
from simulation.registry import Task, get_task, import_libero

TASK = get_task("libero_90/KITCHEN_SCENE10_close_the_top_drawer_of_the_cabinet")
_SEED = 3
_INIT_INDEX = 7


def _random_actions(count: int) -> np.ndarray:
    return np.random.default_rng(0).uniform(-1.0, 1.0, (count, ACTION_DIM))


def _upstream(task: Task, assets: AssetPack) -> Any:
    """Return LIBERO's `ControlEnv` without cameras."""
    import_libero()._assets_path_cache = str(assets.path)
    from libero.libero.envs.env_wrapper import ControlEnv

    return ControlEnv(
        bddl_file_name=str(task.bddl_file),
        use_camera_obs=False,
        has_renderer=False,
        has_offscreen_renderer=False,
    )


def _upstream_reset(env: Any, seed: int) -> None:
    env.seed(seed)
    env.reset()
    env.set_init_state(TASK.init_states()[_INIT_INDEX])


@benchmark
def upstream_step(setting: Setting) -> list[Result]:
    """State-only control steps from the same state under the same random actions."""
    actions = _random_actions(20)
    ours, theirs = Environment(TASK, setting.assets), _upstream(TASK, setting.assets)
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
    return [
        compare_rates(name, "control steps/s", setting.repetitions, step_ours, step_theirs)
    ]


@benchmark
def physics_limit(setting: Setting) -> list[Result]:
    """Control steps beside MuJoCo alone, at every state of the same trajectory.

    First beside 25 `mj_step`s of upstream's full model. Then beside the same passes of the
    constraint solver as upstream's, three a substep, which bit-identical states need: the limit
    of any control loop that keeps parity.
    """
    env = Environment(TASK, setting.assets)
    substeps = env.scene.robot.substeps
    actions = _random_actions(40)
    full = env.scene.visual_model
    full.body_pos[:], full.body_quat[:] = env.model.body_pos, env.model.body_quat
    peers = (
        (full, mujoco.MjData(full), bare_steps, "25 mj_step, upstream's model"),
        (env.model, mujoco.MjData(env.model), bare_passes, "the same solver passes alone"),
    )
    pairs: list[list[tuple[float, float]]] = [[], []]
    env.step(actions[0])
    for _, data, passes, _ in peers:
        passes(full._address, data._address, 0)
    for _ in range(setting.repetitions):
        env.reset(_SEED, _INIT_INDEX)
        spent = np.zeros(3)
        for action in actions:
            for index, (model, data, passes, _) in enumerate(peers):
                _copy_state(env.data, data)
                start = time.thread_time()
                passes(model._address, data._address, substeps)
                spent[index] += time.thread_time() - start
            start = time.thread_time()
            env.step(action)
            spent[2] += time.thread_time() - start
        rates = len(actions) / spent
        for index in range(2):
            pairs[index].append((rates[2], rates[index]))
    return [
        compare_rates(
            f"state-only stepping / {peers[index][3]}",
            "control steps/s",
            setting.repetitions,
            *_replay(pairs[index]),
        )
        for index in range(2)
    ]
