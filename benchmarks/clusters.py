"""What a second worker is worth on a cluster on loopback, which `scripts/flink_cluster.sh` starts.

Flink where Java is and Maven has the parts of Beam's job server; Prism, Beam's own portable
runner, where Go is.
"""

from __future__ import annotations

import functools
import os
import re
import socket
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.dataset import record
from benchmarks.measure import (
    BenchmarkError,
    Result,
    Setting,
    Target,
    benchmark,
    in_fresh_process,
    summarise,
    wall_rate,
)
from common.workers import Backend, Beam, Processes, beam_options
from dataset_builders.episodes import PictureConfig
from dataset_builders.shards import plan_shards, write_shards
from dataset_builders.sources import list_episodes

ENGINES = ("flink", "prism")
"""What the script starts."""
_SCRIPT = Path(__file__).resolve().parents[1] / "scripts/flink_cluster.sh"
_NOT_TO_BE_HAD = 3
"""The script's status where something that it needs is not to be had."""
_PORTS = ("FLINK_PORT", "JOB_PORT", "ARTIFACT_PORT", "POOL_PORT")
_SIZE_PX = 256
_UNIT = "frames/s"


class MissingEngineError(BenchmarkError):
    """Something that an engine needs is not to be had here."""


class Cluster:
    """A cluster in a folder of its own, on free ports, until the `with` block ends.

    Args:
        engine: of `ENGINES`.
        folder: for its logs and process ids.
        task_managers: how many Flink has.

    Raises:
        MissingEngineError: the engine is not to be had here.
        BenchmarkError: it did not start.
    """

    def __init__(self, engine: str, folder: Path, task_managers: int = 2) -> None:
        self.engine, self.folder = engine, folder
        self._environment = os.environ | {name: str(_free_port()) for name in _PORTS}
        self._environment |= {"CLUSTER_FOLDER": str(folder), "TASK_MANAGERS": str(task_managers)}
        started = self._run("start", engine)
        if started.returncode:
            self._run("stop")
            missing = started.returncode == _NOT_TO_BE_HAD
            raise (MissingEngineError if missing else BenchmarkError)(started.stderr.strip())
        self.options = started.stdout.splitlines()[-1]

    def __enter__(self) -> Cluster:
        """Return the cluster itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Stop it."""
        self._run("stop")

    def workers(self) -> list[int]:
        """Return the ids of the Python workers' processes, in the order of their starts."""
        text = (self.folder / "pool.log").read_text()
        return [int(found) for found in re.findall(r"^worker .*: process (\d+)$", text, re.M)]

    def process(self, name: str) -> int:
        """Return the id of a part's process, such as `task-manager-1`."""
        return int((self.folder / f"{name}.pid").read_text().split()[0])

    def start_task_manager(self, number: int) -> None:
        """Start a task manager again that died, as a cluster's supervisor does."""
        self._run("task-manager", str(number)).check_returncode()

    def _run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command: list[Any] = [_SCRIPT, *arguments]
        return subprocess.run(command, env=self._environment, capture_output=True, text=True)


@benchmark
def clusters(setting: Setting) -> list[Result]:
    """Frames a second of two workers beside one, with what starts the pipeline, on each engine.

    Before that FnApiRunner beside the plain build, each with all cores. On Flink a worker is a task
    manager with a Python worker; on Prism, which has one Python worker, it is a process beside
    that. Where an engine is not to be had it is left out.
    """
    episodes, steps = (8, 20) if setting.quick else (32, 80)
    results = []
    with tempfile.TemporaryDirectory(prefix="dlr-benchmark-") as name:
        folder = Path(name)
        source = folder / "episodes"
        in_fresh_process(record, source / "x.hdf5", episodes, steps, setting.assets)
        what = f"{episodes} episodes of {steps} steps, 2 x {_SIZE_PX} px"
        local = Beam(("--runner=FnApiRunner",), str(folder))
        pairs = [
            (
                _rate(folder / "local", source, setting, local),
                _rate(folder / "plain", source, setting, Processes()),
            )
        ]
        results.append(
            summarise(f"frames of FnApiRunner / of the plain build, {what}", _UNIT, pairs)
        )
        for engine in ENGINES:
            try:
                pairs = [
                    (
                        _on_cluster(folder / f"{engine}-{turn}-2", engine, 2, source, setting),
                        _on_cluster(folder / f"{engine}-{turn}-1", engine, 1, source, setting),
                    )
                    for turn in range(setting.repetitions(2))
                ]
            except MissingEngineError:
                continue
            title = f"frames of two workers / of one, {engine}, {what}"
            results.append(summarise(title, _UNIT, pairs, Target(1.6)))
    return results


def _on_cluster(folder: Path, engine: str, workers: int, source: Path, setting: Setting) -> float:
    """Return the frames a second of a build on a new cluster."""
    with Cluster(engine, folder / "cluster", workers) as cluster:
        beside = workers if engine == "prism" else 1
        backend = Beam(beam_options(cluster.options), str(folder), beside)
        return _rate(folder / "work", source, setting, backend)


def _rate(folder: Path, source: Path, setting: Setting, backend: Backend) -> float:
    """Return the frames a second of a build in a folder of its own."""
    refs = list_episodes(source, "dlr")
    pictures = PictureConfig(_SIZE_PX, assets=str(setting.assets.path))
    shards = plan_shards("x", {"train": refs}, pictures, folder)
    work = functools.partial(write_shards, shards, folder, backend)
    return wall_rate(work, 2 * sum(ref.steps for ref in refs))


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
