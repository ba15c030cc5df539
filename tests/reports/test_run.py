"""The report: its numbers, a page that stands alone, and how it looks in a real browser."""

from __future__ import annotations

import io
import json
import os
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from analysis.diversity import compare
from analysis.trajectories import Trajectory, match_initial_states
from common.errors import OutputError
from generator.finetuning.theorem import bound_row
from reports.run import write_report
from reports.run_outcomes import (
    Count,
    Filmstrip,
    LearningCurve,
    RecipeOutcome,
    Source,
    TaskOutcome,
)
from reports.run_sources import over_tasks
from reports.run_tables import number
from tests.browser import colours, painted

HOSTILE = '<script>alert("$x^2$")</script> & co'
VOID = {"meta", "img", "br", "hr", "input", "link"}


def rollout(pattern: int, seed: int, way: str = "") -> Trajectory:
    """A way through space that bends to one side by its pattern."""
    rng = np.random.default_rng([seed, pattern + 1])
    time = np.linspace(0, 1, int(rng.integers(20, 40)))
    proprio = np.zeros((len(time), 8))
    bend = 0.1 * max(pattern, 0) * np.sin(np.pi * time)
    proprio[:, :3] = np.stack([0.2 * time, bend, 1 - 0.1 * time], 1)
    proprio[:, :3] += rng.normal(0, 0.004, 3)
    proprio[:, 3] = np.pi
    actions = rng.uniform(-1, 1, (len(time) - 1, 7))
    return Trajectory(proprio, proprio[:, :3] * 10, pattern, seed, -1, True, actions, way)


def demonstrations() -> list[Trajectory]:
    """Ten of each of three ways, which bend as the patterns do."""
    names = enumerate(("near", "middle", "far"))
    return [replace(rollout(z, 90 + n, way), pattern=-1) for z, way in names for n in range(10)]


def task(language: str = "close the drawer", name: str = "DLR", seeds: int = 12) -> TaskOutcome:
    curve = LearningCurve(None, np.array([0, 1000]), np.array([0.5, 1.0]))
    frame = np.full((24, 32, 3), 120, np.uint8)
    baseline = RecipeOutcome(
        name="O2O-RL",
        trajectories=[rollout(-1, seed) for seed in range(seeds)],
        learned={-1: Count(31, 50)},
        reinforced={-1: Count(50, 50)},
        curves=[curve],
        collection={"attempts": 60},
    )
    candidate = RecipeOutcome(
        name=name,
        trajectories=[rollout(z, seed) for seed in range(seeds) for z in range(3)],
        learned={z: Count(20 + z, 50) for z in range(3)},
        reinforced={z: Count(47 + z, 50) for z in range(3)},
        recognised={z: Count(45, 50) for z in range(3)},
        discovery_nmi=0.93,
        curves=[curve, LearningCurve(1, [0, 1000], [0.25, 0.75])],
        training={
            "budget": {"why": "the least pattern (0) succeeds in 40%"},
            "stopped": "solved",
            "environment_steps": {"training": 900, "evaluation": 100, "total": 1000},
        },
        theorem=[bound_row(np.array([e, e]), 0.02, 0.04) for e in (0.5, 1.0, 9.0)],
        collection={"attempts": np.int64(62), "note": language},
        filmstrips=[Filmstrip(z, [frame] * 3) for z in range(3)],
    )
    provenance = {"asset_pack": "embedded", "config": {"clip": 0.2}, "folder": Path("a/b")}
    return TaskOutcome(
        "libero_90/DRAWER",
        language,
        baseline,
        candidate,
        provenance,
        demonstrations(),
        [Source("DLR, after learn", candidate.trajectories[:12])],
    )


def write(results: list[TaskOutcome], folder: Path) -> tuple[str, dict, str]:
    """Return page, JSON and printed text."""
    console = Console(file=io.StringIO(), width=100, record=True)
    html, data = write_report(results, folder, console)
    return html.read_text(), json.loads(data.read_text()), console.export_text()


