"""The board of many results: what is put together, what the page says, and how it works."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from eval_harness.perturbations.arms import CONTROL_ARM
from eval_harness.results import ResultsError
from reports.robustness.entries import differences, group_entries, load_entries
from reports.robustness.write import write_board, write_report
from reports.video import VideoSettings
from tests.browser import colours, painted, title_after
from tests.eval_harness.folders import BOWL, DRAWER, trajectory, write_folder
from tests.reports.robustness.arms_folder import write_arms
from tests.reports.test_run import Page

SMALL = VideoSettings(count=3, size=32, frames=4)
HOSTILE = '<script>alert("x")</script> & co'
STRONG = {
    "control": [True] * 12,
    "camera-1": [True] * 12,
    "camera-4": [False] + [True] * 11,
    "light-1": [True] * 12,
    "light-4": [True] * 12,
}
WEAK = {
    "control": [True] * 10 + [False] * 2,
    "camera-1": [False] * 6 + [True] * 6,
    "camera-4": [False] * 12,
    "light-1": [True] * 10 + [False] * 2,
    "light-4": [False] * 5 + [True] * 7,
}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Return two policies under perturbation, one that is not, and one of another protocol."""
    root = tmp_path_factory.mktemp("board")
    stored = {(DRAWER, 0): trajectory(steps=9)}
    return [
        write_arms(root / "weak", "camera,light", "1,4", WEAK, stored, {"kind": HOSTILE}),
        write_arms(root / "strong", "camera,light", "1,4", STRONG, stored),
        write_folder(root / "plain", {DRAWER: [True, False] * 6}),
        write_folder(root / "other", {BOWL: [True, None]}, protocol="openvla"),
    ]


@pytest.fixture(scope="module")
def page(folders: list[Path]) -> str:
    path = write_board(folders, folders[0].parent / "board.html", SMALL)
    return path.read_text()


def test_results_of_another_protocol_are_a_group_of_their_own(folders: list[Path]) -> None:
    first, second = group_entries(load_entries(folders))
    assert [entry.title for entry in first.entries] == ["strong", "weak", "plain"], "the best first"
    assert [entry.title for entry in second.entries] == ["other"]
    (reason,) = differences(first, second)
    assert reason.startswith("the protocol (openpi and openvla: ")
    assert [[entry.title for entry in board] for board in first.boards] == [["strong", "weak"]]


def test_other_assets_are_told_and_an_arm_alone_is_not_its_control(
    folders: list[Path], tmp_path: Path
) -> None:
    pack = {"name": "hub", "digest": "f" * 64}
    other = write_folder(tmp_path / "hub", {DRAWER: [True]}, assets=pack)
    groups = group_entries(load_entries([folders[2], other, folders[0] / "light-4"]))
    assert ["hub ffffffffffff" in reason for reason in differences(groups[0], groups[1])] == [True]
    (reason,) = differences(groups[0], groups[2])
    assert "perturbations" in reason and "unperturbed and light 4" in reason


def test_published_tasks_that_are_defined_otherwise_are_a_group_of_their_own(
    tmp_path: Path,
) -> None:
    def write(name: str, **definitions: str) -> Path:
        assets = {"name": "hub", "digest": "f" * 64, "definitions": definitions}
        return write_folder(tmp_path / name, {DRAWER: [True, True], BOWL: [True]}, assets=assets)

    folders = [write("a", x="1", y="2"), write("b", x="1", y="3"), write("c", x="1", z="4")]
    groups = group_entries(load_entries(folders))
    assert [[entry.title for entry in group.entries] for group in groups] == [["a", "c"], ["b"]]
    assert differences(*groups) == ["definitions of a published suite (1, such as y)"]


def test_folders_of_one_name_are_told_apart(folders: list[Path], tmp_path: Path) -> None:
    twin = write_folder(tmp_path / "twin" / "plain", {DRAWER: [True]})
    titles = [entry.title for entry in load_entries([folders[2], twin, twin])]
    assert titles == [f"{folders[2].parent.name}/plain", "twin/plain"]


