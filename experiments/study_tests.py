"""The study's registered tests of DLR against O2O-RL, and where PPO left a policy as it was."""

from __future__ import annotations

import math
import statistics
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace

from analysis.statistics import holm, sign_flip_test
from experiments.study_results import POOLED, Measured, StudyResult
from reports.run_sources import ratio_note, without_ratio

DLR, BASELINE = "dlr", "o2o_rl"
FEWEST = 10
"""Successes from which on a training's diversity is measured."""
LEVEL = 0.05
"""Of the tests."""


@dataclass(frozen=True)
class Measure:
    """A measure of diversity that is tested."""

    key: str
    label: str
    ratio: bool = False
    """Compared by its log ratio, as it has a unit; else by the difference."""
    matched: bool = False
    """Measured on the starts that both recipes solved, and kept in the contrasts."""


MEASURES = (
    Measure("mode_entropy", "mode entropy (primary)"),
    Measure("way_entropy", "way entropy"),
    Measure("coverage_positions", "Coverage@10, positions"),
    Measure("mean_pairwise_distance_positions", "mean pairwise distance, m", True, True),
    Measure("endpoint_variance_positions", "endpoint variance, m²", True, True),
    Measure("direction_variance_positions", "direction variance", True, True),
    Measure("path_length_variance_positions", "path length variance, m²", True, True),
    Measure("vendi_score_positions", "Vendi score, positions", True, True),
    Measure("mean_dtw_positions", "DTW, m", True, True),
)
"""The family that Holm's correction is over, as docs/study.md registers it."""


@dataclass(frozen=True)
class Test:
    """A measure's outcome over the tasks."""

    measure: Measure
    baseline: float
    """Mean over tasks (of ratios, the geometric one's baseline is 1)."""
    candidate: float
    more: int
    """Tasks on which DLR has more."""
    tasks: int
    p: float
    corrected: float = math.nan


def run_tests(results: Sequence[StudyResult]) -> list[Test]:
    """Return the registered tests of DLR against O2O-RL after the last stage, corrected."""
    found = [test for measure in MEASURES if (test := _test(measure, results))]
    corrected = holm({test.measure.key: test.p for test in found}) if found else {}
    return [
        Test(t.measure, t.baseline, t.candidate, t.more, t.tasks, t.p, corrected[t.measure.key])
        for t in found
    ]


def task_values(results: Sequence[StudyResult], measure: Measure) -> dict[str, tuple[float, float]]:
    """Return, by task, O2O-RL's and DLR's value, each the mean over the seeds that both have."""
    by_task: dict[str, list[tuple[float, float]]] = defaultdict(list)
    found = {(r.task, r.recipe, r.seed): r for r in results}
    for (task, recipe, seed), candidate in found.items():
        baseline = found.get((task, BASELINE, seed))
        if recipe != DLR or baseline is None or seed == POOLED:
            continue
        pair = _pair(baseline, candidate, measure)
        if pair is not None:
            by_task[task].append(pair)
    return {
        task: (statistics.fmean(p[0] for p in pairs), statistics.fmean(p[1] for p in pairs))
        for task, pairs in by_task.items()
    }


def _pair(
    baseline: StudyResult, candidate: StudyResult, measure: Measure
) -> tuple[float, float] | None:
    sides = [last(baseline), last(candidate)]
    if any(side is None or side.episodes < FEWEST for side in sides):
        return None
    if measure.matched:
        return candidate.contrasts.get(measure.key)
    values = [side.figures.get(measure.key) for side in sides if side]
    return None if None in values else (values[0], values[1])  # type: ignore[return-value]


def last(result: StudyResult) -> Measured | None:
    """Return what was measured after the last stage."""
    return result.stages[result.final].measured


