"""What failed and what pieces of work took is kept beside results, and damage is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from experiments.libero_90.records import Failure, TaskRecord, Times
from experiments.study_results import StudyError, read_results
from tests.experiments.libero_90.made_up import TASKS, finish

FAILURE = Failure("dlr seed 0", "it is too hard", "abc")


def test_a_failure_stays_until_that_very_piece_of_work_is_done(tmp_path: Path) -> None:
    record = TaskRecord(tmp_path, TASKS[0].key)
    record.note("demonstrations", 3.0, None, 2.5)
    record.note("dlr seed 0", 5.0, FAILURE)
    record.note("o2o_rl seed 0", 7.0, None)
    assert record.failures() == [FAILURE]
    record.note("dlr seed 0", 6.0, None)
    assert record.failures() == []
    assert not (tmp_path / TASKS[0].key / "failed.json").exists()
    taken = {"demonstrations": 3.0, "dlr seed 0": 11.0, "o2o_rl seed 0": 7.0}
    assert record.times() == Times(taken, 2.5)
    record.note("demonstrations", 1.0, None, 4.0)
    assert record.times().demonstrations == 4.0


def test_records_are_no_results(tmp_path: Path) -> None:
    TaskRecord(tmp_path, TASKS[0].key).note("dlr seed 0", 5.0, FAILURE)
    with pytest.raises(StudyError, match="holds no results"):
        read_results(tmp_path)
    finish(tmp_path, TASKS[0])
    assert len(read_results(tmp_path)) == 2


@pytest.mark.parametrize("name", ["failed.json", "time.json"])
def test_damaged_records_are_refused(tmp_path: Path, name: str) -> None:
    record = TaskRecord(tmp_path, TASKS[0].key)
    record.note("dlr seed 0", 5.0, FAILURE)
    path = tmp_path / TASKS[0].key / name
    path.write_bytes(path.read_bytes().replace(b"libero_90", b"libero_91"))
    with pytest.raises(StudyError, match=r"damaged.*libero_90"):
        record.failures() if name == "failed.json" else record.times()
