"""The episodes of results as comma-separated values, a row each."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import astuple, fields
from pathlib import Path

from eval_harness.perturbations.arms import is_arms, load_arms
from eval_harness.perturbations.table import read_condition
from eval_harness.results import EpisodeResult, Results, load_results
from eval_harness.sequential.stopped import read_stop
from reports.evaluation_tables import policy_name

_OF_RESULTS = (
    "results", "policy", "protocol", "assets", "evaluation_seed", "axes", "level", "suite",
)  # fmt: skip
_OF_EPISODE = tuple(field.name for field in fields(EpisodeResult))
COLUMNS = (*_OF_RESULTS, *_OF_EPISODE, "counted")
"""Heads of the columns. `axes` is empty and `level` 0 where nothing is perturbed; `success` is
1 or 0, and empty for an error, which is no failure; `init_index` is -1 for another start; `counted`
is 0 for an episode that ran beyond where a rule stopped the evaluation, which no rate holds, and 1
for all others."""


def to_csv(folders: Sequence[Path]) -> str:
    """Return the episodes of results folders, and of folders of arms, as CSV with a head.

    Raises:
        ResultsError: a folder is missing or damaged.
    """
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(COLUMNS)
    for folder in folders:
        for results in load_arms(folder).values() if is_arms(folder) else [load_results(folder)]:
            writer.writerows(_rows(results))
    return stream.getvalue()


def _rows(results: Results) -> Iterator[list[object]]:
    config = results.config
    condition = read_condition(config["protocol"])
    axes = "+".join(one.axis for one in condition)
    common = [
        str(results.folder),
        policy_name(config["policy"]),
        config["protocol"]["name"],
        config["assets"]["name"],
        config["seed"],
        axes,
        max((one.level for one in condition), default=0),
    ]
    stopped = read_stop(results.folder)
    for episode in results.episodes:
        values = dict(zip(_OF_EPISODE, astuple(episode), strict=True))
        values["success"] = "" if episode.error is not None else int(episode.success)
        counted = int(stopped is None or episode.episode < stopped[1].rounds)
        yield [*common, episode.task.split("/")[0], *values.values(), counted]
