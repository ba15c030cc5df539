"""Who takes part in the reference evaluation: their commands, and what they report."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.measure import BenchmarkError
from common.files import write_text
from eval_harness.results import load_results
from simulation.assets.resolve import AssetPack
from simulation.tasks import Task

_ROOT = Path(__file__).resolve().parents[1]
_SERVER_S = 300.0
"""Seconds in which vla-eval's server must be ready."""
Outcomes = dict[tuple[str, int], bool]
"""(task, episode) -> success."""


@dataclass(frozen=True)
class Job:
    """What every contender is given."""

    checkpoint: Path
    """Folder of the policy."""
    assets: AssetPack
    """Asset pack."""
    tasks: tuple[Task, ...]
    """Tasks, of one suite."""
    trials: int
    """Episodes of each task."""
    work: Path
    """Folder for all that a contender writes."""


@dataclass(frozen=True)
class Cost:
    """What a run took, start-up and all."""

    wall_s: float
    """Seconds by the clock."""
    cpu_s: float
    """Seconds of all its processes on all cores."""
    load_before: tuple[float, ...]
    """Average load of the machine over 1, 5 and 15 minutes."""
    load_after: tuple[float, ...]
    """The same afterwards."""


@dataclass(frozen=True)
class Contender:
    """A harness."""

    protocol: str
    """The protocol of ours that it follows, and that ours is run under beside it."""
    run: Callable[[Job, str], Cost]
    """Runs the job with a protocol."""
    read: Callable[[Job], Outcomes]
    """Returns what came out."""


def run_ours(job: Job, protocol: str) -> Cost:
    """Run our harness in a process of its own."""
    return _measure([_worker("ours", job, protocol, job.work / "results")], job)


def read_ours(job: Job) -> Outcomes:
    """Return the outcomes of our results folder.

    Raises:
        BenchmarkError: an episode is an error.
    """
    episodes = load_results(job.work / "results").episodes
    if errors := [result.error for result in episodes if result.error]:
        raise BenchmarkError(f"{len(errors)} of our episodes are errors: {errors[0]}")
    return {result.key: result.success for result in episodes}


def run_sequential(job: Job, protocol: str) -> Cost:
    """Run the usual scripts' loop."""
    return _measure([_worker("sequential", job, protocol, job.work / "outcomes.json")], job)


def read_sequential(job: Job) -> Outcomes:
    """Return its outcomes."""
    outcomes = json.loads((job.work / "outcomes.json").read_text())
    return {(entry["task"], entry["episode"]): entry["success"] for entry in outcomes}


def run_lerobot(job: Job, protocol: str) -> Cost:
    """Run `lerobot-eval` with its defaults, videos of each task's first ten episodes included."""
    command = [
        str(Path(sys.executable).with_name("lerobot-eval")),
        "--env.discover_packages_path=benchmarks.reference.policy",
        f"--policy.path={job.checkpoint}",
        "--env.type=libero",
        f"--env.task={job.tasks[0].suite}",
        f"--env.task_ids={[task.index for task in job.tasks]}",
        f"--eval.n_episodes={job.trials}",
        f"--output_dir={job.work}",
    ]
    return _measure([command], job)


def read_lerobot(job: Job) -> Outcomes:
    """Return the outcomes of its `eval_info.json`, a list for each task."""
    entries = json.loads((job.work / "eval_info.json").read_text())["per_task"]
    keys = {task.index: task.key for task in job.tasks}
    return {
        (keys[entry["task_id"]], episode): bool(success)
        for entry in entries
        for episode, success in enumerate(entry["metrics"]["successes"])
    }


def run_vla_eval(job: Job, protocol: str) -> Cost:
    """Run `vla-eval run --no-docker` in its defaults, beside its own model server."""
    entry = {
        "benchmark": "vla_eval.benchmarks.libero.benchmark:LIBEROBenchmark",
        "subname": job.tasks[0].suite,
        "episodes_per_task": job.trials,
        "tasks": [task.language for task in job.tasks],
        "params": {"suite": job.tasks[0].suite, "seed": 7},
    }
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = {"url": f"ws://127.0.0.1:{port}"}
    config = job.work / "config.yaml"
    write_text(config, json.dumps({"server": server, "benchmarks": [entry]}))
    serve = _module("vla-eval-server", "--checkpoint", job.checkpoint, "--port", port)
    client = [str(Path(sys.executable).with_name("vla-eval")), "run", "--no-docker"]
    client += ["--config", str(config), "--output-dir", str(job.work / "results")]
    return _measure([serve, client], job, f"http://127.0.0.1:{port}/health")


