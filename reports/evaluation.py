"""The report of an evaluation: tables, JSON, and one page that stands alone, with videos."""

from __future__ import annotations

import json
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from common.files import write_text
from common.json_files import parse_sealed, whole_lines
from eval_harness.compare import Comparison, compare_folders
from eval_harness.published.figures import PublishedComparison, compare_published
from eval_harness.results import TIMING, TRAJECTORIES, Results, ResultsError, summarise
from eval_harness.sequential.rules import Stop
from eval_harness.sequential.stopped import load_counted, stop_text
from eval_harness.timing import Timing
from reports import evaluation_tables as tables
from reports.evaluation_page import to_html
from reports.video import Scene, VideoSettings, draw_differing, draw_failures

PAGE, NUMBERS = "report.html", "report.json"
FORMAT_VERSION = 2


def write_report(
    folder: Path,
    baseline: Path | None = None,
    out: Path | None = None,
    videos: VideoSettings | None = None,
    allow_different: bool = False,
    resample_tasks: bool = False,
    assets: Path | None = None,
    published: str | None = None,
    console: Console | None = None,
) -> tuple[Path, Path]:
    """Print the tables and write `report.html` and `report.json`, each atomically.

    Args:
        folder: results folder of the evaluation.
        baseline: results folder of one to compare it with.
        out: folder to write to; by default `folder`.
        videos: which episodes to draw, and how; None for no videos.
        allow_different: compare although more than the policy differs; the page then says so.
        resample_tasks: see `compare.compare`.
        assets: folder of assets to draw videos with; by default the one every command finds.
        published: name of a checkpoint whose published success to compare with.
        console: to print to; by default standard output.

    Returns:
        The paths of the page and of the numbers.

    Raises:
        ResultsError: a folder is missing or damaged, or a trajectory to draw.
        ComparisonError: the two evaluations cannot be compared.
        AssetError: videos are asked for, and the evaluation's assets are not at hand.
        OutputError: the folder cannot be written.
    """
    results, stop = load_counted(folder)
    comparison = (
        None
        if baseline is None
        else compare_folders(baseline, folder, allow_different, resample_tasks)
    )
    summary = summarise(results)
    console = console or Console()
    tables.print_summary(summary, console)
    if text := stop_text(results, stop):
        console.print(Text(text))
    if comparison is not None:
        tables.print_comparison(comparison, console)
    beside = None if published is None else compare_published(published, summary, results.config)
    if beside is not None:
        tables.print_published(beside, console)
    remarks = [] if videos is None else _unstored(results)
    for remark in remarks:
        console.print(Text(remark))
    scenes: list[Scene] = []
    if videos is not None:
        scenes += draw_differing(comparison, videos, assets) if comparison else []
        scenes += draw_failures(results, videos, assets)
    page, numbers = (out or folder) / PAGE, (out or folder) / NUMBERS
    write_text(numbers, json.dumps(to_json(results, stop, comparison, beside), indent=2) + "\n")
    split = time_split(results)
    write_text(page, to_html(results, stop, comparison, scenes, split, beside, remarks))
    return page, numbers


def _unstored(results: Results) -> list[str]:
    """Return a sentence on failures that cannot be shown, where there are any."""
    failed = [r for r in results.episodes if r.error is None and not r.success]
    lacking = sum(not results.is_stored(result) for result in failed)
    if not lacking:
        return []
    return [
        f"{lacking} of {len(failed)} failures cannot be shown: {results.folder / TRAJECTORIES} "
        "does not hold their episodes. Copy the whole results folder, or ask for no videos "
        "(--no-videos)."
    ]


def to_json(
    results: Results,
    stop: Stop | None = None,
    comparison: Comparison | None = None,
    published: PublishedComparison | None = None,
) -> dict[str, Any]:
    """Return every number of the report."""
    return {
        "format_version": FORMAT_VERSION,
        "summary": summarise(results),
        "stop": asdict(stop) if stop else None,
        "errors": [asdict(result) for result in results.episodes if result.error is not None],
        "time": time_split(results),
        "config": results.config,
        "comparison": comparison.as_dict() if comparison else None,
        "published": published.as_dict() if published else None,
    }


def time_split(results: Results) -> dict[str, Any] | None:
    """Return where the time of all runs into a results folder went, seconds; None if unknown.

    Sums of `timing.Timing.as_dict` over the lines of `timing.jsonl`, the overhead anew. Runs that
    were killed left no line.
    """
    remedy = "delete that line; it changes no outcome"
    runs = [
        parse_sealed(line, where, "where the time went", ResultsError, remedy)
        for where, line in whole_lines(results.folder / TIMING)
    ]
    if not runs:
        return None
    purposes = [f.name for f in fields(Timing)]
    total = Timing(**{name: sum(run[name] for run in runs) for name in purposes})
    return {"runs": len(runs), **total.as_dict()}
