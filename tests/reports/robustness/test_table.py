"""The table of retained success and its numbers."""

from __future__ import annotations

import json
from pathlib import Path

from rich.console import Console

from eval_harness.perturbations.arms import make_arms, run_arms
from eval_harness.results import Results, load_results
from reports.robustness.table import write_retained
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
