"""The table and the lines of a run of many tasks."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from common.workers import Outcome
from common.workers.progress import tell, telling
from generator.run_folder import RunFolder
from reports.run_progress import RunProgress, clock, watching


@dataclass(frozen=True)
class Item:
    task: str
    what: str

    def __call__(self) -> dict[str, Any]:
        return {}

    def describe(self, result: dict[str, Any]) -> str:
        return f"success {result['success']}"


def of(folder: Path) -> RunProgress:
    items = [Item(f"suite/task{number}", "dlr seed 0") for number in range(6)]
    progress = RunProgress(RunFolder(folder), items, workers=2)
    progress.ended += [
        Outcome(0, {"success": "90%"}, None, 100.0),
        Outcome(1, None, "no success", 50.0),
        Outcome(3, None, "left out: no success", 0.0, left_out=True),
    ]
    return progress


def test_each_item_that_ends_has_a_line(tmp_path: Path) -> None:
    progress = of(tmp_path)
    assert [progress.line(outcome) for outcome in progress.ended] == [
        "suite/task0 dlr seed 0: success 90%; 1:40",
        "suite/task1 dlr seed 0: FAILED: no success",
        "suite/task3 dlr seed 0: left out: no success",
    ]
    assert [outcome.index for outcome in progress.failed] == [1]


def test_time_left_follows_from_what_items_took(tmp_path: Path) -> None:
    progress = of(tmp_path)
    assert progress.seconds_left() == pytest.approx((3 * 100 - 100) / 2)
    assert "1 failed" in progress.summary() and "1:40 left" in progress.summary()
    progress.ended.clear()
    assert progress.seconds_left() is None and "not known yet" in progress.summary()
    assert (clock(187.4), clock(7387)) == ("3:07", "2:03:07")


@pytest.mark.parametrize(("workers", "left", "seconds"), [(8, 1, 1800), (8, 2, 1800), (2, 0, 0)])
def test_time_left_is_shared_by_what_can_still_run(
    tmp_path: Path, workers: int, left: int, seconds: float
) -> None:
    items = [Item("suite/task", f"dlr seed {number}") for number in range(1 + left)]
    ended = [Outcome(0, {"success": "90%"}, None, 3600.0)]
    progress = RunProgress(RunFolder(tmp_path), items, workers, ended)
    assert progress.seconds_left() == pytest.approx(seconds)


def test_the_table_shows_what_is_at_work(tmp_path: Path) -> None:
    progress, written = of(tmp_path), io.StringIO()
    console = Console(file=written, width=120)
    with telling(progress.run.progress / "x.json", "suite/task2 dlr seed 0"):
        tell("reinforce 80%", 3, 10)
        console.print(progress.table())
    said = written.getvalue()
    assert "reinforce 80% 3/10" in said and "no success" in said and "1 failed" in said


def test_no_table_where_there_is_no_terminal(tmp_path: Path) -> None:
    written = io.StringIO()
    with watching(of(tmp_path), Console(file=written)):
        pass
    assert written.getvalue() == ""
