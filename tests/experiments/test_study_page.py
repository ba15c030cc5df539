"""The study's page: what it counts, tests and leaves out, on results made up for it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from experiments.study_page import page
from experiments.study_results import (
    POOLED,
    Measured,
    StageResult,
    StudyError,
    StudyResult,
    read_results,
    write_result,
)
from experiments.study_tests import (
    BASELINE,
    DLR,
    MEASURES,
    run_tests,
    task_values,
    unmoved,
    unmoved_text,
    where_moved,
)
from generator.finetuning.budget import SHORT
from reports.run_outcomes import Count

SHOWN = Measured(120, {"mode_entropy": 1.0, "straightness": 0.5}, {"0": 60, "1": 60}, {"low": 120})
TASKS = [f"libero_90/TASK{number}" for number in range(6)]


def result(task: str, recipe: str, seed: int, entropy: float, episodes: int = 36) -> StudyResult:
    patterns = 3 if recipe == DLR else 1
    measured = Measured(episodes, {"mode_entropy": entropy}, {"0": episodes}, {})
    stages = {
        "filter": StageResult([Count(40 - seed, 50)] * patterns, {}, []),
        "learn": StageResult([Count(30, 50)] * patterns, {}, [], replace(measured, episodes=30)),
        "reinforce": StageResult(
            [Count(49, 50)] * patterns, {"environment_steps": 1000 * (seed + 1)}, [], measured
        ),
    }
    contrasts = {"endpoint_variance_positions": (0.001, 0.004)} if recipe == DLR else {}
    return StudyResult(
        task, recipe, seed, stages, "reinforce", SHOWN, 120.0, contrasts, {"commit": "abc"}
    )


def results() -> list[StudyResult]:
    return [
        result(task, recipe, seed, (0.9 if recipe == DLR else 0.2) + 0.01 * seed)
        for task in TASKS
        for recipe in (DLR, BASELINE)
        for seed in (0, 1)
    ]


def test_results_come_back_from_their_files(tmp_path: Path) -> None:
    written = [write_result(one, tmp_path) for one in results()]
    assert written[0].relative_to(tmp_path).as_posix() == "libero_90/TASK0/dlr/seed_0.json"
    assert sorted(map(str, read_results(tmp_path))) == sorted(map(str, results()))


def test_damaged_results_are_refused(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match="holds no results"):
        read_results(tmp_path)
    path = write_result(results()[0], tmp_path)
    path.write_bytes(path.read_bytes().replace(b"0.9", b"0.8"))
    with pytest.raises(StudyError, match="damaged"):
        read_results(tmp_path)


def test_the_unit_is_the_task() -> None:
    values = task_values(results(), MEASURES[0])
    assert values == {task: pytest.approx((0.205, 0.905)) for task in TASKS}


def test_tests_are_exact_and_corrected_over_the_family() -> None:
    entropy, endpoint = run_tests(results())
    assert (entropy.measure.key, entropy.more, entropy.tasks) == ("mode_entropy", 6, 6)
    assert entropy.p == pytest.approx(2 / 2**6)
    assert entropy.corrected == pytest.approx(2 * 2 / 2**6)
    assert endpoint.candidate == pytest.approx(4.0) and endpoint.baseline == 1.0


def test_tasks_without_a_ratio_are_told_beside_the_test() -> None:
    none = {"endpoint_variance_positions": (0.001, 0.0)}
    found = [
        replace(one, contrasts=none) if one.task in TASKS[:2] and one.recipe == DLR else one
        for one in results()
    ]
    endpoint = run_tests(found)[1]
    assert endpoint.tasks == 4 and endpoint.candidate == pytest.approx(4.0)
    assert "endpoint variance, m² (2 more without a ratio: 0 in dlr)" in page(found)


def test_too_few_successes_have_no_diversity() -> None:
    lame = [result(TASKS[0], BASELINE, 0, 0.2, episodes=9), result(TASKS[0], DLR, 0, 0.9)]
    assert task_values(lame, MEASURES[0]) == {}
    assert run_tests(lame) == []
    assert "No task has both recipes yet." in page(lame)


def test_the_page_tells_worst_and_mean_and_pools_apart() -> None:
    pooled = replace(result(TASKS[0], BASELINE, 0, 0.5, episodes=72), seed=POOLED, contrasts={})
    weak = replace(result(TASKS[1], DLR, 0, 0.9), seed=2)
    weak.stages["reinforce"].success[0] = Count(20, 50)  # type: ignore[index]
    text = page([*results(), pooled, weak])
    assert "`dlr`: every pattern of every seed at 90% or more on 5 of 6 tasks" in text
    assert (
        "`o2o_rl`: of 12 patterns of a task and seed at 50 to 80% before PPO 12 end at 90%" in text
    )
    assert "the worst task's least is 40%" in text
    assert "0.50 (72)" in text and "seeds 0, 1, 2" in text
    assert "2,000)" in text
    assert not math.isnan(run_tests(results())[0].corrected)


@pytest.mark.parametrize("stages", [("learn", "filter"), ("learn",)])
def test_a_recipe_without_ppo_raises_nothing_by_it(stages: tuple[str, ...]) -> None:
    found = result(TASKS[0], "filtered_clone", 0, 0.9)
    kept = {name: found.stages[name] for name in stages}
    text = page([*results(), replace(found, stages=kept, final=stages[-1])])
    assert "`filtered_clone`: every pattern of every seed" in text
    assert "`filtered_clone`: of" not in text and "`o2o_rl`: of 12 patterns" in text


def with_history(one: StudyResult, warm_ups: Sequence[int], like_the_clone: bool) -> StudyResult:
    """Return a result whose PPO says of each iteration whether it was of the warm-up."""
    history = [{"warm_up": warm_up} for warm_up in warm_ups]
    end, clone = one.stages["reinforce"], one.stages["learn"]
    report = {**end.report, "history": history}
    end = replace(clone, report=report) if like_the_clone else replace(end, report=report)
    return replace(one, stages={**one.stages, "reinforce": end})


def test_policies_that_ppo_left_as_they_were_are_counted_and_left_out() -> None:
    found = [
        with_history(one, (1, 1), True)
        if one.recipe == DLR and one.task in TASKS[:2]
        else with_history(one, (1, 0), one.recipe == BASELINE and one.task == TASKS[5])
        for one in results()
    ]
    assert [one.updates for one in found[:2]] == [0, 0] and not found[0].moved
    assert unmoved(found, DLR) == (12, 4, 4) and unmoved(found, BASELINE) == (12, 0, 2)
    left = where_moved(found)
    assert {one.task for one in left if one.recipe == DLR} == set(TASKS[2:])
    (test,) = [t for t in run_tests(left) if t.measure.key == "mode_entropy"]
    assert test.tasks == 4
    text = " ".join(page(found).split())
    assert "`dlr`: of 12 trainings PPO made no update of the actor in 4 (the median made 1)" in text
    assert "and 4 ended with the clone's episodes" in text
    assert "A short PPO, of a policy that succeeds already, has its steps for each pattern" in text
    assert unmoved_text(results()) == [] and "has told how many updates" in page(results())


def test_a_short_ppo_whose_steps_were_of_all_patterns_is_told_by_its_settings() -> None:
    first = with_history(results()[0], (1, 1), True)
    end = first.stages["reinforce"]
    report = {**end.report, "budget": {"choice": SHORT}}
    shared = replace(first, stages={**first.stages, "reinforce": replace(end, report=report)})
    each = {"reinforce": {"budget": {"short_steps_each": 50_000}}}
    own = replace(shared, provenance={**shared.provenance, "config": each})
    found = [first, shared, own]
    assert [one.short_steps_shared for one in found] == [False, True, False]
    assert unmoved_text(found)[-1].startswith("In 1 of DLR's trainings the steps of a short PPO")