def _test(measure: Measure, results: Sequence[StudyResult]) -> Test | None:
    pairs = list(task_values(results, measure).values())
    if measure.ratio:
        note = ratio_note(without_ratio(dict(zip((BASELINE, DLR), p, strict=True)) for p in pairs))
        measure = replace(measure, label=f"{measure.label} ({note})") if note else measure
        pairs = [pair for pair in pairs if min(pair) > 0]
    if not pairs:
        return None
    if measure.ratio:
        differences = [math.log(b / a) for a, b in pairs]
        sides = 1.0, math.exp(statistics.fmean(differences))
    else:
        differences = [b - a for a, b in pairs]
        sides = statistics.fmean(a for a, _ in pairs), statistics.fmean(b for _, b in pairs)
    more = sum(d > 0 for d in differences)
    return Test(measure, *sides, more, len(pairs), sign_flip_test(differences))


def unmoved(results: Sequence[StudyResult], recipe: str) -> tuple[int, int, int]:
    """Return, of a recipe's trainings with PPO, how many policies it left as they were.

    Returns:
        The trainings; those in which no update of the actor was made; those whose final policy has
        the success and the episodes of the clone, as far as figures tell.
    """
    runs = [r for r in results if r.recipe == recipe and r.seed != POOLED and r.updates is not None]
    return len(runs), sum(r.updates == 0 for r in runs), sum(not r.moved for r in runs)


def where_moved(results: Sequence[StudyResult]) -> list[StudyResult]:
    """Return the results but for those of DLR whose policy PPO left as it was."""
    return [r for r in results if r.recipe != DLR or r.moved]


def unmoved_text(results: Sequence[StudyResult]) -> list[str]:
    """Return in paragraphs how often PPO left policies as they were, and what that is for here."""
    lines = []
    for recipe in (DLR, BASELINE):
        trainings, still, clones = unmoved(results, recipe)
        made = [r.updates for r in results if r.recipe == recipe and r.updates is not None]
        if trainings:
            lines.append(
                f"`{recipe}`: of {trainings} trainings PPO made no update of the actor in {still} "
                f"(the median made {statistics.median(made):g}), and {clones} ended with the "
                "clone's episodes."
            )
    note = (
        f"{_short_steps(results)} Policies of DLR that PPO left as they were keep the ways of "
        "their clones, which is no proof of its PPO, and fewer updates take fewer ways. Below are "
        "the tests without the trainings that ended with the clone's episodes, which were not "
        "registered."
    )
    return [*lines, note] if lines else []


def _short_steps(results: Sequence[StudyResult]) -> str:
    """Return whose steps those of a short PPO were in these trainings of DLR."""
    shared = sum(r.recipe == DLR and r.short_steps_shared for r in results)
    if not shared:
        return (
            "A short PPO, of a policy that succeeds already, has its steps for each pattern "
            "(`--reinforce.budget.short-steps-each`)."
        )
    return (
        f"In {shared} of DLR's trainings the steps of a short PPO, of a policy that succeeds "
        "already, were those of all patterns together, as they were until "
        "`--reinforce.budget.short-steps-each`, and three patterns take three times as many to "
        "warm the critic up and to evaluate: often none were left for an update."
    )


TEST_HEADS = ("measure", BASELINE, DLR, "DLR has more on", "p, sign flips", "p, Holm")
TEST_NOTE = (
    f"The unit is the task. * marks what holds at {LEVEL:.0%} after correction. Measures with a "
    "unit are compared by their ratio on the starts that both recipes solved, the others by their "
    "difference. Fewer tasks than were trained: a recipe with fewer than "
    f"{FEWEST} successes has no diversity to measure."
)


def outcome_cells(test: Test) -> list[str]:
    """Return a test's row below `TEST_HEADS`."""
    if test.measure.ratio:
        sides = ["1", f"{test.candidate:.3g} times"]
    else:
        sides = [f"{test.baseline:.3f}", f"{test.candidate:.3f}"]
    corrected = f"{test.corrected:.4f}{' *' if test.corrected < LEVEL else ''}"
    more = f"{test.more} of {test.tasks}"
    return [test.measure.label, *sides, more, f"{test.p:.4f}", corrected]