def test_page_says_what_is_kept(page: str) -> None:
    found = Page(page)
    assert found.open == [] and HOSTILE in found.text
    for text in (
        "4 results in 2 groups",
        "Group 2 cannot be compared with group 1: they differ in the protocol",
        "100.0% (24/24)",
        "83.3% (20/24)",
        "other is incomplete: of 2 planned episodes 1 are missing",
        "stand-in assets",
    ):
        assert text in found.text, text
    rows = re.findall(r'<tr data-words="weak .*?</tr>', page, re.DOTALL)
    camera = next(row for row in rows if 'data-axis="camera"' in row)
    values = re.findall(r'data-value="([\d.]*)"', camera)
    assert [float(v) for v in values] == pytest.approx([20 / 24, 8 / 20, 0.0], abs=1e-6)
    assert '<span class="verdict less">less</span>' in camera
    curves = [v for tag, key, v in found.attributes if (tag, key) == ("figure", "aria-label")]
    assert "weak: 40% at 1, 0% at 4" in curves[0] and "strong: 100% at 1, 92% at 4" in curves[0]


def test_page_stands_alone(page: str) -> None:
    found = Page(page)
    assert found.tags.count("script") == 1
    assert not {"link", "iframe", "object", "base", "img"} & set(found.tags)
    references = [v for _, key, v in found.attributes if key in ("src", "poster")]
    assert references and all(v.startswith("data:") for v in references)
    assert not re.search(r"https?:", page)
    assert not [key for _, key, _ in found.attributes if key.startswith("on")]


def test_videos_show_what_failed_beside_its_control(page: str, folders: list[Path]) -> None:
    """By turns of the policies and axes: strong's camera, weak's camera, weak's light."""
    labels = [v for tag, key, v in Page(page).attributes if (tag, key) == ("video", "aria-label")]
    conditions = re.findall(r"; (\w+ \d): failure", "\n".join(labels))
    assert conditions == ["camera 4", "camera 1", "light 4"]
    assert "control: success after 9 steps" in labels[0] and "Episode 0" in labels[0]
    (weak,) = load_entries([folders[0]])
    assert len(weak.lost("camera-1")) == 12 and weak.lost("light-1") == []


def test_report_of_one_policy(folders: list[Path], tmp_path: Path) -> None:
    html, numbers = write_report(folders[0], tmp_path)
    found = Page(html.read_text())
    assert numbers.name == "retained.json" and HOSTILE in found.text
    assert "42 such episodes, of which none is drawn here" in found.text
    selects = [v for tag, key, v in found.attributes if (tag, key) == ("select", "data-field")]
    assert selects == ["axis", "level"]


def test_nothing_to_show(tmp_path: Path) -> None:
    with pytest.raises(ResultsError, match="name at least one"):
        write_board([], tmp_path / "board.html")
    with pytest.raises(ResultsError, match="no results folder"):
        write_board([tmp_path], tmp_path / "board.html")
    assert CONTROL_ARM == "control"


def test_browser_sorts_and_filters(page: str, tmp_path: Path) -> None:
    """A script of the test's own, which the page's policy would refuse, works its controls."""
    work = """
    const select = document.querySelector('select[data-field="axis"]');
    select.value = "camera"; select.dispatchEvent(new Event("change"));
    const table = document.querySelectorAll("table.sortable")[1];
    table.tHead.querySelectorAll("button")[3].click();
    const rows = [...table.tBodies[0].rows].filter((row) => !row.hidden);
    const films = [...document.querySelectorAll("figure[data-level]")].filter((f) => !f.hidden);
    document.title = [rows.map((row) => row.dataset.policy + " " + row.dataset.axis).join(", "),
      document.getElementById("count").textContent, films.length].join("; ");
    """
    title = title_after(page, work, tmp_path)
    assert title == "weak camera, strong camera; 10 of 16 rows; 2"


@pytest.mark.parametrize(("width", "dark"), [(375, True)])
def test_browser_lays_the_page_out(page: str, tmp_path: Path, width: int, dark: bool) -> None:
    """On a phone, where the tables scroll within themselves, nothing sticks out."""
    pixels = painted(page, tmp_path, width, height=4000, dark=dark)
    assert colours(pixels[:, -12:]) == {(0x16, 0x18, 0x1B)}, "something sticks out"
    assert (0x2F, 0x8F, 0xD0) in colours(pixels), "the bars are not painted"
