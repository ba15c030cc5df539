"""Evaluations that a stopping rule may end early: the episodes that count, and what they show."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from common.json_files import build, read_sealed, write_sealed
from eval_harness.results import EpisodeResult, Results, ResultsError, load_results, planned
from eval_harness.sequential.rules import DecisionRule, Stop, StoppingRule, fixed_number
from eval_harness.sequential.sequences import confidence_sequence

STOP = "stop.json"
"""File of a results folder that says why an evaluation stopped early."""


def write_stop(folder: Path, rule: StoppingRule | DecisionRule, stop: Stop | None) -> None:
    """Note where an evaluation stopped; None where it did not, whatever was noted before."""
    if stop is None:
        (folder / STOP).unlink(missing_ok=True)
    else:
        write_sealed(folder / STOP, {"rule": dataclasses.asdict(rule), **dataclasses.asdict(stop)})


def table_of(
    plan: Mapping[str, Any], episodes: list[EpisodeResult]
) -> dict[str, list[bool | None]]:
    """Return success of each task's episodes in the order of a plan, as rules look at it."""
    found: dict[str, list[bool | None]] = {
        task: [None] * plan["episodes"] for task in plan["tasks"]
    }
    for result in episodes:
        found[result.task][result.episode] = None if result.error else result.success
    return found


def read_stop(folder: Path) -> tuple[dict[str, Any], Stop] | None:
    """Return by which rule and where an evaluation stopped early; None of one that did not.

    Raises:
        ResultsError: the folder's note on it is damaged.
    """
    path, remedy = Path(folder) / STOP, "delete it and run again"
    if not path.exists():
        return None
    content = read_sealed(path, "why an evaluation stopped", ResultsError, remedy)
    try:
        rule = content.pop("rule")
        build(DecisionRule if "margin" in rule else StoppingRule, rule)
        return rule, build(Stop, content)
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise ResultsError(f"{path} is damaged ({error!r}): {remedy}") from error


def load_counted(folder: Path) -> tuple[Results, Stop | None]:
    """Read a results folder; of one that stopped early, the episodes that the rule looked at.

    The plan of these results ends where the rule stopped. What had begun by then is left out:
    which of these episodes have ended depends on how long they took. `design` of their
    configuration says how many episodes were planned and how many ran.

    Raises:
        ResultsError: the folder is missing or damaged.
    """
    results, found = load_results(folder), read_stop(folder)
    if found is None:
        return results, None
    rule, stop = found
    plan = {**results.config["plan"], "episodes": stop.rounds}
    ran = sum(result.error is None for result in results.episodes)
    design = {"planned": len(planned(results.config["plan"])), "ran": ran}
    config = {**results.config, "plan": plan, "rule": rule, "design": design}
    episodes = [result for result in results.episodes if result.episode < stop.rounds]
    return dataclasses.replace(results, config=config, episodes=episodes), stop


def stop_text(results: Results, stop: Stop | None) -> str:
    """Return why an evaluation ended and what that saved; empty of one without a rule.

    Args:
        results: of `load_counted`.
        stop: likewise.
    """
    rule: Mapping[str, Any] = results.config.get("rule") or {}
    if stop is None:
        return _unstopped_text(results, rule) if rule else ""
    found = {
        "above": f"success is above {100 * (rule.get('threshold') or 0):.3g}%",
        "below": f"success is below {100 * (rule.get('threshold') or 0):.3g}%",
        "precise": f"success is known to within {100 * (rule.get('half_width') or 0):.3g} points",
        "decided": "the comparison of which it is a part was decided",
    }
    return (
        f"Stopped after {stop.rounds} episode(s) of each task: {found[stop.reason]}. "
        f"{stop.successes / stop.n:.1%} ({stop.successes}/{stop.n}), with a "
        f"{100 * rule['confidence']:.3g}% interval, {stop.low:.1%} to {stop.high:.1%}, that holds "
        "although the evaluation stopped on it. Those of suites and tasks do not allow for that. "
        + (
            _saved_text(results.config["design"], stop, rule)
            if results.config.get("shard", "0/1") == "0/1"
            else "`dlr eval merge` of all shards tells what that saved."
        )
    )


def _saved_text(design: Mapping[str, int], stop: Stop, rule: Mapping[str, Any]) -> str:
    """Return how many rollouts a stop saved against the plan, and against a fixed design."""
    text = f"Of {design['planned']} planned rollouts {stop.n} count"
    if beyond := design["ran"] - stop.n:
        text += f", {beyond} more had run by then and are kept without being counted"
    text += f", and {design['planned'] - design['ran']} were saved."
    if stop.reason == "precise":
        fixed = fixed_number(rule["half_width"], rule["confidence"])
        text += f" A number fixed beforehand that is as precise at any rate is {fixed}."
    return text


def _unstopped_text(results: Results, rule: Mapping[str, Any]) -> str:
    """Return how far an evaluation with a rule has come that did not stop it."""
    table = table_of(results.config["plan"], results.episodes)
    counted = [outcome for row in zip(*table.values(), strict=True) for outcome in row]
    ended = counted.index(None) if None in counted else len(counted)
    rounds = ended // len(table)
    n = rounds * len(table)
    successes = sum(map(bool, counted[:n]))
    low, high = confidence_sequence(successes, n, rule["confidence"])
    return (
        f"The rule has not stopped it: after {rounds} episode(s) of each task success lies in "
        f"{low:.1%} to {high:.1%}, an interval that holds at every look, of "
        f"{50 * (high - low):.1f} points to either side."
    )
