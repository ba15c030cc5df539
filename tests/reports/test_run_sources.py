"""The tests over tasks, and which tasks have no ratio."""

from __future__ import annotations

import pytest

from analysis.diversity import Contrast
from analysis.statistics import Estimate
from reports.run_outcomes import Analysis, RecipeOutcome, TaskOutcome
from reports.run_sources import over_tasks, task_test_cells, task_test_table

KEY = "endpoint_variance_positions"
NOTE = "1 more without a ratio: 0 in O2O-RL and DLR, 1 more without a ratio: 0 in O2O-RL"


def analysis(baseline: float, candidate: float) -> Analysis:
    """Return a task's results of which the test sees these two values."""
    one, other = (RecipeOutcome(name, [], {}, {}) for name in ("O2O-RL", "DLR"))
    ratio = Estimate(candidate / baseline) if baseline else None
    contrast = Contrast(Estimate(baseline), Estimate(candidate), ratio)
    return Analysis(TaskOutcome("t", "close", one, other), None, {KEY: contrast}, "")


@pytest.mark.parametrize(("ratios", "tested"), [((2, 2, 0, 0, 0), True), ((2, 0, 0, 0), False)])
def test_tasks_without_a_ratio_are_told_beside_the_test(
    ratios: tuple[float, ...], tested: bool
) -> None:
    """A recipe that has 0 of a metric on a task has no ratio there, which is not missing data."""
    analyses = [analysis(1.0, ratio) for ratio in ratios]
    (test,) = over_tasks([*analyses, analysis(0.0, 0.0), analysis(0.0, 1.0)])
    assert test.without_ratio == {"DLR": ratios.count(0), "O2O-RL and DLR": 1, "O2O-RL": 1}
    assert test.tasks == ratios.count(2)
    assert test.ratio == (pytest.approx(2) if tested else None)
    told, *figures = task_test_cells(test)
    assert told == f"{test.tasks} (3 more without a ratio: 0 in DLR, {NOTE})"
    assert figures == (["2.00×", "0.500", "0.500"] if tested else ["–"] * 3)
    assert list(task_test_table([test]).columns[1].cells) == [told]


def test_tasks_that_all_have_a_ratio_need_no_note() -> None:
    (test,) = over_tasks([analysis(1.0, 2.0), analysis(1.0, 8.0)])
    assert not test.without_ratio and test.ratio == pytest.approx(4)
    assert task_test_cells(test) == ["2", "4.00×", "0.500", "0.500"]
