"""What all benchmarks share: a registry, results as a table and as JSON, interleaved timing."""

from __future__ import annotations

import dataclasses
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from simulation.assets import AssetPack
from simulation.files import write_json


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
    """Unit of `ours` and `peer`; with `/s` more is better, with `MB` less."""


@dataclass(frozen=True)
class Setting:
    """What a benchmark runs on."""

    assets: AssetPack
    """Meshes and textures of the scene."""
    quick: bool
    """Whether to repeat as little as still gives a number."""

    @property
    def repetitions(self) -> int:
        """How often each side is measured, in turn."""
        return 3 if self.quick else 11


Benchmark = Callable[[Setting], Sequence[Result]]
BENCHMARKS: dict[str, Benchmark] = {}
"""Name on the command line -> benchmark, filled by `benchmark`."""


def benchmark(function: Benchmark) -> Benchmark:
    """Register a benchmark under its function's name."""
    BENCHMARKS[function.__name__] = function
    return function


def compare_rates(
    name: str,
    unit: str,
    repetitions: int,
    ours: Callable[[], float],
    peer: Callable[[], float],
) -> Result:
    """Measure both sides in turn; each callable returns a rate, more is better."""
    return summarise(name, unit, [(ours(), peer()) for _ in range(repetitions)])


def summarise(name: str, unit: str, pairs: Sequence[tuple[float, float]]) -> Result:
    """Return the medians of (ours, peer) pairs, one pair a repetition."""
    return Result(
        name,
        statistics.median(mine for mine, _ in pairs),
        statistics.median(theirs for _, theirs in pairs),
        statistics.median(mine / theirs for mine, theirs in pairs),
        unit,
    )


def cpu_rate(work: Callable[[], object], count: int) -> float:
    """Return how many of the `count` units that `work` does fit into a second of this thread.

    CPU time, which other processes on the machine disturb less than wall time.
    """
    start = time.thread_time()
    work()
    return count / (time.thread_time() - start)


def wall_rate(work: Callable[[], object], count: int) -> float:
    """Return how many of the `count` units that `work` does fit into a second of wall time."""
    start = time.perf_counter()
    work()
    return count / (time.perf_counter() - start)


def table(results: Sequence[Result]) -> str:
    """Return the results as aligned text."""
    width = max(len(result.name) for result in results)
    lines = [f"{'':<{width}}  {'ours':>10}  {'peer':>10}  {'ratio':>7}  unit"]
    lines += [
        f"{r.name:<{width}}  {r.ours:>10.4g}  {r.peer:>10.4g}  {r.ratio:>7.3g}  {r.unit}"
        for r in results
    ]
    return "\n".join(lines)


def write_results(results: Sequence[Result], path: Path) -> None:
    """Write the results as a JSON list, atomically.

    Raises:
        OutputError: the file cannot be written.
    """
    write_json(path, [dataclasses.asdict(result) for result in results])