class Page(HTMLParser):
    """Reads a page, checks that its elements nest, and keeps what the tests ask about."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.text = ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(tag, key, value or "") for key, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(tag, key, value or "") for key, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self.text += data


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, dict, str]:
    return write([task(), task("put the bowl on the plate")], tmp_path_factory.mktemp("report"))


def test_json_has_the_numbers(report: tuple[str, dict, str]) -> None:
    _, data, _ = report
    result = task()
    assert [entry["language"] for entry in data["tasks"]] == [
        "close the drawer",
        "put the bowl on the plate",
    ]
    entry = data["tasks"][0]
    matched = match_initial_states(result.baseline.trajectories, result.candidate.trajectories)
    expected = compare(*matched)["mean_pairwise_distance_positions"]
    found = entry["diversity"]["metrics"]["mean_pairwise_distance_positions"]
    assert found["baseline"]["value"] == expected.baseline.value
    assert found["candidate"]["low"] == expected.candidate.low
    assert found["ratio"]["value"] == pytest.approx(
        expected.candidate.value / expected.baseline.value
    )
    assert entry["diversity"]["trajectories"] == entry["diversity"]["starts"] == 12
    distances = entry["diversity"]["pattern_distances"]
    assert distances["between"] > distances["within"] > 0
    recipe = entry["recipes"]["DLR"]
    assert recipe["reinforced"]["0"]["successes"] == 47
    assert recipe["reinforced"]["0"]["low"] == pytest.approx(0.8378, abs=1e-4)
    assert recipe["curves"][1] == {"pattern": 1, "steps": [0, 1000], "success": [0.25, 0.75]}
    assert recipe["collection"]["attempts"] == 62
    assert recipe["training"]["stopped"] == "solved"
    assert recipe["theorem"][0]["bound"] == pytest.approx(0.52)
    assert entry["provenance"]["folder"] == "a/b"


def test_tables_are_printed(report: tuple[str, dict, str]) -> None:
    _, data, printed = report
    for text in ("O2O-RL", "DLR, pattern 2", "94% (47/50)", "(84% to 98%)", "Endpoint variance"):
        assert text in printed
    value = data["tasks"][0]["diversity"]["metrics"]["mean_dtw_positions"]["candidate"]["value"]
    assert f"{value:.3g}" in printed


def test_every_source_is_shown_by_itself(report: tuple[str, dict, str]) -> None:
    """Demonstrations and another stage stand beside the recipes, metres apart from radians."""
    html, data, printed = report
    sources = data["tasks"][0]["sources"]
    assert list(sources) == ["Demonstrations", "O2O-RL", "DLR", "DLR, after learn"]
    assert [s["episodes"] for s in sources.values()] == [30, 12, 36, 12]
    assert sources["DLR"]["figures"]["mode_entropy"]["value"] == pytest.approx(1)
    assert sources["O2O-RL"]["figures"]["mode_entropy"]["value"] == 0
    assert sources["O2O-RL"]["ways"] == {"near": 12}
    assert sources["DLR"]["confusion"]["counts"] == [[0, 0, 12], [0, 12, 0], [12, 0, 0]]
    assert sources["DLR"]["figures"]["way_agreement"]["value"] == 1
    page = Page(html)
    for text in ("Positions, in metres", "Rotations, in radians", "Coverage@10", "30 episodes",
                 "Endpoint variance [m², rad²]", "Mean squared jerk [m²/s⁶]"):  # fmt: skip
        assert text in page.text
    for text in ("Endpoint variance [m²]", "Endpoint variance [rad²]", "DLR: recognised as"):
        assert text in printed
    for found in sources.values():
        for figure in found["figures"].values():
            if figure["low"] is not None:
                assert figure["low"] <= figure["value"] + 1e-12


def test_tasks_are_the_unit_of_tests(report: tuple[str, dict, str]) -> None:
    """Two tasks cannot tell: p is 2 / 2² where both ratios are on one side."""
    html, data, printed = report
    found = data["over_tasks"]["mean_pairwise_distance_positions"]
    ratio = data["tasks"][0]["diversity"]["metrics"]["mean_pairwise_distance_positions"]["ratio"]
    assert found["tasks"] == 2 and found["p"] == 0.5 and found["corrected"] == 1
    assert found["ratio"] == pytest.approx(ratio["value"])
    assert "Over tasks" in printed and "sign-flip" in Page(html).text
    assert over_tasks([]) == []


def test_numbers_have_an_exponent_from_a_million_on() -> None:
    given = (1219.6, 999.7, 643.2, 12.84, 0.000319, -75432.0, 0.0, 9.86e23)
    written = ["1220", "1000", "643", "12.8", "0.000319", "-75400", "0.00", "9.86e+23"]
    assert [number(value) for value in given] == written


def test_page_contains_the_numbers(report: tuple[str, dict, str]) -> None:
    html, data, _ = report
    page = Page(html)
    assert page.open == []
    for text in (
        "94% (47/50)",
        "(84% to 98%)",
        "0.93",
        "12 successes of each recipe",
        '"clip": 0.2',
        "the least pattern (0) succeeds in 40%",
        "1,000 (100 of evaluations)",
        "vacuous: says nothing",
    ):
        assert text in page.text
    for metric in data["tasks"][0]["diversity"]["metrics"].values():
        assert f"{metric['candidate']['value']:#.3g}".rstrip(".") in page.text
    assert page.tags.count("section") == 2
    assert page.tags.count("svg") == 2 * 10


def test_page_stands_alone(report: tuple[str, dict, str]) -> None:
    html, _, _ = report
    page = Page(html)
    assert not {"script", "link", "iframe", "object", "base"} & set(page.tags)
    references = [v for _, key, v in page.attributes if key in ("src", "href", "xlink:href")]
    assert references and all(v.startswith(("data:image/", "#")) for v in references)
    assert all(ref.startswith("#") for ref in re.findall(r"url\(([^)]*)\)", html))
    assert "http:" not in html and "https:" not in html and "@import" not in html
    assert not [key for _, key, _ in page.attributes if key.startswith("on")]
    ids = [value for _, key, value in page.attributes if key == "id"]
    targets = [v[1:] for v in references if v.startswith("#")]
    targets += re.findall(r"url\(#([^)]*)\)", html)
    assert set(targets) <= set(ids)


def test_pictures_have_words(report: tuple[str, dict, str]) -> None:
    page = Page(report[0])
    alternatives = [v for tag, key, v in page.attributes if (tag, key) == ("img", "alt")]
    assert len(alternatives) == page.tags.count("img") == 2 * 9
    assert "DLR, pattern 1, frame 2 of 3" in alternatives
    labels = [v for tag, key, v in page.attributes if (tag, key) == ("figure", "aria-label")]
    assert len(labels) == 2 * 10
    assert any(
        "DLR, pattern 0: 20 of 50 after learn, 47 of 50 after reinforce" in v for v in labels
    )


def test_text_is_escaped(tmp_path: Path) -> None:
    html, data, printed = write([task(HOSTILE, name=HOSTILE)], tmp_path)
    page = Page(html)
    assert "script" not in page.tags
    assert HOSTILE in page.text
    assert data["tasks"][0]["language"] == HOSTILE
    assert HOSTILE in printed


def test_same_input_gives_the_same_bytes(tmp_path: Path) -> None:
    first, second = (write([task()], tmp_path / name) for name in "ab")
    assert first == second


def test_recipes_without_common_successes_are_still_reported(tmp_path: Path) -> None:
    result = task()
    lone = RecipeOutcome("O2O-RL", [], {-1: Count(0, 50)}, {-1: Count(0, 50)})
    html, data, printed = write(
        [TaskOutcome("t", "close", lone, result.candidate, result.provenance)], tmp_path
    )
    assert "Diversity was not measured" in printed and "Diversity was not measured" in html
    assert data["tasks"][0]["diversity"]["metrics"] == {}
    assert data["tasks"][0]["recipes"]["O2O-RL"]["reinforced"]["-1"]["high"] > 0.05
    assert Page(html).open == []


def test_two_trajectories_are_enough(tmp_path: Path) -> None:
    html, data, _ = write([task(seeds=2)], tmp_path)
    assert data["tasks"][0]["diversity"]["trajectories"] == 2
    assert "t-SNE" not in Page(html).text


def test_nothing_to_report(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="one task at least"):
        write_report([], tmp_path)


def test_unwritable_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutputError, match="choose another folder"):
        write([task(seeds=2)], tmp_path / "file")


def test_old_report_survives_a_failed_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write([task(seeds=2)], tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OutputError, match="No space left"):
        write([task(seeds=3)], tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_recipes_of_one_name() -> None:
    with pytest.raises(ValueError, match="name them apart"):
        task(name="O2O-RL")


def test_counts() -> None:
    assert Count(48, 50).interval == pytest.approx((0.8654, 0.9890), abs=1e-4)
    assert Count(1, 2).as_json()["rate"] == 0.5


@pytest.mark.parametrize("width", [375, 1200])
def test_browser_shows_the_page(report: tuple[str, dict, str], tmp_path: Path, width: int) -> None:
    """Chromium lays the page out within the width of a phone and of a desk, and paints it."""
    pixels = painted(report[0], tmp_path, width, height=6000)
    assert len(colours(pixels[:, -12:])) == 1, "something sticks out to the right"
    assert {(0x00, 0x72, 0xB2), (0xE6, 0x9F, 0x00)} <= colours(pixels), "the bars are not painted"


def test_further_recipes_stand_beside_the_baseline(tmp_path: Path) -> None:
    first = task()
    wide = RecipeOutcome(
        name="Diffusion RL",
        trajectories=[rollout(seed % 3, seed) for seed in range(12)],
        learned={-1: Count(40, 50)},
        reinforced={-1: Count(49, 50)},
        curves=[LearningCurve(None, [0, 1000], [0.5, 0.98])],
    )
    elsewhere = replace(wide, name="Gaussian RL", trajectories=[rollout(0, 99), rollout(0, 98)])
    html, data, printed = write([replace(first, further=[wide, elsewhere])], tmp_path)
    entry = data["tasks"][0]
    assert list(entry["recipes"]) == ["O2O-RL", "DLR", "Diffusion RL", "Gaussian RL"]
    assert list(entry["further"]) == ["Diffusion RL"]
    pair = match_initial_states(first.baseline.trajectories, wide.trajectories)
    expected = compare(*pair)["mean_pairwise_distance_positions"].ratio
    found = entry["further"]["Diffusion RL"]["mean_pairwise_distance_positions"]["ratio"]
    assert expected is not None and found["value"] == expected.value > 1
    assert list(entry["sources"])[1:4] == ["O2O-RL", "DLR", "Diffusion RL"]
    page = Page(html)
    assert page.open == [] and f"{expected.value:#.3g}×" in page.text
    assert "98% (49/50)" in printed and "times O2O-RL's" in printed
