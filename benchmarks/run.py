"""`python -m benchmarks.run`: run the benchmarks, print a table, write `results.json`."""

from __future__ import annotations

import datetime
import importlib
import os
import sys
import time
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from benchmarks.measure import Result, Setting

RESULTS = Path(__file__).with_name("results.json")
_MODULES = (
    "stepping", "rendering", "memory", "evaluation", "dataset", "building", "clusters", "reader",
    "cloud", "training",
)  # fmt: skip
"""Modules that register benchmarks, in the order in which these run."""


def run(
    assets: Path | None = None,
    quick: bool = False,
    only: tuple[str, ...] = (),
    output: Path = RESULTS,
) -> None:
    """Compare our speed with the peers', side by side in one run.

    Each benchmark has a process of its own, in which the two sides are measured in turn; a ratio
    is the median over the repetitions, with its range. The files are written after each of them.

    Args:
        assets: `libero`, `embedded` or a folder of assets; by default the first that `dlr assets`
            lists. With LIBERO's own, rendering them is compared with the embedded pack.
        quick: few repetitions and small datasets, for a rough answer.
        only: names of benchmarks to run; by default all.
        output: JSON file to write, a list of {name, ours, peer, ratio, unit, ...}; beside it,
            `<name>_metadata.json` says what was measured with what.

    Raises:
        BenchmarkError: a name is unknown, or benchmarks failed; the others' results are written.
        AssetError: the assets asked for are missing or incomplete.
        RenderError: no OpenGL renders here.
        OutputError: the results cannot be written.
    """
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    from benchmarks.measure import BENCHMARKS, BenchmarkError, Setting
    from common.files import ensure_writable
    from simulation.assets.resolve import resolve_assets

    for module in _MODULES:
        importlib.import_module(f"benchmarks.{module}")
    unknown = sorted(set(only) - set(BENCHMARKS))
    if unknown:
        raise BenchmarkError(
            f"no benchmark {', '.join(unknown)}; there are {', '.join(BENCHMARKS)}"
        )
    ensure_writable(output.parent)
    setting = Setting(resolve_assets(assets), quick)
    metadata = _describe(setting, only)
    print(header(metadata), flush=True)
    results: list[Result] = []
    for name in only or BENCHMARKS:
        print(f"running {name} ...", file=sys.stderr, flush=True)
        results += _measure(name, setting, metadata)
        _write(output, results, metadata)
    print(table(results))
    if metadata["failed"]:
        raise BenchmarkError("; ".join(f"{k}: {v}" for k, v in metadata["failed"].items()))


def _measure(name: str, setting: Setting, metadata: dict[str, Any]) -> Sequence[Result]:
    """Return a benchmark's results; none if it fails, whatever stops it.

    Args:
        name: of the benchmark.
        setting: what it runs on.
        metadata: is told how long it took, or why it failed.
    """
    from benchmarks.measure import BENCHMARKS, in_fresh_process
    from common.errors import DlrError, one_line

    start = time.monotonic()
    try:
        found = in_fresh_process(BENCHMARKS[name], setting)
    except DlrError as error:
        metadata["failed"][name] = str(error)
        return []
    except Exception as error:  # noqa: BLE001 (the others are measured all the same)
        traceback.print_exc()
        metadata["failed"][name] = f"{type(error).__name__}: {one_line(error)}"
        return []
    metadata["seconds" if found else "skipped"][name] = round(time.monotonic() - start, 1)
    return found


def _write(output: Path, results: Sequence[Result], metadata: dict[str, Any]) -> None:
    """Write the results, and beside them what they were measured with."""
    from common.files import write_json

    write_json(output, [result.as_json() for result in results])
    write_json(output.with_name(f"{output.stem}_metadata.json"), metadata)


def _describe(setting: Setting, only: Sequence[str]) -> dict[str, Any]:
    """Return what the run is measured with, plain JSON types."""
    from benchmarks.measure import describe_rendering, describe_versions, in_fresh_process
    from common.machine import describe_environment, describe_machine

    return {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "quick": setting.quick,
        "only": list(only),
        "assets": {"name": setting.assets.name, "digest": setting.assets.digest},
        "machine": describe_machine(),
        "versions": describe_versions(),
        "rendering": in_fresh_process(describe_rendering),
        "environment": describe_environment(),
        "ratio": "median over the repetitions of ours / peer; low and high are their range",
        "seconds": {},
        "skipped": {},
        "failed": {},
    }


def header(metadata: dict[str, Any]) -> str:
    """Return the run's machine, assets and versions as text."""
    machine, assets, rendering = metadata["machine"], metadata["assets"], metadata["rendering"]
    versions = ", ".join(f"{name} {version}" for name, version in metadata["versions"].items())
    cpu, cores, load = machine["cpu"], machine["cores"], machine["load_average"][0]
    return "\n".join(
        [
            f"machine:   {cpu}, {cores} cores, load {load}",
            f"rendering: {rendering['backend']}, {rendering['driver']}",
            f"assets:    {assets['name']} ({assets['digest'][:16]})",
            f"versions:  {versions}",
            "ratio = ours / peer, median and range over the repetitions of one run",
            "",
        ]
    )


def table(results: Sequence[Result]) -> str:
    """Return the results as aligned text, each ratio beside its target and PASS or short."""
    rows = [("", "ours", "peer", "unit", "ratio", "range", "target", "")]
    for r in results:
        verdict = "" if r.target is None else "PASS" if r.target.met(r.ratio) else "short"
        rows.append(
            (
                r.name,
                f"{r.ours:.4g}",
                f"{r.peer:.4g}",
                r.unit,
                f"{r.ratio:.3g}",
                f"{r.low:.3g} to {r.high:.3g}" if r.low < r.high else "",
                str(r.target or ""),
                verdict,
            )
        )
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        "  ".join(
            f"{cell:>{width}}" if column in (1, 2, 4) else f"{cell:<{width}}"
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )


if __name__ == "__main__":
    import tyro

    from common.errors import DlrError

    try:
        tyro.cli(run, prog="python -m benchmarks.run")
    except DlrError as error:
        sys.exit(f"benchmarks: {error}")
