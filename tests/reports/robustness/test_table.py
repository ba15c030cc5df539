"""The table of retained success and its numbers."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from rich.console import Console

from eval_harness.perturbations.arms import make_arms, run_arms
from eval_harness.results import Results, load_results
from reports.robustness.table import write_retained
from reports.robustness.write import write_report
from tests.eval_harness.folders import BOWL, DRAWER, write_folder


def _write(folder: Path) -> None:
    outcomes = {
        "control": [True] * 12,
        "camera-1": [True] * 11 + [False],
        "camera-5": [False] * 12,
    }

    def run(arm, out: Path) -> Results:
        found = outcomes[arm.name]
        write_folder(out, {BOWL: found, DRAWER: found}, policy={"kind": "test"})
        return load_results(out)

    run_arms(make_arms("camera", "1,5"), folder, run)


def test_table_says_what_is_kept_and_numbers_are_written(tmp_path: Path) -> None:
    _write(tmp_path / "arms")
    console = Console(width=80, record=True)
    path = write_retained(tmp_path / "arms", console=console)
    text = console.export_text()
    assert "camera 5" in text and "less" in text and "-100 (-100 to -72)" in text
    assert "camera 1" in text and "too few to tell" in text and "100.0% (24/24)" in text
    assert "24 episodes an arm" in text
    numbers = json.loads(path.read_text())
    by_level = {arm["level"]: arm for arm in numbers["arms"]}
    assert by_level[5]["kept"] == 0 and by_level[5]["control"] == 24
    assert by_level[5]["difference"]["value"] == -1.0 and by_level[5]["adjusted"] < 1e-5
    assert by_level[1]["share_kept"][0] == 22 / 24


def test_an_arm_that_has_not_begun_is_told(tmp_path: Path) -> None:
    _write(tmp_path)
    shutil.rmtree(tmp_path / "camera-1")
    console = Console(width=80, record=True)
    numbers = json.loads(write_retained(tmp_path, console=console).read_text())
    text = " ".join(console.export_text().split())
    assert "24/24 missing" in text and "incomplete" in text and "Holm for 2 conditions" in text
    assert [arm["level"] for arm in numbers["arms"]] == [1, 5]
    page, _ = write_report(tmp_path, console=console)
    assert "lacks episodes of camera-1" in page.read_text()
