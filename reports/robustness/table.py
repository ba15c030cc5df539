"""Retained success as a table on the terminal, and its numbers as JSON."""

from __future__ import annotations

import json
from pathlib import Path

from rich.console import Console
from rich.text import Text

from common.files import write_text
from eval_harness.perturbations.arms import load_arms
from eval_harness.perturbations.retained import SMALL, Retained, Robustness, measure_retained
from eval_harness.results import summarise
from eval_harness.seeds import count_starts, starts_text
from reports.evaluation_tables import (
    NONE,
    Row,
    p_text,
    points,
    policy_name,
    print_table,
    rate_texts,
)

NUMBERS = "retained.json"


def write_retained(folder: Path, out: Path | None = None, console: Console | None = None) -> Path:
    """Print what an evaluation under perturbation found, write its numbers and return their path.

    Args:
        folder: folder of its arms.
        out: folder to write to; by default `folder`.
        console: to print to; by default standard output.

    Raises:
        ResultsError: the folder has no control arm, or is damaged, or its arms cannot be paired.
        OutputError: the numbers cannot be written.
    """
    found = measure_retained(load_arms(folder))
    print_retained(found, console or Console())
    path = (out or folder) / NUMBERS
    write_text(path, json.dumps(found.as_dict(), indent=2) + "\n")
    return path


def print_retained(found: Robustness, console: Console) -> None:
    """Print success under each condition beside the control's."""
    config = found.control.config
    name, protocol = policy_name(config["policy"]), config["protocol"]["name"]
    console.print(Text(f"{name}, protocol {protocol}, assets {config['assets']['name']}"))
    everything = summarise(found.control)["all"]
    console.print(Text("control: " + " ".join(filter(None, rate_texts(everything)))))
    title = "Success under perturbation, paired with the control"
    rows = [Row(f"{arm.axes} {arm.level}", tuple(retained_texts(arm))) for arm in found.arms]
    print_table(title, ("success", "kept", "points", "p", ""), rows, console)
    for note in notes(found):
        console.print(Text(note))


def retained_texts(arm: Retained) -> list[str]:
    """Return success under the condition, share kept, difference, p and verdict, as text."""
    if arm.difference is None or arm.adjusted is None:
        missing = f"{arm.planned - arm.pairs}/{arm.planned} missing"
        return [NONE, NONE, missing, NONE, arm.verdict]
    difference, kept = arm.difference, arm.share_kept
    return [
        f"{arm.successes / arm.pairs:.0%}",
        NONE if kept is None else f"{kept[0]:.0%}",
        f"{_whole(difference.value)} ({_whole(difference.low)} to {_whole(difference.high)})",
        p_text(arm.adjusted),
        arm.verdict,
    ]


def _whole(value: float) -> str:
    """Return a difference of rates as whole percentage points, signed."""
    return points(round(value, 2)).removesuffix(".0")


def notes(found: Robustness) -> list[str]:
    """Return what the reader of the numbers should know, in sentences."""
    pairs = found.arms[0].planned if found.arms else 0
    starts = count_starts(found.control.config, found.control.episodes)
    again = [f"{starts_text(starts)} p is of a sign-flip test of starts."] if starts else []
    return [
        f"{pairs} episodes an arm, each paired with the control's of the same task, start and "
        "seed. Kept: of the episodes at which the control succeeds, the share at which the arm "
        "does. Points: the difference from the control, mean over tasks, "
        f"{found.confidence:.0%} paired bootstrap. p: McNemar's exact test, adjusted by Holm for "
        f"{len(found.arms)} conditions. Too few to tell: no change is shown, and one of "
        f"{SMALL:.0%} is not ruled out.",
        *again,
    ]
