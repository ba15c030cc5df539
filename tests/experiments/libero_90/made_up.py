"""Results made up for tests of LIBERO-90's scoreboard."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from experiments.study_results import Measured, StageResult, StudyResult, write_result
from experiments.study_tests import BASELINE, DLR
from reports.run_outcomes import Count
from simulation.tasks import Task, list_tasks

TASKS = list_tasks("libero_90")
WAYS = {"low": 40, "high": 40, "bowed": 40}
SHOWN = Measured(120, {"episode_length": 120.0}, {"0": 60, "1": 60}, WAYS)


def result(
    task: Task, recipe: str, successes: Sequence[int], ways: dict[str, int] | None = None
) -> StudyResult:
    """Return a training's result, with so many of 50 successes of each pattern."""
    found = Measured(
        36, {"mode_entropy": 0.9 if recipe == DLR else 0.2, "episode_length": 110.0}, {"0": 36},
        ways or ({"low": 12, "high": 12, "bowed": 12} if recipe == DLR else {"low": 34, "high": 2}),
    )  # fmt: skip
    rates = [Count(count, 50) for count in successes]
    stages = {
        "learn": StageResult([Count(30, 50)] * len(rates), {}, [], found),
        "reinforce": StageResult(
            rates,
            {
                "environment_steps": {"total": 90_000}, "stopped": "solved",
                "budget": {"why": "it is low"},
            },
            [Count(18, 20), Count(18, 20)], found,
        ),
    }  # fmt: skip
    contrasts = {"endpoint_variance_positions": (0.001, 0.004)} if recipe == DLR else {}
    costs = {"learn": 60.0, "reinforce": 240.0, "collect learn": 30.0, "collect reinforce": 36.0}
    made = {"demonstrations": {"scripted low": "40 of 41"}, "commit": "abc"}
    return StudyResult(
        task.key, recipe, 0, stages, "reinforce", SHOWN, sum(costs.values()), contrasts, made, costs
    )


def finish(out: Path, task: Task, dlr: Sequence[int] = (48, 49, 50), o2o: int = 49) -> None:
    """Write both recipes' results of a task."""
    write_result(result(task, DLR, dlr), out)
    write_result(result(task, BASELINE, [o2o]), out)
