"""An evaluation's episodes as rows of a table, as films, and as a sheet of `dlr view`."""

from __future__ import annotations

import csv
import io
from contextlib import nullcontext
from pathlib import Path
from unittest.mock import Mock

import imageio_ffmpeg
import numpy as np
import pytest

from cli.main import main
from common.errors import DlrError, UsageError
from eval_harness.results import EpisodeResult, ResultsError
from eval_harness.sequential.rules import Stop, StoppingRule
from eval_harness.sequential.stopped import write_stop
from reports.episodes import films
from reports.episodes.films import choose_episodes, film, find_episode, load_episodes
from reports.episodes.rows import COLUMNS, to_csv
from simulation.assets.resolve import embedded_pack
from simulation.recordings.footage import Footage
from simulation.tasks import get_task
from tests.eval_harness.folders import BOWL, DRAWER, Outcome, made_up, trajectory, write_folder
from tests.reports.robustness.arms_folder import write_arms


@pytest.fixture(scope="module")
def arms(tmp_path_factory: pytest.TempPathFactory) -> Path:
    outcomes: dict[str, list[Outcome]] = {"control": [True, "a fault"], "camera-5": [False, True]}
    stored = {(DRAWER, n): trajectory(steps=9) for n in (0, 1)}
    folder = tmp_path_factory.mktemp("episodes") / "arms"
    return write_arms(folder, "camera", "5", outcomes, stored)


def test_rows(arms: Path, tmp_path: Path) -> None:
    plain = write_folder(tmp_path / "plain", {BOWL: [True]}, seed=3)
    rows = list(csv.DictReader(io.StringIO(to_csv([arms, plain]))))
    assert tuple(rows[0]) == COLUMNS and len(rows) == 9
    control = [row for row in rows if row["results"].endswith("control")]
    assert [(r["axes"], r["level"], r["success"], r["error"]) for r in control[:2]] == [
        ("", "0", "1", ""),
        ("", "0", "", "a fault"),
    ]
    perturbed = [row for row in rows if row["axes"] == "camera"]
    assert [(r["level"], r["success"], r["steps"]) for r in perturbed[:2]] == [
        ("5", "0", "9"),
        ("5", "1", "9"),
    ]
    assert rows[-1]["evaluation_seed"] == "3" and rows[-1]["suite"] == "libero_goal"


def test_rows_tell_what_ran_beyond_a_stop(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "stopped", {DRAWER: [True] * 4, BOWL: [True, True, "x", None]})
    write_stop(folder, StoppingRule(0.5), Stop(2, "above", 4, 4, 0.6, 1.0))
    rows = list(csv.DictReader(io.StringIO(to_csv([folder]))))
    found = {(row["task"], int(row["episode"])): row["counted"] for row in rows}
    assert len(found) == 7
    assert all(counted == str(int(episode < 2)) for (_, episode), counted in found.items())


def test_episodes_are_chosen(arms: Path) -> None:
    results = load_episodes(arms / "camera-5")
    assert [e.episode for e in choose_episodes(results, "successes", [DRAWER])] == [1]
    assert [e.key for e in choose_episodes(results, episodes=[0])] == [(DRAWER, 0)]
    assert find_episode(results, get_task(DRAWER), 1).success
    for wrong, words in (
        (lambda: load_episodes(arms), "name one, such as"),
        (lambda: choose_episodes(results, episodes=[7]), "has no such episode"),
        (lambda: choose_episodes(results, tasks=[BOWL]), "no stored trajectory"),
    ):
        with pytest.raises(ResultsError, match=words):
            wrong()
    with pytest.raises(UsageError, match="2 tasks: name one"):
        find_episode(results, None, 0)


def test_a_film_has_the_look_of_its_episode(arms: Path) -> None:
    looks = [
        film(results, find_episode(results, get_task(DRAWER), 0)).look
        for results in map(load_episodes, (arms / "control", arms / "camera-5"))
    ]
    assert [{number.field for number in look.numbers} for look in looks] == [
        set(),
        {"cam_pos", "cam_quat", "cam_fovy"},
    ]


def test_tasks_of_one_name_in_two_suites_have_films_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = ["libero_goal/open_it", "libero_goal_swap/open_it"]
    shown = [EpisodeResult(key, 0, 0, 0, True, 5, 1.0) for key in keys]
    same = made_up(np.zeros((2, 3)))
    shot = Footage(get_task(BOWL), embedded_pack(), same.states, same.fixtures, "")
    monkeypatch.setattr(films, "film", lambda *_: shot)
    monkeypatch.setattr(films, "Renderer", lambda *_: nullcontext(Mock()))
    monkeypatch.setattr(films, "draw_states", lambda *_: [])
    monkeypatch.setattr(films, "write_video", lambda path, *_: None)
    results = load_episodes(write_folder(tmp_path / "a", {BOWL: [True]}))
    paths = films.write_films(results, shown, tmp_path, ("agentview",), 32)
    assert [path.name for path in paths] == [
        "libero_goal--open_it-0-success.mp4",
        "libero_goal_swap--open_it-0-success.mp4",
    ]


def test_commands(arms: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--cameras", "agentview", "--size", "32"]
    folder, out = str(arms / "camera-5"), tmp_path / "films"
    main(["eval", "video", folder, "--out", str(out), "--show", "successes", *options])
    (path,) = out.iterdir()
    assert path.name == f"{DRAWER.replace('/', '--')}-1-success.mp4"
    reader = imageio_ffmpeg.read_frames(str(path))
    meta = next(reader)
    assert meta["size"] == (32, 32) and meta["fps"] == 20 and len(list(reader)) == 10
    sheets = []
    for name in ("control", "camera-5"):
        sheet = tmp_path / f"{name}.png"
        where = ["--results", str(arms / name), "--episode", "0", "--out", str(sheet)]
        main(["view", DRAWER, *where, *options])
        sheets.append(sheet.read_bytes())
    assert sheets[0] != sheets[1], "the moved camera sees the same states otherwise"
    assert "camera-5, episode 0" in capsys.readouterr().err
    main(["eval", "csv", str(arms), "--out", str(tmp_path / "e.csv")])
    assert (tmp_path / "e.csv").read_text() == to_csv([arms])
    main(["eval", "csv", str(arms)])
    assert capsys.readouterr().out.endswith(to_csv([arms]))
    assert np.unique(np.frombuffer(sheets[0], np.uint8)).size > 50


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["eval", "video", "{arms}/control", "--out", "x", "--size", "31"], "even"),
        (["eval", "board", "{arms}", "--out", "x.txt"], "should end in .html"),
        (["view", "--results", "{arms}/control", "--file", "x"], "give one of"),
    ],
)
def test_mistakes(
    arms: Path, arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as found:
        main([part.format(arms=arms) for part in arguments])
    assert found.value.code == DlrError.status and words in capsys.readouterr().err
