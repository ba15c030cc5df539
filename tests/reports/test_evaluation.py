"""The report of an evaluation: numbers, videos of real states, and how it looks in a browser."""

from __future__ import annotations

import base64
import dataclasses
import io
import json
import re
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import pytest
from rich.console import Console

from common.errors import AssetError, SettingError
from common.json_files import sealed_line, write_sealed
from eval_harness.compare import ComparisonError, compare_folders
from eval_harness.results import ResultsError, load_results, summarise, trajectory_path
from eval_harness.sequential.rules import StoppingRule, find_stop
from eval_harness.sequential.stopped import load_counted
from reports.evaluation import write_report
from reports.evaluation_tables import print_comparison, print_summary
from reports.video import VideoSettings, draw_differing, draw_failures, find_assets
from simulation.tasks import get_task, list_tasks
from tests.browser import colours, painted
from tests.eval_harness.folders import BOWL, DRAWER, Outcome, trajectory, write_folder
from tests.reports.test_run import Page

SMALL = VideoSettings(count=2, size=32, frames=5)
HOSTILE = '<script>alert("$x^2$")</script> & co'
OUTCOMES = {DRAWER: [False, True, False, False], BOWL: [True, False, True, True]}
BASELINE = {DRAWER: [True, True, False, False], BOWL: [True, False, True, True]}
TIMING = {"simulation": 6.0, "rendering": 3.0, "preparation": 0.0, "policy": 0.9, "other": 0.1}


def write(folder: Path, **settings) -> tuple[str, dict, str]:
    """Return page, JSON and printed text."""
    console = Console(file=io.StringIO(), width=120, record=True)
    html, data = write_report(folder, console=console, **settings)
    return html.read_text(), json.loads(data.read_text()), console.export_text()


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Return a baseline and an evaluation with trajectories of the drawer's episodes."""
    root = tmp_path_factory.mktemp("report")
    stored = {(DRAWER, n): trajectory(init_index=n, steps=9 + n) for n in (0, 2)}
    a = write_folder(root / "a", BASELINE, trajectories=stored)
    b = write_folder(root / "b", OUTCOMES, trajectories=stored)
    line = sealed_line({**TIMING, "wall": 70.0, "overhead": 0.01})
    (b / "timing.jsonl").write_bytes(2 * line)
    return a, b


@pytest.fixture(scope="module")
def report(folders: tuple[Path, Path]) -> tuple[str, dict, str]:
    return write(folders[1], baseline=folders[0], videos=SMALL)


def test_numbers(report: tuple[str, dict, str]) -> None:
    html, data, printed = report
    entry = data["summary"]["tasks"][BOWL]
    assert (entry["successes"], entry["rate"]) == (3, 0.75)
    assert data["comparison"]["all"]["test"]["only_baseline"] == 1
    assert data["time"] == pytest.approx(
        {k: 2 * v for k, v in TIMING.items()}
        | {
            "wall": 140.0,
            "overhead": 0.01,
            "runs": 2,
        }
    )
    page = Page(html)
    assert page.open == []
    for text in ("75.0% (3/4)", "30% to 95%", "embedded-v1"):
        assert text in printed and text in page.text
    words = ("2 min 20 s by the clock", "in 2 runs", "simulation 60.0% (12.0 s)", "-12.5")
    assert all(text in page.text for text in words)
    assert data["config"]["protocol_digest"] in page.text
    assert "stand-in assets" in page.text


def test_bars_are_as_long_as_the_rates(report: tuple[str, dict, str]) -> None:
    bars = re.findall(r'class="fill" width="([\d.]+)%"', report[0])
    assert [float(bar) for bar in bars] == [50, 25, 25, 75, 75][: len(bars)] and len(bars) == 5


def test_page_stands_alone(report: tuple[str, dict, str]) -> None:
    page = Page(report[0])
    assert not {"script", "link", "iframe", "object", "base"} & set(page.tags)
    references = [v for _, key, v in page.attributes if key in ("src", "href", "poster")]
    kinds = ("data:video/mp4;base64,", "data:image/jpeg;base64,")
    assert references and all(v.startswith(kinds) for v in references)
    assert "http:" not in report[0] and "https:" not in report[0]
    assert not [key for _, key, _ in page.attributes if key.startswith("on")]
    labels = [v for tag, key, v in page.attributes if (tag, key) == ("video", "aria-label")]
    assert len(labels) == page.tags.count("video") == 3
    words = "Baseline: Success after 9 steps; Evaluated: Failure after 9 steps."
    assert f"Episode 0, init state 0. {words}" in labels[0]


def decode(mp4: bytes, path: Path) -> tuple[dict, list[np.ndarray]]:
    """Return what a video says of itself, and its pictures."""
    path.write_bytes(mp4)
    reader = imageio_ffmpeg.read_frames(str(path))
    meta = next(reader)
    width, height = meta["size"]
    return meta, [np.frombuffer(frame, np.uint8).reshape(height, width, 3) for frame in reader]


