"""Every writing stage, small but real, for tests that start it twice, kill it or fill its disk."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
import torch

from common.errors import DlrError
from dataset_builders.build import BuildConfig, build
from dataset_builders.verify import verify
from demonstrations.config import DemonstrationConfig
from demonstrations.make import make_demonstrations
from eval_harness.evaluation import evaluate
from eval_harness.policies.random import RandomPolicy
from eval_harness.protocols import get_protocol
from eval_harness.results import load_results
from eval_harness.runner import RunConfig
from generator.checkpoints import load_policy
from generator.collect import collect
from generator.config import (
    BudgetConfig,
    CollectConfig,
    EvaluationConfig,
    GeneratorConfig,
    LearnConfig,
    NoiseConfig,
    ReinforceConfig,
)
from generator.run_folder import RunFolder, train_recipe
from simulation.assets.resolve import embedded_pack
from simulation.environment import Environment
from simulation.recordings.recorder import Recorder
from simulation.recordings.trajectories import TrajectoryWriter
from simulation.tasks import Task, get_task
from tests.generator.conftest import PointMasses, point_mass_demonstrations

TASK = get_task("libero_90/KITCHEN_SCENE10_close_the_top_drawer_of_the_cabinet")
DEMONSTRATIONS = 15
CONFIG = GeneratorConfig(
    learn=LearnConfig(steps=900, hidden=(128, 128), ema_decay=0.99, checkpoint_every=50),
    reinforce=ReinforceConfig(
        BudgetConfig(weak=0),
        iterations=4,
        episodes=6,
        critic_warmup=1,
        warmup_episodes=3,
        evaluate_every=2,
        evaluation_episodes=2,
        epochs=1,
        patience=9,
    ),
    evaluation=EvaluationConfig(episodes=3),
)
COLLECT = CollectConfig(episodes=18, wave=3, maximum_attempts=40)
EVALUATED = 6
UNEXPECTED = 99
"""Status of a stage that ends with a traceback."""


class Masses(PointMasses):
    """Point masses that say that they are of a task."""

    task: Task = TASK


@dataclass(frozen=True)
class Stage:
    """A writing stage."""

    run: Callable[[Path, Path], None]
    """Given the sources' folder and its own, do all that there is to do."""
    items: Callable[[Path], list[str]]
    """What a finished folder holds: a digest of each item."""


def prepare(sources: Path) -> None:
    """Make what stages start from: trajectories of random actions, and a trained policy."""
    torch.set_num_threads(1)
    env, pack = Environment(TASK, embedded_pack()), embedded_pack()
    writer = TrajectoryWriter(sources / "trajectories" / "x.hdf5", TASK, pack, {})
    for index in range(3):
        env.reset(100 + index, None)
        recorder, rng = Recorder(env), np.random.default_rng(index)
        for _ in range(3):
            recorder.before(action := rng.uniform(-1, 1, 7))
            env.step(action)
        writer.add(index, recorder.finish(True, pattern=index, method="dlr"))
    writer.finish().close()
    _train(sources, sources / "train")


def _demonstrate(sources: Path, folder: Path) -> None:
    config = DemonstrationConfig(episodes_per_way=2)
    make_demonstrations(TASK, folder / "x.hdf5", config, embedded_pack()).close()


def _train(sources: Path, folder: Path) -> None:
    demonstrations = point_mass_demonstrations(DEMONSTRATIONS)
    train_recipe(RunFolder(folder), "o2o_rl", Masses(), demonstrations, CONFIG)  # type: ignore[arg-type]


def _collect(sources: Path, folder: Path) -> None:
    trained = RunFolder(sources / "train").policies(TASK, "o2o_rl", 0)
    policy, _ = load_policy(trained / "learn" / "policy.safetensors")
    collect(
        policy, Masses(), TASK, embedded_pack(), "o2o_rl", COLLECT, NoiseConfig(), folder / "x.hdf5"
    )


def _build(sources: Path, folder: Path) -> None:
    build(BuildConfig(sources / "trajectories", folder, resolution=32, workers=1))


def _evaluate(sources: Path, folder: Path) -> None:
    policy, protocol = RandomPolicy(), get_protocol("libero")
    config = RunConfig(environments=2, threads=1)
    evaluate(policy, protocol, [TASK], folder, EVALUATED, config=config, assets=embedded_pack())


def _trajectories(folder: Path) -> list[str]:
    with h5py.File(folder / "x.hdf5") as file:
        data = file["data"]
        return [data[f"demo_{i}"].attrs["sha256"] for i in range(data.attrs["num_demos"])]


def _stage_files(folder: Path) -> list[str]:
    policies = RunFolder(folder).policies(TASK, "o2o_rl", 0)
    names = ("policy.safetensors", "record.json")
    files = [
        policies / stage / name for stage in ("learn", "filter", "reinforce") for name in names
    ]
    return [hashlib.sha256(path.read_bytes()).hexdigest() for path in files]


def _dataset(folder: Path) -> list[str]:
    (path,) = folder.glob("libero_rl/*/1.0.0")
    info = json.loads((path / "dataset_info.json").read_text())
    count = sum(int(n) for split in info["splits"] for n in split["shardLengths"])
    assert not list(path.parent.glob("incomplete*"))
    return [verify(path, replay=0).digest] * count


def _results(folder: Path) -> list[str]:
    lines = (folder / "episodes.jsonl").read_text().splitlines()
    results = load_results(folder)
    stored = [results.trajectory(r).states.tobytes() for r in results.episodes]
    assert len(lines) == len(results.episodes)
    return [
        hashlib.sha256(repr(result.outcome).encode() + states).hexdigest()
        for result, states in zip(results.episodes, stored, strict=True)
    ]


STAGES = {
    "demonstrate": Stage(_demonstrate, _trajectories),
    "train": Stage(_train, _stage_files),
    "collect": Stage(_collect, _trajectories),
    "build": Stage(_build, _dataset),
    "eval": Stage(_evaluate, _results),
}


@dataclass(frozen=True)
class Child:
    """A process that runs a stage."""

    pid: int
    log: Path
    """What it printed; its last line is the error's, if it ended with one."""

    def wait(self) -> int:
        """Return the status it ends with; negative for a signal."""
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])

    def kill(self) -> None:
        """End it by SIGKILL."""
        os.kill(self.pid, signal.SIGKILL)

    @property
    def last_line(self) -> str:
        """Return the last line that it printed."""
        return (self.log.read_text().splitlines() or [""])[-1]


def start(stage: Stage, sources: Path, folder: Path, log: Path) -> Child:
    """Run a stage in a forked process, which has all that is slow to load; as `cli.main` ends."""
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid:
        return Child(pid, log)
    status = UNEXPECTED
    try:
        os.dup2(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 2)
        os.dup2(2, 1)
        sys.stdout, sys.stderr = (os.fdopen(n, "w", closefd=False) for n in (1, 2))
        stage.run(sources, folder)
        status = 0
    except DlrError as error:
        print(f"dlr: {error}", file=sys.stderr)
        status = error.status
    except BaseException:  # noqa: BLE001 (told by the status)
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def run_once(stage: Stage, sources: Path, folder: Path) -> tuple[list[str], float]:
    """Return the items of an undisturbed run in a new folder, and the seconds that it took."""
    began = time.monotonic()
    child = start(stage, sources, folder, folder.with_name(f"{folder.name}.log"))
    assert child.wait() == 0, child.log.read_text()
    return stage.items(folder), time.monotonic() - began