def read_vla_eval(job: Job) -> Outcomes:
    """Return the outcomes of its aggregate file.

    Raises:
        BenchmarkError: an episode is an error.
    """
    (file,) = (job.work / "results").glob("*_aggregate.json")
    keys = {task.language: task.key for task in job.tasks}
    found = {}
    for entry in json.loads(file.read_text())["tasks"]:
        for episode in entry["episodes"]:
            if episode.get("failure_reason"):
                raise BenchmarkError(f"an episode of vla-eval's failed: {episode}")
            success = bool(episode["metrics"]["success"])
            found[keys[entry["task"]], int(episode["episode_id"])] = success
    return found


CONTENDERS: dict[str, Contender] = {
    "sequential": Contender("openvla_oft", run_sequential, read_sequential),
    "lerobot-eval": Contender("lerobot", run_lerobot, read_lerobot),
    "vla-eval": Contender("vla_eval", run_vla_eval, read_vla_eval),
}
"""Name -> contender."""


def _module(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "benchmarks.reference.workers", *map(str, arguments)]


def _worker(name: str, job: Job, protocol: str, out: Path) -> list[str]:
    options = {
        "--checkpoint": job.checkpoint,
        "--out": out,
        "--protocol": protocol,
        "--trials": job.trials,
        "--assets": job.assets.path,
    }
    arguments = [word for option in options.items() for word in option]
    return _module(name, *arguments, "--tasks", *(task.key for task in job.tasks))


def _measure(commands: Sequence[Sequence[str]], job: Job, ready: str | None = None) -> Cost:
    """Run a command to its end, beside servers that come before it, and return what all took.

    Args:
        commands: the servers' commands, and at last the one that ends.
        job: what is run.
        ready: address that answers once the server is ready.

    Raises:
        BenchmarkError: the command failed; its output is in the job's folder.
    """
    before, begun, log = os.getloadavg(), time.perf_counter(), job.work / "output.txt"
    with contextlib.ExitStack() as stack, log.open("wb") as output:
        environment = stack.enter_context(_environment(job))
        times = [
            stack.enter_context(_process(command, environment, output)) for command in commands[:-1]
        ]
        if ready is not None:
            _wait_for(ready)
        with _process(commands[-1], environment, output, wait=True) as last:
            pass
        wall = time.perf_counter() - begun
    if last["status"] != 0:
        raise BenchmarkError(f"{commands[-1][0]} failed: see {log}")
    cpu = sum(entry["cpu_s"] for entry in (*times, last))
    return Cost(wall, cpu, before, os.getloadavg())


@contextlib.contextmanager
def _process(
    command: Sequence[str], environment: Mapping[str, str], output: Any, wait: bool = False
) -> Iterator[dict[str, float]]:
    """Run a command; on leaving, wait for it or kill it, and fill in its status and CPU time."""
    process = subprocess.Popen(
        command, cwd=_ROOT, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output
    )
    found: dict[str, float] = {}
    try:
        yield found
        if not wait:
            process.kill()
    except BaseException:
        process.kill()
        raise
    finally:
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        found.update(status=process.returncode, cpu_s=usage.ru_utime + usage.ru_stime)


@contextlib.contextmanager
def _environment(job: Job) -> Iterator[dict[str, str]]:
    """Give every contender the same renderer, and upstream the asset pack where it looks for it.

    hf-libero takes `~/.cache/libero/assets` for assets that it has downloaded before.
    """
    from simulation.pictures.graphics import find_backend
    from simulation.tasks import import_libero

    import_libero()
    home, backend = job.work / "home", find_backend().name
    assets = home / ".cache" / "libero" / "assets"
    assets.parent.mkdir(parents=True, exist_ok=True)
    assets.unlink(missing_ok=True)
    assets.symlink_to(job.assets.path)
    caches = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    libero = os.environ.get("LIBERO_CONFIG_PATH", str(Path.home() / ".libero"))
    yield {
        **os.environ,
        "HOME": str(home),
        "XDG_CACHE_HOME": caches,
        "LIBERO_CONFIG_PATH": libero,
        "MUJOCO_GL": backend,
        "PYOPENGL_PLATFORM": backend,
        "PYTHONPATH": str(_ROOT),
        "HF_HUB_OFFLINE": "1",
    }


def _wait_for(address: str) -> None:
    """Wait until a server answers.

    Raises:
        BenchmarkError: it does not.
    """
    deadline = time.monotonic() + _SERVER_S
    while time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(address, timeout=5):
                return
        except (urllib.error.URLError, ConnectionError):
            time.sleep(0.1)
    raise BenchmarkError(f"{address} did not answer within {_SERVER_S:g} s")
