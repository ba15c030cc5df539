"""Resident memory of many environments of one task, beside upstream's process for each.

Memory is PSS: what processes share counts once, which flatters neither side as the sum of their
resident sizes would. The model that each of our environments copies is compared as well.
"""

from __future__ import annotations

import contextlib
import itertools
import multiprocessing
import os
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.measure import Result, Setting, Target, benchmark, in_fresh_process, summarise
from benchmarks.peers import upstream as peers
from benchmarks.tasks import DRAWER, INIT_INDEX, SEED, random_actions
from simulation.assets.resolve import AssetPack

_COUNTS = (16, 8, 4)
"""Numbers of environments; the first that fits into half of the free memory is measured."""
_PICTURES_PX = 128


@benchmark
def memory(setting: Setting) -> list[Result]:
    """All memory of a process of our environments beside upstream's `SubprocVectorEnv`.

    State-only, then with pictures of two cameras: ours of one renderer that all share.
    """
    results, target = [], Target(1 / 4, at_most=True)
    in_fresh_process(_our_pss, 1, setting.assets, 0)  # compiles, which takes memory of its own
    for name, size in {"state-only": 0, f"with pictures, {_PICTURES_PX} px": _PICTURES_PX}.items():
        if size and setting.quick:
            continue
        count, theirs = in_fresh_process(_upstream_pss, setting, size)
        ours = in_fresh_process(_our_pss, count, setting.assets, size)
        title = f"memory of {count} environments / SubprocVectorEnv, {name}"
        results.append(summarise(title, "MB", [(ours, theirs)], target))
    sizes = in_fresh_process(_model_sizes, setting.assets)
    return [*results, summarise("model of one environment / upstream's", "MB", [sizes])]


def _our_pss(count: int, assets: AssetPack, size: int) -> float:
    """Return the megabytes of this process with environments that have stepped."""
    from simulation.environment import BatchEnvironment
    from simulation.pictures.rendering import DEFAULT_CAMERAS, Renderer

    with contextlib.ExitStack() as stack:
        batch, slots = BatchEnvironment(DRAWER, count, assets), list(range(count))
        stack.callback(batch.close)
        batch.reset(slots, [SEED] * count, [INIT_INDEX] * count)
        renderers = [stack.enter_context(Renderer(DRAWER, assets, size, size))] if size else []
        for action in random_actions(2):
            batch.step(slots, action[None].repeat(count, axis=0))
            batch.policy_state(slots)
            for renderer, env in itertools.product(renderers, batch.envs):
                for camera in DEFAULT_CAMERAS:
                    renderer.render(env.state(), env.fixtures(), camera, size, size)
        return _pss_mb(os.getpid())


def _upstream_pss(setting: Setting, size: int) -> tuple[int, float]:
    """Return the number of environments that fit, and the megabytes of all their processes."""
    make: Callable[[], Any] = (
        partial(peers.offscreen_env, DRAWER, setting.assets, size)
        if size
        else partial(peers.control_env, DRAWER, setting.assets)
    )
    multiprocessing.set_start_method("fork", force=True)  # Linux's, which shares the most memory
    peers.import_envs(setting.assets)
    each = _vector_pss(make, 1)
    fitting = [n for n in _COUNTS if n * each < _available_mb() / 2] or [1]
    count = min(fitting[0], 4) if setting.quick else fitting[0]
    if not setting.quick and count < _COUNTS[0]:
        print(f"memory: {_COUNTS[0]} of upstream's will not fit, so {count}", file=sys.stderr)
    return count, _vector_pss(make, count)


def _vector_pss(make: Callable[[], Any], count: int) -> float:
    """Return the megabytes of this process and of its environments', which have stepped."""
    from libero.libero.envs import SubprocVectorEnv

    vector = SubprocVectorEnv([make] * count)
    vector.reset()
    vector.set_init_state(DRAWER.init_states()[[INIT_INDEX] * count])
    for action in random_actions(2):
        vector.step(action[None].repeat(count, axis=0))
    processes = [os.getpid(), *(worker.process.pid for worker in vector.workers)]
    used = sum(map(_pss_mb, processes))
    vector.close()
    return used


def _model_sizes(assets: AssetPack) -> tuple[float, float]:
    import mujoco

    from simulation.scene import load_scene

    scene = load_scene(DRAWER, assets)
    ours, theirs = (mujoco.mj_sizeModel(m) / 1e6 for m in (scene.model, scene.visual_model))
    return ours, theirs


def _pss_mb(process: int) -> float:
    """Return a process's proportional set size in megabytes."""
    return _kilobytes(Path(f"/proc/{process}/smaps_rollup"), "Pss:") / 1e3


def resident_mb(process: int) -> float:
    """Return a process's resident size in megabytes."""
    return _kilobytes(Path(f"/proc/{process}/status"), "VmRSS:") / 1e3


def _available_mb() -> float:
    return _kilobytes(Path("/proc/meminfo"), "MemAvailable:") / 1e3


def _kilobytes(path: Path, field: str) -> int:
    line = next(line for line in path.read_text().splitlines() if line.startswith(field))
    return int(line.split()[1])