def test_videos_show_the_stored_states(report: tuple[str, dict, str], tmp_path: Path) -> None:
    sources = [v for tag, key, v in Page(report[0]).attributes if (tag, key) == ("video", "src")]
    clips = [base64.b64decode(source.split(",")[1]) for source in sources]
    (pair_meta, pair), (meta, alone) = (decode(clips[i], tmp_path / "v.mp4") for i in (0, 1))
    assert pair_meta["size"] == (2 * 32 + 4, 32) and meta["size"] == (32, 32)
    assert meta["codec"] == "h264" and meta["pix_fmt"].startswith("yuv420p")
    # 9 steps in 5 pictures: every third and the last, at twice real time.
    assert len(alone) == len(pair) == 4 and meta["fps"] == pytest.approx(20 / 3 * 2, abs=0.01)
    left, right = pair[-1][:, :30].astype(int), pair[-1][:, 38:].astype(int)
    assert np.abs(left - right[:, :30]).mean() < 40, "both are of the same states"
    assert pair[-1].std() > 10, "something is seen"


def test_each_task_has_its_turn_and_what_was_not_stored_is_left_out(
    folders: tuple[Path, Path],
) -> None:
    results = load_results(folders[1])
    scenes = draw_failures(results, SMALL)
    assert [s.episodes[0].key for s in scenes] == [(DRAWER, 0), (DRAWER, 2)]
    assert draw_failures(results, VideoSettings(count=0)) == []
    (pair,) = draw_differing(compare_folders(*folders), SMALL)
    assert [e.success for e in pair.episodes] == [True, False]


def test_the_shorter_episode_waits_for_the_longer(tmp_path: Path) -> None:
    a = write_folder(
        tmp_path / "a", {DRAWER: [True]}, trajectories={(DRAWER, 0): trajectory(steps=3)}
    )
    b = write_folder(
        tmp_path / "b", {DRAWER: [False]}, trajectories={(DRAWER, 0): trajectory(steps=9)}
    )
    (scene,) = draw_differing(compare_folders(a, b), SMALL)
    _, pictures = decode(scene.clip.mp4, tmp_path / "v.mp4")
    assert len(pictures) == 4
    waiting = np.abs(pictures[2][:, :32].astype(int) - pictures[3][:, :32]).mean()
    moving = np.abs(pictures[2][:, 36:].astype(int) - pictures[3][:, 36:]).mean()
    assert waiting < moving


def test_incomplete_data_is_shown_without_a_rate(tmp_path: Path) -> None:
    errors: dict[str, list[Outcome]] = {DRAWER: [True, HOSTILE, None], BOWL: [True, True, False]}
    failed = {"passed": False, "checks": [{"name": "mujoco", "status": "FAIL"}]}
    folder = write_folder(tmp_path / "b", errors, policy={"kind": HOSTILE}, preflight=failed)
    html, data, printed = write(folder)
    page = Page(html)
    assert page.open == [] and "script" not in page.tags
    assert (
        data["summary"]["all"]["rate"] is None and data["summary"]["tasks"][DRAWER]["rate"] is None
    )
    assert "66.7% (2/3)" in page.text and "66.7% (2/3)" in printed
    assert "50.0%" not in page.text, "a rate of incomplete data"
    for text in (HOSTILE, "1 are missing and 1 are errors", "preflight failed", "3 attempts"):
        assert text in page.text
    assert HOSTILE in printed and "incomplete" in printed
    assert [error["error"] for error in data["errors"]] == [HOSTILE]
    assert "none is drawn here" in page.text


def test_unlike_evaluations(tmp_path: Path, folders: tuple[Path, Path]) -> None:
    other = write_folder(tmp_path / "b", OUTCOMES, protocol="openvla")
    with pytest.raises(ComparisonError, match="protocol"):
        write(other, baseline=folders[0])
    assert not (other / "report.html").exists()
    html, data, printed = write(other, baseline=folders[0], allow_different=True)
    assert "The two evaluations are not the same protocol" in Page(html).text
    assert "WARNING" in printed and len(data["comparison"]["warnings"]) == 1


def test_stopped_early(tmp_path: Path) -> None:
    """Only the rounds that the rule looked at count, in the report and in a comparison."""
    outcomes = {task: [True] * 14 + [None] * 16 for task in (DRAWER, BOWL)}
    folder = write_folder(tmp_path / "b", outcomes)
    full = write_folder(tmp_path / "a", {task: [False] * 30 for task in outcomes})
    rule = StoppingRule(threshold=0.8)
    stop = find_stop(outcomes, rule)
    assert stop is not None and stop.rounds < 14
    write_sealed(folder / "stop.json", {"rule": vars(rule), **vars(stop)})
    counted, found = load_counted(folder)
    assert (
        found == stop
        and len(counted.episodes) == stop.n == len(counted.config["plan"]["tasks"]) * stop.rounds
    )
    html, data, printed = write(folder, baseline=full)
    assert data["summary"]["complete"] and data["stop"]["rounds"] == stop.rounds
    for text in (f"Stopped after {stop.rounds} episode(s)", "success is above 80%"):
        assert text in Page(html).text and text in printed
    assert f"{stop.low:.1%} to 100.0%" in Page(html).text
    assert data["comparison"]["all"]["pairs"] == stop.n
    assert any("evaluated policy stopped early" in note for note in data["comparison"]["notes"])
    write_sealed(folder / "stop.json", {"rounds": 1})
    with pytest.raises(ResultsError, match=r"stop\.json is damaged"):
        load_counted(folder)


