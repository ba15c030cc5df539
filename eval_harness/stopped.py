"""Evaluations that a stopping rule ended early: the episodes that count, and what they show."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from common.json_files import build, read_sealed
from eval_harness.evaluation import STOP
from eval_harness.results import Results, ResultsError, load_results
from eval_harness.statistics import Stop, StoppingRule


def load_counted(folder: Path) -> tuple[Results, Stop | None]:
    """Read a results folder; of one that stopped early, the episodes that the rule looked at.

    The plan of these results ends where the rule stopped. What had begun by then is left out:
    which of these episodes have ended depends on how long they took.

    Raises:
        ResultsError: the folder is missing or damaged.
    """
    results, path = load_results(folder), Path(folder) / STOP
    if not path.exists():
        return results, None
    remedy = "delete it and run again"
    content = read_sealed(path, "why an evaluation stopped", ResultsError, remedy)
    try:
        rule = build(StoppingRule, content.pop("rule"))
        stop = build(Stop, content)
    except (ValueError, KeyError, AttributeError) as error:
        raise ResultsError(f"{path} is damaged ({error!r}): {remedy}") from error
    plan = {**results.config["plan"], "episodes": stop.rounds}
    config = {**results.config, "plan": plan, "rule": dataclasses.asdict(rule)}
    episodes = [result for result in results.episodes if result.episode < stop.rounds]
    return dataclasses.replace(results, config=config, episodes=episodes), stop


def stop_text(stop: Stop, rule: Mapping[str, Any]) -> str:
    """Return why an evaluation ended and what it found, in a sentence or two.

    Args:
        stop: where it stopped.
        rule: the `StoppingRule` as a mapping.
    """
    found = {
        "above": f"success is above {rule['threshold'] or 0:.0%}",
        "below": f"success is below {rule['threshold'] or 0:.0%}",
        "precise": f"success is known to within {rule['half_width'] or 0:.0%}",
    }
    return (
        f"Stopped after {stop.rounds} episode(s) of each task: {found[stop.reason]}. "
        f"{stop.successes / stop.n:.1%} ({stop.successes}/{stop.n}), with a "
        f"{rule['confidence']:.0%} interval, {stop.low:.0%} to {stop.high:.0%}, that holds "
        "although the evaluation stopped on it. Those of suites and tasks do not allow for that."
    )
