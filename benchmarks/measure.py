"""What all benchmarks share: a registry, targets, interleaved timing, and fresh processes."""

from __future__ import annotations

import math
import os
import platform
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from common.errors import DlrError, WorkerError
from common.versions import package_versions
from common.workers import run_in_fresh_process
from simulation.assets.resolve import AssetPack

_PACKAGES = (
    "dlr-vla",
    "hf-libero",
    "robosuite",
    "mujoco",
    "numpy",
    "numba",
    "tensorflow-cpu",
    "tensorflow-datasets",
)


class BenchmarkError(DlrError, ValueError):
    """There is no such benchmark, or one could not be finished."""


@dataclass(frozen=True)
class Target:
    """What a ratio should reach."""

    bound: float
    """The ratio."""
    at_most: bool = False
    """Whether the ratio should be at most `bound`; otherwise it should be at least that."""

    def met(self, ratio: float) -> bool:
        """Return whether a ratio reaches the target."""
        return ratio <= self.bound if self.at_most else ratio >= self.bound

    def __str__(self) -> str:
        """Return it as `>= 4` or `<= 0.05`."""
        return f"{'<=' if self.at_most else '>='} {self.bound:g}"


@dataclass(frozen=True)
class Result:
    """One comparison."""

    name: str
    """What was compared, ours with whose."""
    ours: float
    """Our median."""
    peer: float
    """The peer's median."""
    ratio: float
    """Median over the repetitions of ours / peer of the same repetition."""
    unit: str
    """Unit of `ours` and `peer`; with `/s` more is better, with `ms`, `s` and `MB` less."""
    low: float
    """Least ratio of a repetition; of a mean over tasks, of a task."""
    high: float
    """Greatest such ratio."""
    repetitions: int
    """How often both sides were measured, in turn."""
    target: Target | None = None
    """What the ratio should reach, or None where the comparison only informs."""

    def as_json(self) -> dict[str, Any]:
        """Return the result as plain JSON types, with `met` saying whether it met its target."""
        return {
            **vars(self),
            "target": str(self.target) if self.target else None,
            "met": self.target.met(self.ratio) if self.target else None,
        }


@dataclass(frozen=True)
class Setting:
    """What a benchmark runs on."""

    assets: AssetPack
    """Meshes and textures of the scene."""
    quick: bool
    """Whether to repeat as little as still gives a number."""

    def repetitions(self, full: int) -> int:
        """Return how often each side is measured, in turn, where a full run does it `full` times.

        A quick run does it a quarter as often.
        """
        return math.ceil(full / 4) if self.quick else full


Benchmark = Callable[[Setting], Sequence[Result]]
BENCHMARKS: dict[str, Benchmark] = {}
"""Name on the command line -> benchmark, filled by `benchmark`."""


def benchmark(function: Benchmark) -> Benchmark:
    """Register a benchmark under its function's name.

    It is run in a process of its own and returns no results where it does not apply.
    """
    BENCHMARKS[function.__name__] = function
    return function


def summarise(
    name: str, unit: str, pairs: Sequence[tuple[float, float]], target: Target | None = None
) -> Result:
    """Return the medians and the range of (ours, peer) pairs, one pair a repetition."""
    ratios = [mine / theirs for mine, theirs in pairs]
    return Result(
        name,
        statistics.median(mine for mine, _ in pairs),
        statistics.median(theirs for _, theirs in pairs),
        statistics.median(ratios),
        unit,
        min(ratios),
        max(ratios),
        len(pairs),
        target,
    )


def compare(
    name: str,
    unit: str,
    repetitions: int,
    ours: Callable[[], float],
    peer: Callable[[], float],
    target: Target | None = None,
) -> Result:
    """Measure both sides in turn; each callable returns one measurement."""
    return summarise(name, unit, [(ours(), peer()) for _ in range(repetitions)], target)


def geometric_mean(name: str, results: Sequence[Result], target: Target | None = None) -> Result:
    """Return the geometric mean of results of the same unit; its range is theirs."""
    return Result(
        f"{name}, geometric mean",
        statistics.geometric_mean(result.ours for result in results),
        statistics.geometric_mean(result.peer for result in results),
        statistics.geometric_mean(result.ratio for result in results),
        results[0].unit,
        min(result.ratio for result in results),
        max(result.ratio for result in results),
        results[0].repetitions,
        target,
    )


def worst(name: str, results: Sequence[Result], target: Target) -> Result:
    """Return the result that is furthest from the target, as the one that is to be quoted."""
    last = (max if target.at_most else min)(results, key=lambda result: result.ratio)
    return replace(last, name=f"{name}, least of {len(results)}", target=target)


def cpu_rate(work: Callable[[], object], count: int) -> float:
    """Return how many of the `count` units that `work` does fit into a second of this thread.

    CPU time, which other processes on the machine disturb less than wall time.
    """
    start = time.thread_time()
    work()
    return count / (time.thread_time() - start)


def wall_rate(work: Callable[[], object], count: int) -> float:
    """Return how many of the `count` units that `work` does fit into a second of wall time."""
    return count / wall_time(work)


def wall_time(work: Callable[[], object]) -> float:
    """Return the seconds of wall time that `work` takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def describe_versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that are measured."""
    return {"python": platform.python_version(), **package_versions(_PACKAGES)}


def describe_rendering() -> dict[str, str]:
    """Return the OpenGL backend and driver. Draws in a process of its own.

    Raises:
        RenderError: no OpenGL renders here.
    """
    from simulation.pictures.graphics import find_backend

    backend = find_backend()
    return {"backend": backend.name, "driver": backend.driver}


def in_fresh_process[Value](function: Callable[..., Value], *arguments: Any) -> Value:
    """Return `function(*arguments)`, computed in a new process that ends afterwards.

    OpenGL, TensorFlow and memory of one measurement so do not touch another. What libraries
    print goes to standard error.

    Raises:
        BenchmarkError: the process died.
    """
    try:
        return run_in_fresh_process(_printing_to_stderr, function, *arguments)
    except WorkerError as error:
        raise BenchmarkError(
            f"the process of {function.__name__} died (out of memory, or a driver's crash?): "
            "leave it out with --only, or try --quick"
        ) from error


def _printing_to_stderr[Value](function: Callable[..., Value], *arguments: Any) -> Value:
    os.dup2(2, 1)
    return function(*arguments)
