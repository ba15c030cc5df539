"""Builds on engines of Beam whose workers share no memory, parts of them killed in the middle.

`pytest -m slow -s` prints how long each took. Flink skips without Java, and where Maven does not
have the parts of Beam's job server; Prism, Beam's own portable runner, where it is not to be had.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from benchmarks.clusters import ENGINES, Cluster, MissingEngineError
from common.workers import Beam, beam_options, run_items
from dataset_builders.build import BuildConfig, build
from simulation.assets.resolve import embedded_pack
from simulation.environment import Environment
from simulation.recordings.recorder import Recorder
from simulation.recordings.trajectories import TrajectoryWriter
from simulation.tasks import get_task
from tests.dataset_builders.conftest import TASK

EPISODES, STEPS, PIXELS = 16, 40, 64
PARTS = "libero_rl/*/unfinished_*/parts/*.part"


@pytest.fixture(scope="module")
def episodes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of episodes that take a while to render."""
    folder, task = tmp_path_factory.mktemp("episodes"), get_task(TASK)
    environment = Environment(task, embedded_pack())
    writer = TrajectoryWriter(folder / "x.hdf5", task, embedded_pack(), {})
    for index in range(EPISODES):
        environment.reset(2_000_000 + index, None)
        recorder, rng = Recorder(environment), np.random.default_rng(index)
        for _ in range(STEPS):
            action = rng.uniform(-1, 1, 7)
            recorder.before(action)
            environment.step(action)
        writer.add(index, recorder.finish(True, pattern=0, method="dlr", policy_hash="ab"))
    writer.finish().close()
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.glob("*.tfrecord*"))}


def config(episodes: Path, target: Path, options: str | None, workers: int = 1) -> BuildConfig:
    return BuildConfig(
        episodes,
        target,
        resolution=PIXELS,
        replay=0,
        workers=workers,
        beam_pipeline_options=options,
    )


@pytest.fixture(scope="module")
def undisturbed(episodes: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Return the shards of the plain build."""
    return contents(build(config(episodes, tmp_path_factory.mktemp("plain"), None)))


@pytest.fixture(params=ENGINES)
def cluster(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Cluster]:
    """Yield a running cluster of each engine; skip where it is not to be had."""
    try:
        with Cluster(request.param, tmp_path / "cluster") as cluster:
            yield cluster
    except MissingEngineError as error:
        pytest.skip(str(error))


def kill_in_the_middle(cluster: Cluster, target: Path, killed: list[int]) -> None:
    """Kill a worker once two episodes are rendered; once four are a task manager, and start it."""
    victims = [(2, lambda: cluster.workers()[-1])]
    if cluster.engine == "flink":
        victims.append((4, lambda: cluster.process("task-manager-1")))
    for count, victim in victims:
        while len(list(target.glob(PARTS))) < count:
            time.sleep(0.05)
        os.kill(victim(), signal.SIGKILL)
        killed.append(len(list(target.glob(PARTS))))
    if cluster.engine == "flink":
        cluster.start_task_manager(1)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_killed_parts_of_a_cluster_change_nothing(
    cluster: Cluster, episodes: Path, undisturbed: dict[str, bytes], tmp_path: Path
) -> None:
    target, killed = tmp_path / "data", list[int]()
    killer = threading.Thread(
        target=kill_in_the_middle, args=(cluster, target, killed), daemon=True
    )
    killer.start()
    began = time.monotonic()
    built = build(config(episodes, target, cluster.options))
    seconds = time.monotonic() - began
    killer.join(60)
    assert killed and max(killed) < EPISODES
    assert len(cluster.workers()) > 1  # another worker has taken over
    assert contents(built) == undisturbed
    print(f"\n{cluster.options}: {seconds:.0f} s, killed after {killed} of {EPISODES} episodes")


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_a_worker_has_the_processes_that_are_asked_for(
    cluster: Cluster, tmp_path: Path, workers: int
) -> None:
    item = "[__import__('time').sleep(1), __import__('os').getpid(), __import__('os').getppid()]"
    backend = Beam(beam_options(cluster.options), str(tmp_path / "work"), workers)
    found = list(run_items(eval, [item] * 8, backend, "sleeping"))
    parents = {parent for _, _, parent in found}
    assert parents <= set(cluster.workers())
    assert len({process for _, process, _ in found}) == workers * len(parents)


@pytest.mark.slow
def test_workers_of_several_processes_change_nothing(
    episodes: Path, undisturbed: dict[str, bytes], tmp_path: Path
) -> None:
    options = "runner=FnApiRunner,direct_num_workers=2,direct_running_mode=multi_processing"
    assert contents(build(config(episodes, tmp_path, options))) == undisturbed
