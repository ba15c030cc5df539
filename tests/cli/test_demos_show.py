"""`dlr demos show` and `dlr demos table` as a user meets them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from cli.main import main
from demonstrations.measured import Measured, MeasuredWay, measured_path, write_measured
from generator.run_folder import RunFolder
from simulation.assets.resolve import embedded_pack
from simulation.environment import Environment
from simulation.recordings.recorder import Recorder
from simulation.recordings.trajectories import TrajectoryWriter
from simulation.tasks import get_task

TASK = get_task("libero_90/KITCHEN_SCENE10_close_the_top_drawer_of_the_cabinet")


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return what is opened from now on."""
    addresses: list[str] = []
    monkeypatch.setattr("webbrowser.open", addresses.append)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.delenv("DISPLAY", raising=False)
    return addresses


def test_a_runs_demonstrations_are_drawn_and_opened_on_a_desktop(
    tmp_path: Path,
    opened: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = RunFolder(tmp_path).demonstrations(TASK)
    env, writer = (
        Environment(TASK, embedded_pack()),
        TrajectoryWriter(path, TASK, embedded_pack(), {}),
    )
    env.reset(seed=0, init_index=0)
    recorder = Recorder(env)
    recorder.before(np.zeros(7))
    writer.add(0, recorder.finish(success=env.step(np.zeros(7)), method="human"))
    writer.finish().close()
    arguments = ["demos", "show", TASK.name, "--run", str(tmp_path), "--size", "64"]
    main(arguments)
    drawn = [Path(line) for line in capsys.readouterr().out.splitlines()]
    assert drawn == [path.with_suffix(".png"), path.with_suffix(".mp4")]
    assert all(picture.stat().st_size > 1000 for picture in drawn) and not opened
    monkeypatch.setenv("DISPLAY", ":0")
    main([*arguments, "--no-open"])
    assert not opened
    main(["demos", "show", "--file", str(path)])
    assert opened == [picture.as_uri() for picture in drawn]


def test_the_table_is_made_of_records(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ways = (MeasuredWay("left", 20, 13, 60.0),)
    record = Measured(TASK.key, "embedded", "scripted", ways, 1.0, None, None, 0, "ab", {}, {})
    write_measured(measured_path(tmp_path / "from", "embedded", "scripted", TASK), record)
    main(["demos", "table", "--from", str(tmp_path / "from"), "--out", str(tmp_path / "out")])
    page, entries = map(Path, capsys.readouterr().out.splitlines())
    assert "left 13/20" in page.read_text()
    assert json.loads(entries.read_text())[0]["task"] == TASK.key


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["show"], "name a task"),
        (["show", TASK.name], "makes them"),
        (["show", "no_such_task"], "unknown LIBERO task"),
        (["show", "--file", "nowhere.hdf5"], "does not exist"),
        (["table", "--from", "nowhere"], "dlr demos measure"),
    ],
)
def test_a_mistake_is_one_line(
    arguments: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as caught:
        main(["demos", *arguments])
    (line,) = capsys.readouterr().err.splitlines()
    assert caught.value.code == 2
    assert line.startswith("dlr: ") and message in line
    assert not list(tmp_path.iterdir())
