"""Each option of PPO starts from one and the same clone."""

from __future__ import annotations

from pathlib import Path

from experiments.options import OPTIONS, train
from tests.generator.conftest import PointMasses, point_mass_demonstrations
from tests.generator.test_recipes import BRIEF, TASK


def test_options_share_a_clone(tmp_path: Path) -> None:
    demonstrations = point_mass_demonstrations(12)
    rows = {
        option: train(option, "o2o_rl", TASK, PointMasses(), demonstrations, BRIEF, tmp_path)
        for option in OPTIONS
    }
    assert len({str(row["before"]) for row in rows.values()}) == 1
    made = [path.name.split("-")[0] for path in (tmp_path / "stages").glob("[!.]*")]
    assert made.count("learn") == 1 and made.count("reinforce") == len(OPTIONS)
    assert made.count("filter") == 3  # whose thresholds and next budget two options change
    assert "reach/0" in rows["demonstration_starts"]["history"][0]
    assert all(row["cost"]["cpu_minutes"] > 0 for row in rows.values())
