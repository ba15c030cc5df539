"""Every task loads, resets and steps; and a long run leaves memory flat."""

from __future__ import annotations

import gc
from pathlib import Path

import numpy as np
import pytest

from common.errors import InvalidActionError, InvalidStateError
from simulation.environment import Environment
from simulation.observations import Observer
from simulation.tasks import get_task, list_tasks

RESETS, STEPS = 100, 5_000
GROWTH = 16.0
"""Greatest growth of resident memory that a long run may show, MiB."""
DRAWER = get_task("KITCHEN_SCENE10_close_the_top_drawer_of_the_cabinet")


def resident_mebibytes() -> float:
    """Return this process's resident memory, MiB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmRSS")).split()[1]) / 1024


def run_long(env: Environment, resets: int, steps: int) -> float:
    """Spread `steps` over `resets` episodes, observing all; return the growth in memory, MiB."""
    rng, observer = np.random.default_rng(0), Observer(env)

    def run(episodes: int, first: int) -> None:
        for episode in range(first, first + episodes):
            env.reset(seed=episode, init_index=episode % 50 if episode % 2 else None)
            for action in rng.uniform(-1.0, 1.0, (steps // resets, 7)):
                env.step(action)
                observer.privileged()
                observer.proprio()

    run(max(resets // 10, 1), 1_000_000)
    gc.collect()
    before = resident_mebibytes()
    run(resets, 0)
    gc.collect()
    return resident_mebibytes() - before


def _check(task, pack, action) -> None:
    env = Environment(task, pack)
    observer = Observer(env)
    for seed, init_index in ((0, None), (1, 49)):
        env.reset(seed, init_index)
        before = env.state()
        for _ in range(3):
            env.step(action)
        assert not np.array_equal(env.state(), before)
        assert all(np.isfinite(value).all() for value in observer.upstream().values())
        assert np.isfinite(env.policy_state()).all() and np.isfinite(observer.privileged()).all()
        for bad in (np.full(7, np.nan), np.zeros(8)):
            with pytest.raises(InvalidActionError):
                env.step(bad)
    with pytest.raises(InvalidStateError):
        env.reset(seed=0, init_state=np.append(before, 0.0))


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("task", list_tasks(), ids=lambda task: task.key)
def test_every_task_runs(task, pack, actions):
    _check(task, pack, actions[0])


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("task", list_tasks(), ids=lambda task: task.key)
def test_every_task_runs_on_the_real_assets(task, real_pack, actions):
    _check(task, real_pack, actions[0])


@pytest.mark.slow
def test_a_long_run_leaves_memory_flat(pack):
    assert run_long(Environment(DRAWER, pack), RESETS, STEPS) < GROWTH
