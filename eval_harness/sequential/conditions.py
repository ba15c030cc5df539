"""Decisions between two policies under several conditions, whose errors are bounded together.

decisions.json          which conditions there are
control/, AXIS-LEVEL/   the decision under each, as `deciding` leaves it
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from common.locks import lock_folder
from eval_harness.merging import whole_folder
from eval_harness.perturbations.arms import Arm, make_arms, read_arms, write_arms
from eval_harness.perturbations.base import CONTROL
from eval_harness.perturbations.table import parse_levels
from eval_harness.results import ResultsError
from eval_harness.sequential.deciding import (
    Decided,
    Side,
    decide,
    load_decided,
    merge_decisions,
)
from eval_harness.sequential.rules import DecisionRule

DECISIONS = "decisions.json"
"""File that names the conditions."""


def make_conditions(axes: str, levels: str) -> tuple[Arm, ...]:
    """Return the conditions of `camera,light+noise` (or `all`) at `3` or `0-5`.

    A decision compares two policies under one condition, so that each is the other's control: the
    unperturbed episodes are among the conditions only where level 0 is asked for.

    Raises:
        PerturbationError: there is no such axis or level, or no level but 0.
    """
    wanted = CONTROL in parse_levels(levels, control=False)
    return tuple(arm for arm in make_arms(axes, levels) if wanted or arm.level > CONTROL)


def share_confidence(confidence: float, count: int) -> float:
    """Return the confidence of each of `count` decisions that all hold together (Bonferroni)."""
    return 1 - (1 - confidence) / count


def decide_conditions(
    conditions: Sequence[Arm],
    sides: Callable[[Arm, Path], tuple[Side, Side]],
    rule: DecisionRule,
    out: Path,
    block: int = 1,
) -> dict[Arm, Decided]:
    """Decide between two policies under one condition after another.

    Args:
        conditions: the conditions.
        sides: returns baseline and evaluated of a condition, given the folder of its decision.
        rule: when to stop; its confidence is that of all decisions together.
        out: folder of all.
        block: see `decide`.

    Raises:
        ResultsError: the folder has other conditions, with which the error was shared otherwise.
        BusyError: another process decides here.
    """
    each = DecisionRule(rule.margin, share_confidence(rule.confidence, len(conditions)))
    with lock_folder(out):
        if is_decisions(out) and set(list_conditions(out)) != set(conditions):
            names = ", ".join(arm.name for arm in list_conditions(out))
            raise ResultsError(
                f"{out} is of decisions under {names}, which share one bound of their errors: "
                "ask for the same, or give another folder"
            )
        write_arms(out / DECISIONS, conditions)
        return {
            arm: decide(*sides(arm, out / arm.name), each, out / arm.name, block)
            for arm in conditions
        }


def is_decisions(folder: Path) -> bool:
    """Return whether a folder holds decisions under several conditions."""
    return (folder / DECISIONS).exists()


def list_conditions(folder: Path) -> tuple[Arm, ...]:
    """Return the conditions of a folder.

    Raises:
        ResultsError: their list is missing or damaged.
    """
    return read_arms(folder / DECISIONS)


def merge_conditions(folders: Sequence[Path], out: Path) -> dict[Arm, Decided]:
    """Put the shards of decisions together, condition by condition, into a new folder.

    The folder is there whole or not at all.

    Raises:
        ResultsError: the shards have other conditions, or one's cannot be put together.
        OutputError: the folder cannot be written, or holds something already.
        BusyError: another process writes it.
    """
    conditions = list_conditions(folders[0])
    for folder in folders[1:]:
        if set(list_conditions(folder)) != set(conditions):
            raise ResultsError(
                f"{folder} and {folders[0]} decide under other conditions: run the same in both"
            )
    with whole_folder(out) as new:
        write_arms(new / DECISIONS, conditions)
        for arm in conditions:
            merge_decisions([folder / arm.name for folder in folders], new / arm.name)
    return {arm: load_decided(out / arm.name) for arm in conditions}
