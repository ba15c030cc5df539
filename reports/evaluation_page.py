"""The page of a report: one HTML file without scripts or anything outside itself."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from eval_harness.compare import Comparison, Contrast
from eval_harness.published.figures import PublishedComparison
from eval_harness.results import Results, summarise
from eval_harness.seeds import seeds_text, starts_text
from eval_harness.sequential.rules import Stop
from eval_harness.sequential.stopped import stop_text
from reports import evaluation_tables as tables
from reports.pages import data_uri, render
from reports.video import Scene
from simulation.assets.embedded import PACK_NAME
from simulation.tasks import get_task

_PURPOSES = {
    "simulation": ("simulation", "#0072B2"),
    "rendering": ("rendering", "#56B4E9"),
    "preparation": ("preparing pictures", "#009E73"),
    "policy": ("policy", "#E69F00"),
    "other": ("harness", "#CC79A7"),
}
"""Purpose of `timing.Timing` -> what the page calls it, and its colour (Okabe and Ito's)."""


def to_html(
    results: Results,
    stop: Stop | None = None,
    comparison: Comparison | None = None,
    scenes: Sequence[Scene] = (),
    time: Mapping[str, Any] | None = None,
    published: PublishedComparison | None = None,
    remarks: Sequence[str] = (),
) -> str:
    """Return the page.

    Args:
        results: the evaluation.
        stop: where it stopped, if a rule ended it early.
        comparison: with another evaluation, or None.
        scenes: videos: of one episode a failure, of two the same episode of both evaluations.
        time: of `report.time_split`, or None.
        published: with what is published of a checkpoint, or None.
        remarks: what else the reader should know first, in sentences.
    """
    summary = summarise(results)
    failures = sum(not r.success for r in results.episodes if r.error is None)
    return render(
        "reports",
        "evaluation_template.html",
        policy=tables.policy_name(results.config["policy"]),
        facts=_facts(results),
        alerts=[*_alerts(results, summary, stop, comparison), *remarks],
        published=tables.published_texts(published) if published else None,
        headline=_headline(summary, stop),
        rows=[_row(*row) for row in tables.rows(summary)],
        errors=_errors(results),
        time=_time(time),
        comparison=_comparison(comparison) if comparison else None,
        pairs=[_figure(scene) for scene in scenes if len(scene.episodes) == 2],
        failures=[_figure(scene) for scene in scenes if len(scene.episodes) == 1],
        failure_count=failures,
        differing=len(comparison.discordant) if comparison else 0,
        config=json.dumps(results.config, indent=2, ensure_ascii=False),
    )


def _facts(results: Results) -> list[tuple[str, str]]:
    """Return what was evaluated, name and value."""
    config = results.config
    plan, protocol, assets = config["plan"], config["protocol"], config["assets"]
    simulator = ", ".join(f"{k} {v}" for k, v in config["simulator"].items())
    return [
        ("Protocol", f"{protocol['name']}, digest {config['protocol_digest'][:16]}"),
        ("Plan", f"{len(plan['tasks'])} task(s), {plan['episodes']} episodes each"),
        ("Seed", str(config["seed"]).strip("[]")),
        ("Assets", f"{assets['name']}, digest {assets['digest'][:16]}"),
        ("Simulator", simulator),
    ]


def _alerts(
    results: Results,
    summary: Mapping[str, Any],
    stop: Stop | None,
    comparison: Comparison | None,
) -> list[str]:
    """Return what a reader must know before the numbers, in sentences."""
    found = [
        f"The two evaluations are not the same {warning}. What follows compares them all the same."
        for warning in (comparison.warnings if comparison else ())
    ]
    if text := stop_text(results, stop):
        found.append(text)
    if summary["starts"]:
        found.append(starts_text(summary["starts"]))
    if summary["seeds"]:
        found.append(seeds_text(summary["seeds"]))
    preflight = results.config.get("preflight")
    if preflight and not preflight["passed"]:
        failed = [check["name"] for check in preflight["checks"] if check["status"] == "FAIL"]
        found.append(f"The preflight failed before this evaluation: {', '.join(failed)}.")
    if not summary["complete"]:
        entry = summary["all"]
        found.append(
            f"Incomplete: of {entry['planned']} planned episodes {entry['missing']} are missing "
            f"and {entry['errors']} are errors. A rate is given only where every planned episode "
            "has ended: those that have are not a fair sample, since successes end sooner."
        )
    if summary["assets"]["name"] == PACK_NAME:
        found.append(
            "Simulated with the embedded stand-in assets, not LIBERO's own: these rates compare "
            "policies with one another, not with published ones."
        )
    return found


def _row(kind: str, name: str, entry: Mapping[str, Any]) -> dict[str, Any]:
    """Return one row of the table of success."""
    rate, interval = tables.rate_texts(entry)
    return {
        "kind": kind,
        "name": _title(name) if kind == "task" else name,
        "key": name if kind == "task" else "",
        "rate": rate,
        "interval": interval,
        "bar": None if entry["rate"] is None else [100 * entry[k] for k in ("low", "rate", "high")],
        "ended": f"{entry['done']}/{entry['planned']}",
        "errors": entry["errors"],
        "missing": entry["missing"],
        "steps": tables.NONE if entry["rate"] is None else f"{entry['mean_steps']:.0f}",
    }


def _title(task: str) -> str:
    """Return a task's instruction."""
    return get_task(task).language


def _errors(results: Results) -> list[dict[str, Any]]:
    """Return each error with the episodes that it ended."""
    episodes: dict[str, list[str]] = {}
    for result in results.episodes:
        if result.error is not None:
            where = f"{_title(result.task)}, episode {result.episode}"
            episodes.setdefault(result.error, []).append(f"{where} ({result.attempts} attempts)")
    return [{"error": error, "episodes": found} for error, found in episodes.items()]


def _time(split: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Return the split of the time: shares of the threads' work, %, and words."""
    work = sum(split[name] for name in _PURPOSES) if split else 0.0
    if split is None or not work:
        return None
    return {
        "wall": _duration(split["wall"]),
        "runs": split["runs"],
        "overhead": f"{split['overhead']:.1%}",
        "parts": [
            {
                "name": name,
                "colour": colour,
                "share": 100 * split[key] / work,
                "seconds": _duration(split[key]),
            }
            for key, (name, colour) in _PURPOSES.items()
        ],
    }


def _duration(seconds: float) -> str:
    """Return a time as "1 h 05 min", "3 min 20 s" or "4.2 s"."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def _headline(summary: Mapping[str, Any], stop: Stop | None) -> dict[str, str]:
    """Return the mean success of all, or how much of it there is."""
    entry = summary["all"]
    rate, interval = tables.rate_texts(entry)
    if stop is not None:
        interval = f"{stop.low:.0%} to {stop.high:.0%}"
    ended = f"{entry['done']} of {entry['planned']} episodes ended"
    return {"rate": rate.capitalize(), "words": f"95% interval {interval}" if interval else ended}


def _comparison(comparison: Comparison) -> dict[str, Any]:
    """Return the table of a comparison; bars reach to the largest end of an interval."""
    ends = [
        abs(end)
        for contrast in comparison.contrasts
        if contrast.difference is not None
        for end in (contrast.difference.low, contrast.difference.high)
    ]
    reach = max(ends, default=0.0) or 1.0
    return {
        "baseline": tables.policy_name(comparison.baseline.config["policy"]),
        "baseline_folder": comparison.baseline.folder.name,
        "evaluated_folder": comparison.evaluated.folder.name,
        "rows": [
            {
                "kind": "task" if contrast.of_task else "suite",
                "name": _title(contrast.name) if contrast.of_task else contrast.name,
                "cells": tables.contrast_texts(contrast),
                "bar": _difference_bar(contrast, reach),
            }
            for contrast in comparison.contrasts
        ],
        "notes": tables.notes(comparison),
    }


def _difference_bar(contrast: Contrast, reach: float) -> dict[str, Any] | None:
    """Return an interval's ends and middle, % of the bar's width, and whom it favours."""
    difference = contrast.difference
    if difference is None:
        return None
    numbers = (difference.low, difference.value, difference.high)
    favours = "none"
    if difference.low > 0 or difference.high < 0:
        favours = "evaluated" if difference.low > 0 else "baseline"
    return {"at": [50 + 50 * number / reach for number in numbers], "favours": favours}


def _figure(scene: Scene) -> dict[str, Any]:
    """Return a video with its words."""
    first, clip = scene.episodes[0], scene.clip
    outcomes = [
        f"{'Success' if episode.success else 'Failure'} after {episode.steps} steps"
        for episode in scene.episodes
    ]
    if len(outcomes) == 2:
        outcomes = [f"Baseline: {outcomes[0]}", f"Evaluated: {outcomes[1]}"]
    start = f", init state {first.init_index}" if first.init_index >= 0 else ""
    return {
        "video": data_uri("video/mp4", clip.mp4),
        "poster": data_uri("image/jpeg", clip.poster),
        "width": clip.width,
        "height": clip.height,
        "title": _title(first.task),
        "where": f"Episode {first.episode}{start}",
        "outcome": "; ".join(outcomes),
    }
