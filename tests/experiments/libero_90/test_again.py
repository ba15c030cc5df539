"""What a second time says: up to where two trainings are alike, and how far success went."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from experiments.libero_90.again import done_again
from experiments.libero_90.scoreboard import AGAIN, BEFORE, Scoreboard
from experiments.libero_90.write import markdown
from experiments.study_results import StudyResult, write_result
from experiments.study_tests import BASELINE, DLR
from tests.experiments.libero_90.made_up import TASKS, finish, result


def nudged(found: StudyResult, factor: float) -> StudyResult:
    """Return a result whose demonstrations' length is another."""
    shown = found.demonstrations
    longer = {"episode_length": shown.figures["episode_length"] * factor}
    return replace(found, demonstrations=replace(shown, figures=longer))


def test_up_to_where_trainings_are_alike(tmp_path: Path) -> None:
    for task in TASKS[:3]:
        finish(tmp_path, task)
    again = tmp_path / AGAIN
    write_result(nudged(result(TASKS[0], DLR, [48, 49, 50]), 1 + 1e-14), again)
    write_result(nudged(result(TASKS[1], DLR, [48, 49, 50]), 1 + 1e-6), again)
    write_result(result(TASKS[2], DLR, [40, 49, 50]), again)
    write_result(result(TASKS[2], BASELINE, [50]), again)
    learned = result(TASKS[1], BASELINE, [49])
    stages = {**learned.stages, "learn": replace(learned.stages["learn"], success=[])}
    write_result(replace(learned, stages=stages), again)
    board = Scoreboard.read(tmp_path, TASKS, 0)
    table = done_again(board)
    cells = {(row[0], row[1]): row[2:] for row in table.rows}
    assert cells[TASKS[0].name, DLR][-1] == "at the end", "the last digits are no difference"
    assert cells[TASKS[1].name, DLR][-1] == "–"
    assert cells[TASKS[1].name, BASELINE][-1] == "demonstrations"
    assert cells[TASKS[2].name, DLR][-1] == "after learn"
    assert list(cells[TASKS[2].name, DLR][:2]) == ["96%, 98%, 100%", "80%, 98%, 100%"]
    first, dlr, o2o = table.before
    assert "5 trainings of 3 tasks" in first and "4 began with demonstrations of the same" in first
    assert "3 had the same success and figures after `learn`, and 1 at the end" in first
    assert "a task's changed by 1.8 points on average, by -5 to +0" in dlr
    assert "on 3, again on 2, of 3" in dlr
    assert "mean success 98.0%, again 99.0%" in o2o and "+0 to +2" in o2o
    assert "On 3 the first counts; the second is in `results/again`." in first
    assert "## Done again" in markdown(board)
    assert cells[TASKS[0].name, DLR][4:6] == ["0.90", "0.90"]


def test_what_came_of_policies_that_ppo_had_left_as_they_were(tmp_path: Path) -> None:
    finish(tmp_path, TASKS[0])
    moved = result(TASKS[0], DLR, [48, 49, 50])
    clone = moved.stages["learn"]
    report = {**moved.stages["reinforce"].report, "history": [{"warm_up": 1}]}
    left = {**moved.stages, "reinforce": replace(clone, report=report)}
    write_result(replace(moved, stages=left), tmp_path)
    improved = {**report, "history": [{"warm_up": 1}, {"warm_up": 0}, {"warm_up": 0}]}
    end = replace(moved.stages["reinforce"], report=improved)
    again = replace(moved, stages={**moved.stages, "reinforce": end})
    write_result(again, tmp_path / AGAIN)
    table = done_again(Scoreboard.read(tmp_path, TASKS, 0))
    assert list(table.rows[0][8:10]) == ["0", "2"]
    told = table.before[-1]
    assert "1 policies ended with the clone's episodes the first time alone (dlr)" in told
    assert "2 updates in the median: success 60.0%, again 98.0%; mode entropy 0.90" in told


def test_what_came_of_steps_for_each_pattern(tmp_path: Path) -> None:
    for task in TASKS[:3]:
        finish(tmp_path, task)
    for task, entropy in zip(TASKS[:2], (0.5, 0.85), strict=True):
        first = result(task, DLR, [48, 49, 50])
        end = first.stages["reinforce"]
        report = {**end.report, "budget": {"choice": "keep and shorten"}}
        stages = {**first.stages, "reinforce": replace(end, report=report)}
        write_result(replace(first, stages=stages), tmp_path)
        measured = end.measured
        assert measured is not None
        figures = {**measured.figures, "mode_entropy": entropy}
        less = replace(end, report=report, measured=replace(measured, figures=figures))
        config = {"reinforce": {"budget": {"short_steps_each": 50_000}}}
        again = replace(
            first,
            stages={**first.stages, "reinforce": less},
            provenance={**first.provenance, "config": config},
        )
        write_result(again, tmp_path / AGAIN)
    write_result(result(TASKS[2], DLR, [48, 49, 50]), tmp_path / AGAIN)
    told = done_again(Scoreboard.read(tmp_path, TASKS, 0)).before[-1]
    assert told.startswith(
        "2 of the 2 trainings of dlr that ended with a short PPO were done again"
    )
    assert "0 of these had a full PPO" in told
    assert "mode entropy 0.90, again 0.68" in told
    assert f"more than 0.1 on 1, most on `{TASKS[0].name}`: 0.90, again 0.50." in told


def test_a_second_time_that_replaced_the_first_is_told(tmp_path: Path) -> None:
    for task in TASKS[:2]:
        finish(tmp_path, task)
    write_result(result(TASKS[0], DLR, [40, 49, 50]), tmp_path / BEFORE)
    write_result(result(TASKS[0], DLR, [10, 10, 10]), tmp_path / AGAIN)
    write_result(result(TASKS[1], BASELINE, [50]), tmp_path / AGAIN)
    write_result(result(TASKS[2], BASELINE, [50]), tmp_path / AGAIN)
    table = done_again(Scoreboard.read(tmp_path, TASKS, 0))
    assert [row[:4] for row in table.rows] == [
        [TASKS[0].name, DLR, "80%, 98%, 100%", "96%, 98%, 100%"],
        [TASKS[1].name, BASELINE, "98%", "100%"],
    ]
    assert "On 1 tasks DLR's short PPO had had its steps for all patterns" in table.before[0]
    assert "the first is in `results/before`. On 1 the first counts" in table.before[0]


def test_nothing_was_done_again(tmp_path: Path) -> None:
    finish(tmp_path, TASKS[0])
    assert done_again(Scoreboard.read(tmp_path, TASKS, 0)).before == ["None has been done again."]
