"""`dlr view`: upright pictures of init states, demonstrations and files; one line per mistake."""

from __future__ import annotations

import json
from pathlib import Path

import imageio.v3 as iio
import imageio_ffmpeg
import numpy as np
import pytest

from cli.main import main
from simulation.assets.resolve import embedded_pack
from simulation.tasks import get_task

TASK = "KITCHEN_SCENE10_close_the_top_drawer_of_the_cabinet"


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DLR_LIBERO_ASSETS", str(embedded_pack().path))


def test_an_init_state_is_upright(capsys: pytest.CaptureFixture[str]) -> None:
    main(["view", TASK, "--cameras", "agentview", "--size", "96"])
    assert capsys.readouterr().out == f"{TASK}.png: 1 pictures\n"
    sheet = iio.imread(f"{TASK}.png").mean(axis=2)
    picture = sheet[25 : 25 + 96, 6 : 6 + 96]
    assert sheet.shape[1] == 96 + 12
    assert picture[-24:].mean() > 2 * picture[:24, :24].mean()  # the table, and the dark wall


def test_several_init_states_differ() -> None:
    main(
        [
            "view",
            TASK,
            "--init",
            "0",
            "7",
            "--cameras",
            "agentview",
            "--size",
            "64",
            "--out",
            "a.jpg",
        ]
    )
    sheet = iio.imread("a.jpg").astype(int)
    first, second = sheet[25:89, 6:70], sheet[25:89, 76:140]
    assert 0.5 < np.abs(first - second).mean() < 30


def test_a_scripted_demonstration_as_video_and_sheet(capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--scripted", "--size", "32", "--cameras", "agentview"]
    main(["view", TASK, *options, "--every", "4", "--fps", "5", "--out", "a.mp4"])
    printed = capsys.readouterr()
    assert "close the top drawer of the cabinet: success (scripted" in printed.err
    reader = imageio_ffmpeg.read_frames("a.mp4")
    meta = next(reader)
    frames = [np.frombuffer(frame, np.uint8).astype(int) for frame in reader]
    assert printed.out == f"a.mp4: {len(frames)} pictures\n"
    assert meta["size"] == (32, 32) and 8 < len(frames) < 40
    assert np.abs(frames[0] - frames[-1]).mean() > 3
    main(["view", TASK, *options, "--out", "a.png"])
    assert int(capsys.readouterr().out.split()[1]) <= 12


def test_a_file_says_its_task_itself(capsys: pytest.CaptureFixture[str]) -> None:
    task = get_task(TASK)
    demonstration = {
        "suite": task.suite,
        "task": task.name,
        "init_state": task.init_states()[0].tolist(),
        "actions": np.zeros((3, 7)).tolist(),
    }
    Path("demo.json").write_text(json.dumps(demonstration))
    main(["view", "--file", "demo.json", "--size", "32", "--out", "new/a.png"])
    assert capsys.readouterr().out == "new/a.png: 4 pictures\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "name a task"),
        (["no_such_task"], "unknown LIBERO task"),
        ([TASK, "--out", "a.mp4"], "an init state is a picture"),
        ([TASK, "--out", "a.gif"], "should end in .png, .jpg or .mp4"),
        ([TASK, "--size", "0"], "are positive"),
        ([TASK, "--scripted", "--fps", "nan"], "are positive"),
        ([TASK, "--scripted", "--fps", "1e-7"], "--fps 0.01 or more"),
        ([TASK, "--size", "60000"], "ask for smaller ones"),
        ([TASK, "--init", "50"], "outside 0..49"),
        ([TASK, "--seed", "-1"], "outside 0..4294967295"),
        ([TASK, "--way", "sideways"], "no way 'sideways'"),
        ([TASK, "--cameras", "front"], "this task has"),
        (["--file", "nowhere.hdf5"], "is not there"),
        ([TASK, "--assets", "nowhere"], "the LIBERO assets folder"),
    ],
)
def test_a_mistake_is_one_line(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["view", *arguments])
    (line,) = capsys.readouterr().err.splitlines()
    assert caught.value.code == 2
    assert line.startswith("dlr: ") and message in line
    assert not list(tmp_path.iterdir())


def test_no_opengl_is_one_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from common.errors import RenderError

    def nothing() -> str:
        raise RenderError("no OpenGL can render here without a display")

    monkeypatch.setattr("simulation.pictures.rendering.choose_backend", nothing)
    with pytest.raises(SystemExit):
        main(["view", TASK])
    assert capsys.readouterr().err == "dlr: no OpenGL can render here without a display\n"
