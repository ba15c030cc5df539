"""Shards, or seeds, of one evaluation put together into one results folder."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from common.errors import OutputError
from common.files import output_errors, write_bytes
from common.json_files import build, sealed_line, write_sealed
from common.locks import lock_file
from eval_harness.results import (
    CONFIG,
    EPISODES,
    TIMING,
    EpisodeResult,
    Results,
    ResultsError,
    check_same,
    load_results,
    planned,
    trajectory_path,
)
from eval_harness.sequential.rules import StoppingRule, find_stop
from eval_harness.sequential.stopped import STOP, table_of, write_stop

Pooled = dict[tuple[str, int], tuple[EpisodeResult, Results, int]]
"""Task and episode of the whole -> the episode under its new number, where it is from, and its
number there."""


@contextmanager
def whole_folder(out: Path) -> Iterator[Path]:
    """Yield the path of a hidden folder to make and fill, which then becomes the new folder `out`.

    After an exception there is no trace of it; what a killed process left is thrown away by the
    next that writes `out`.

    Raises:
        OutputError: the folder cannot be written, or holds something already.
        BusyError: another process writes it.
    """
    out = out.resolve()
    with lock_file(out), output_errors(out):
        if out.exists() and any(out.iterdir()):
            raise OutputError(f"{out} is not empty: give a new folder")
        unfinished = out.with_name(f".{out.name}.merging")
        if unfinished.exists():
            shutil.rmtree(unfinished)
        try:
            yield unfinished
            unfinished.rename(out)
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)


def merge(folders: Iterable[Path], out: Path) -> Results:
    """Put shards of one evaluation together, trajectories included, into a new folder.

    Where they were run with a stopping rule, the episodes of all decide where it stops.

    Raises:
        ResultsError: they are of different evaluations or rules, or disagree on an episode.
        OutputError: the folder cannot be written, or holds something already.
    """
    parts = [load_results(folder) for folder in folders]
    if not parts:
        raise ResultsError("name at least one results folder to merge")
    chosen: Pooled = {}
    for part in parts:
        if part.config["seed"] != parts[0].config["seed"]:
            raise ResultsError(
                f"{part.folder} holds results of another seed: {part.config['seed']} there, "
                f"{parts[0].config['seed']} here. "
                "Whole evaluations of several seeds are merged with --seeds."
            )
        check_same(parts[0].config, part.config, part.folder)
        if part.config.get("rule") != parts[0].config.get("rule"):
            raise ResultsError(
                f"{part.folder} and {parts[0].folder} were run with other stopping rules: run "
                "both with one"
            )
        for result in part.episodes:
            known = chosen.get(result.key)
            if known is None or known[0].error is not None:
                chosen[result.key] = (result, part, result.episode)
            elif result.error is None and result.outcome != known[0].outcome:
                raise ResultsError(
                    f"{part.folder} and {known[1].folder} disagree on episode {result.episode} "
                    f"of {result.task}: they are not of one evaluation"
                )
    merged = [str(part.folder) for part in parts]
    config = {k: v for k, v in parts[0].config.items() if k != "shard"} | {"merged": merged}
    return _into(out, config, chosen, parts)


def merge_seeds(folders: Iterable[Path], out: Path) -> Results:
    """Put evaluations that differ in their seeds alone together, into a new folder.

    Raises:
        ResultsError: they differ in more, or one stopped early.
        OutputError: the folder cannot be written, or holds something already.
    """
    parts = [load_results(folder) for folder in folders]
    config, found = _pool(parts)
    config["merged"] = [str(part.folder) for part in parts]
    return _into(out, config, found, parts)


def _pool(parts: Sequence[Results]) -> tuple[dict[str, Any], Pooled]:
    """Return the configuration and the episodes of evaluations that differ in their seeds alone.

    Raises:
        ResultsError: they differ in more, or not in their seeds, or one stopped early.
    """
    seeds = [part.config["seed"] for part in parts]
    if len(parts) < 2 or len(set(map(str, seeds))) < len(parts) or not all(map(_is_one, seeds)):
        raise ResultsError(
            f"seeds are merged of two or more evaluations of one seed each, all different: {seeds}"
        )
    first, each = parts[0].config, parts[0].config["plan"]["episodes"]
    found: Pooled = {}
    for place, part in enumerate(parts):
        check_same(_seedless(first), _seedless(part.config), part.folder)
        if (part.folder / STOP).exists():
            raise ResultsError(f"{part.folder} stopped early: run it again without a rule")
        for result in part.episodes:
            moved = replace(result, episode=place * each + result.episode)
            found[moved.key] = (moved, part, result.episode)
    plan = {**first["plan"], "episodes": each * len(parts)}
    config = {**first, "seed": seeds, "plan": plan}
    for name in ("shard", "rule"):
        config.pop(name, None)
    return config, found


def _is_one(seed: object) -> bool:
    return isinstance(seed, int)


def _seedless(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return a configuration without its seed, and without what that draws of recordings."""
    starts = dict(config.get("starts") or {})
    starts.pop("first", None)
    return {**config, "seed": None, "starts": starts}


def _into(
    out: Path, config: Mapping[str, Any], chosen: Pooled, parts: Sequence[Results]
) -> Results:
    """Write a new results folder, whole or not at all, and return what it holds."""
    with whole_folder(out) as unfinished:
        _write_merged(unfinished, config, chosen, parts)
    return load_results(out.resolve())


def _write_merged(
    out: Path,
    config: Mapping[str, Any],
    chosen: Pooled,
    parts: Sequence[Results],
) -> None:
    """Write a results folder of chosen episodes, and what is known of the runs' time."""
    for result, part, episode in chosen.values():
        source = trajectory_path(part.folder, result.task, episode)
        if source.exists():
            write_bytes(trajectory_path(out, result.task, result.episode), source.read_bytes())
    order = [key for key in planned(config["plan"]) if key in chosen]
    lines = [sealed_line(asdict(chosen[key][0])) for key in order]
    times = [part.folder / TIMING for part in parts if (part.folder / TIMING).exists()]
    write_bytes(out / TIMING, b"".join(path.read_bytes() for path in times))
    write_bytes(out / EPISODES, b"".join(lines))
    write_sealed(out / CONFIG, config)
    if config.get("rule"):
        rule = build(StoppingRule, config["rule"])
        found = [result for result, *_ in chosen.values()]
        write_stop(out, rule, find_stop(table_of(config["plan"], found), rule))
