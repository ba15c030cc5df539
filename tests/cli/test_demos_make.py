"""`dlr demos make` and `measure`: many tasks, of which one fails."""

from __future__ import annotations

from pathlib import Path

import pytest

from cli.main import main
from demonstrations.measured import read_all_measured
from generator.run_folder import RunFolder
from simulation.recordings.trajectories import TrajectoryFile
from simulation.tasks import get_task

DRAWER = "libero_90/KITCHEN_SCENE10_close_the_top_drawer_of_the_cabinet"
OTHER = "libero_90/KITCHEN_SCENE5_close_the_top_drawer_of_the_cabinet"


def test_a_failing_task_leaves_the_others_be(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = RunFolder(tmp_path / "run")
    broken = run.demonstrations(get_task(OTHER))
    broken.mkdir(parents=True)
    options = ["--run", str(run.root), "--assets", "embedded", "--episodes-per-way", "1"]
    with pytest.raises(SystemExit) as caught:
        main(["demos", "make", OTHER, DRAWER, *options, "--workers", "2"])
    assert caught.value.code
    found = capsys.readouterr()
    assert f"{OTHER}: FAILED: " in found.out
    assert f"1 of 2 tasks have no demonstrations: {OTHER}" in found.err
    (line,) = [line for line in found.out.splitlines() if line.startswith(DRAWER)]
    assert "scripted left 1/" in line and "scripted low 1/" in line
    with TrajectoryFile(run.demonstrations(get_task(DRAWER))) as file:
        assert len(file) == 3


def test_measured_tasks_are_tabulated(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--assets", "embedded", "--attempts", "2", "--workers", "1"]
    main(["demos", "measure", DRAWER, *options, "--out", str(tmp_path / "records")])
    (record,) = read_all_measured(tmp_path / "records")
    assert record.task == DRAWER and [way.tried for way in record.ways] == [2, 2, 2]
    main(["demos", "table", "--from", str(tmp_path / "records"), "--out", str(tmp_path)])
    assert "KITCHEN_SCENE10_close" in (tmp_path / "demonstrations.md").read_text()
    with pytest.raises(SystemExit):
        main(["demos", "measure", "--attempts", "1", DRAWER])
    assert "--attempts is at least 2" in capsys.readouterr().err
