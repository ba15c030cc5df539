"""A run's folder: what is collected in it is of its demonstrations' assets."""

from __future__ import annotations

from pathlib import Path

import pytest

from cli.main import main
from generator.run_folder import RunFolder
from simulation.assets.embedded import write_embedded_pack
from simulation.assets.resolve import embedded_pack
from tests.reports.test_run_gather import TASK, train, write_step


def test_episodes_are_collected_with_the_assets_of_the_demonstrations(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = RunFolder(tmp_path / "run")
    train(run, "dlr", "first")
    shown, collected = run.demonstrations(TASK), run.trajectories(TASK, "dlr", 0)
    for path in (shown, collected):
        path.parent.mkdir(parents=True)
        write_step(path, embedded_pack())
    before = collected.read_bytes()
    write_embedded_pack(tmp_path / "other")
    (tmp_path / "other/README.md").write_text("another pack")
    with pytest.raises(SystemExit) as ended:
        main(["collect", TASK.key, "--run", str(run.root), "--assets", str(tmp_path / "other")])
    (line,) = capsys.readouterr().err.splitlines()
    assert ended.value.code == 2 and "give the same assets, or demonstrate again" in line
    assert collected.read_bytes() == before
    assert [path.name for path in collected.parent.iterdir()] == [collected.name]
