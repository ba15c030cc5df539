"""What the results of LIBERO-90 say of each task, and of all together."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from analysis.statistics import non_inferiority_test
from experiments.libero_90.proofs import Proof, kept_in, read_proofs
from experiments.libero_90.records import Failure, TaskRecord, Times
from experiments.study_page import environment_steps
from experiments.study_results import (
    Measured,
    StageResult,
    StudyError,
    StudyResult,
    read_result,
    result_path,
)
from experiments.study_tests import BASELINE, DLR, FEWEST
from generator.run_folder import LEARN
from reports.run_outcomes import Count

if TYPE_CHECKING:
    from simulation.tasks import Task

RECIPES = (DLR, BASELINE)
TARGET = 0.9
"""Success of every pattern from which a task is called solved."""
WAY_SHARE = 0.1
"""Of a policy's episodes, from which a way counts as kept."""
AGAIN = "again"
"""Folder, within that of the results, of those of trainings that were done a second time."""
BEFORE = "before"
"""Folder, within that of the results, of those that a second time has replaced."""
MARGIN = 0.05
"""Success that DLR may lose against O2O-RL and still be no worse."""


@dataclass(frozen=True)
class RecipeRow:
    """A recipe's outcome on a task."""

    result: StudyResult
    """The training."""

    @property
    def final(self) -> StageResult:
        """The last stage's outcome."""
        return self.result.stages[self.result.final]

    def success(self, learned: bool = False) -> Sequence[Count]:
        """Return held-out success of each pattern, at the end or after `learn`."""
        stage = self.result.stages.get(LEARN) if learned else self.final
        return stage.success if stage else ()

    @property
    def least(self) -> float:
        """Success of the least pattern."""
        return min(count.rate for count in self.success())

    @property
    def mean(self) -> float:
        """Mean success of the patterns."""
        return statistics.fmean(count.rate for count in self.success())

    @property
    def ways(self) -> tuple[int, int] | None:
        """How many of the demonstrated ways are kept, and of how many; None if not measured."""
        measured, shown = self.measured(), self.result.demonstrations.ways
        if measured is None or not shown:
            return None
        least = WAY_SHARE * sum(measured.ways.values())
        return sum(count >= least for count in measured.ways.values()), len(shown)

    def measured(self, learned: bool = False) -> Measured | None:
        """Return what was measured of the episodes; None where too few succeeded."""
        stage = self.result.stages.get(LEARN) if learned else self.final
        found = stage.measured if stage else None
        return found if found and found.episodes >= FEWEST else None

    def figure(self, key: str, learned: bool = False) -> float:
        """Return a figure of the episodes; NaN where it was not measured."""
        found = self.measured(learned)
        return found.figures.get(key, math.nan) if found else math.nan

    @property
    def steps(self) -> float:
        """Environment steps of all stages, evaluations counted."""
        return environment_steps(self.result)

    @property
    def kept(self) -> int:
        """Successful episodes that were collected at the end."""
        return sum(count.successes for count in self.final.collected)

    @property
    def stopped(self) -> str:
        """Why training ended and what its budget was chosen by, in its own words."""
        budget = self.final.report.get("budget", {})
        return "; ".join(filter(None, (self.final.report.get("stopped"), budget.get("why"))))


@dataclass(frozen=True)
class TaskRow:
    """A task's outcome."""

    key: str
    """`suite/name`."""
    language: str
    """The instruction."""
    recipes: Mapping[str, RecipeRow]
    """Those that have a result."""
    failures: Sequence[Failure]
    """What failed when it was last tried."""
    times: Times
    """What it took."""

    @property
    def name(self) -> str:
        """The task's name, without its suite."""
        return self.key.rpartition("/")[2]

    @property
    def finished(self) -> bool:
        """Whether both recipes have a result."""
        return all(recipe in self.recipes for recipe in RECIPES)

    @property
    def least(self) -> float:
        """Success of DLR's least pattern; NaN without."""
        return self.recipes[DLR].least if DLR in self.recipes else math.nan

    @property
    def solved(self) -> bool:
        """Whether every pattern of DLR reaches the target."""
        return self.least >= TARGET

    @property
    def shown_by_people(self) -> bool:
        """Whether people's demonstrations were among those that it was trained on."""
        shown = (one.result.provenance.get("demonstrations", {}) for one in self.recipes.values())
        return any("human" in ways for ways in shown)

    @property
    def several_ways(self) -> bool:
        """Whether DLR keeps two ways or more."""
        ways = self.recipes[DLR].ways if DLR in self.recipes else None
        return bool(ways and ways[0] >= 2)