def test_failures_that_were_not_stored_are_told(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "b", {DRAWER: [False, True, False]})
    html, _, printed = write(folder, videos=VideoSettings(count=2, size=32, frames=5))
    words = "2 of 2 failures cannot be shown"
    assert words in Page(html).text and words in printed and "--no-videos" in printed
    assert words not in write(folder)[2], "no videos were asked for"


def test_a_run_stands_beside_what_is_published(tmp_path: Path) -> None:
    outcomes = {task.key: [True] * 4 + [False] for task in list_tasks("libero_spatial")}
    assets = {"name": "libero", "digest": "f" * 64}
    folder = write_folder(tmp_path / "b", outcomes, protocol="openvla", assets=assets)
    html, data, printed = write(folder, published="openvla")
    (row,) = data["published"]["rows"]
    assert row["agreement"] == "agrees" and row["published"] == pytest.approx(0.847)
    for text in ("84.7%", "agrees", "arXiv 2406.09246"):
        assert text in Page(html).text and text in printed


@pytest.mark.parametrize("width", [60, 80, 160])
def test_tables_keep_whole_words(tmp_path: Path, width: int) -> None:
    """On a narrow terminal, too, no name is cut within a word and no line runs over."""
    tasks = [task.key for task in list_tasks("libero_10")[:2]]
    folders = [
        write_folder(tmp_path / name, {task: [True] * n + [False] * (50 - n) for task in tasks})
        for name, n in (("a", 37), ("b", 13))
    ]
    console = Console(file=io.StringIO(), width=width, record=True)
    print_summary(summarise(load_results(folders[0])), console)
    found = compare_folders(folders[0], folders[1])
    comparison = dataclasses.replace(
        found,
        baseline=dataclasses.replace(found.baseline, folder=Path("a")),
        evaluated=dataclasses.replace(found.evaluated, folder=Path("b")),
    )
    print_comparison(comparison, console)
    lines = console.export_text().splitlines()
    assert max(map(len, lines)) <= width
    words = {word for line in lines for word in line.split()}
    for task in tasks:
        assert set(get_task(task).name.split("_")) <= words
    assert {"baseline", "evaluated", "74.0%", "26.0%", "-48.0"} <= words


def test_assets_that_are_not_at_hand(tmp_path: Path) -> None:
    pack = {"name": "hub", "digest": "f" * 64}
    folder = write_folder(
        tmp_path / "b", {DRAWER: [False]}, assets=pack, trajectories={(DRAWER, 0): trajectory()}
    )
    with pytest.raises(AssetError, match=r"hub .ffffffffffff.*--assets"):
        write(folder, videos=SMALL)
    assert "not published ones" not in Page(write(folder)[0]).text
    with pytest.raises(AssetError):
        find_assets(load_results(folder))


def test_damaged_trajectory(tmp_path: Path) -> None:
    folder = write_folder(
        tmp_path / "b", {DRAWER: [False]}, trajectories={(DRAWER, 0): trajectory()}
    )
    trajectory_path(folder, DRAWER, 0).write_bytes(b"PK")
    with pytest.raises(ResultsError, match=r"0\.hdf5"):
        write(folder, videos=SMALL)


@pytest.mark.parametrize("setting", [{"size": 31}, {"frames": 1}, {"cameras": ()}, {"speed": 0.0}])
def test_videos_that_make_no_sense(setting: dict) -> None:
    with pytest.raises(SettingError):
        VideoSettings(**setting)


@pytest.mark.parametrize(("width", "dark"), [(375, False), (1200, True)])
def test_browser_shows_the_page(
    report: tuple[str, dict, str], tmp_path: Path, width: int, dark: bool
) -> None:
    """Chromium lays the page out within the width of a phone and of a desk, and paints it."""
    pixels = painted(report[0], tmp_path, width, height=3600, dark=dark)
    paper = (0x16, 0x18, 0x1B) if dark else (0xFF, 0xFF, 0xFF)
    assert colours(pixels[:, -12:]) == {paper}, "something sticks out"
    fill = (0x2F, 0x8F, 0xD0) if dark else (0x00, 0x72, 0xB2)
    assert {fill, (0xE6, 0x9F, 0x00)} <= colours(pixels), "the bars are not painted"