@dataclass(frozen=True)
class Scoreboard:
    """All tasks of the suite."""

    rows: Sequence[TaskRow]
    """Those with a result or a failure, by DLR's least pattern; those without one last."""
    tasks: int
    """How many the suite has."""
    datasets: Mapping[str, Proof] = field(default_factory=dict)
    """What was found in the datasets that were built of them, by name."""
    again: Mapping[tuple[str, str], RecipeRow] = field(default_factory=dict)
    """What trainings came to a second time that does not count, by the task's key and the
    recipe."""
    before: Mapping[tuple[str, str], RecipeRow] = field(default_factory=dict)
    """What those came to the first time of which the second is among the rows."""

    @staticmethod
    def read(out: Path, tasks: Sequence[Task], seed: int) -> Scoreboard:
        """Return what a folder of results says.

        Raises:
            StudyError: there is nothing, not even a failure, or a file is damaged.
        """
        rows = []
        for task in tasks:
            record = TaskRecord(out, task.key)
            found = _read_rows(out, task, seed)
            # What failed before a finished task was tried again, here or elsewhere, is over.
            failures = record.failures() if len(found) < len(RECIPES) else []
            row = TaskRow(task.key, task.language, found, failures, record.times())
            if found or row.failures:
                rows.append(row)
        datasets = read_proofs(kept_in(out))
        again, before = (_read_all(out / folder, tasks, seed) for folder in (AGAIN, BEFORE))
        if not rows and not datasets:
            raise StudyError(
                f"{out} holds no results of these tasks, nor what failed: run the same command "
                "without --report first, or name their folder with --out"
            )
        return Scoreboard(sorted(rows, key=_by_least), len(tasks), datasets, again, before)

    @property
    def finished(self) -> list[TaskRow]:
        """Tasks on which both recipes have a result."""
        return [row for row in self.rows if row.finished]

    @property
    def results(self) -> list[StudyResult]:
        """All results."""
        return [recipe.result for row in self.rows for recipe in row.recipes.values()]

    @property
    def core_hours(self) -> float:
        """CPU hours of demonstrations, and of the trainings and collections with a result."""
        shown = sum(row.times.demonstrations for row in self.rows)
        return (shown + sum(result.seconds for result in self.results)) / 3600

    @property
    def hours(self) -> float:
        """Wall time of all pieces of work, one after the other, failed ones counted, h."""
        return sum(sum(row.times.seconds.values()) for row in self.rows) / 3600

    @property
    def kept(self) -> int:
        """Successful episodes of the final policies."""
        return sum(recipe.kept for row in self.rows for recipe in row.recipes.values())

    def success_tests(self) -> list[tuple[str, float, float, float, int]]:
        """Return, of DLR's least pattern and of its patterns' mean against O2O-RL's success.

        Returns:
            What is compared, O2O-RL's and DLR's mean over tasks, the p-value of DLR being worse by
            `MARGIN` or more, and the number of tasks; nothing without tasks.
        """
        if not self.finished:
            return []
        baseline = [row.recipes[BASELINE].mean for row in self.finished]
        sides = {
            "least pattern": [row.recipes[DLR].least for row in self.finished],
            "mean of patterns": [row.recipes[DLR].mean for row in self.finished],
        }
        mean = statistics.fmean
        return [
            (
                name, mean(baseline), mean(rates),
                non_inferiority_test([b - a for a, b in zip(baseline, rates, strict=True)], MARGIN),
                len(rates),
            )
            for name, rates in sides.items()
        ]  # fmt: skip


def _read_rows(out: Path, task: Task, seed: int) -> dict[str, RecipeRow]:
    """Return a task's results by recipe, of those recipes that have one."""
    paths = {recipe: out / result_path(task.key, recipe, seed) for recipe in RECIPES}
    return {r: RecipeRow(read_result(path)) for r, path in paths.items() if path.exists()}


def _read_all(out: Path, tasks: Sequence[Task], seed: int) -> dict[tuple[str, str], RecipeRow]:
    """Return all tasks' results, by the task's key and the recipe."""
    found = ((task.key, _read_rows(out, task, seed)) for task in tasks)
    return {(key, recipe): row for key, rows in found for recipe, row in rows.items()}


def _by_least(row: TaskRow) -> tuple[bool, float, str]:
    return math.isnan(row.least), 0.0 if math.isnan(row.least) else row.least, row.key
