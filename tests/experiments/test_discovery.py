"""Discovery in demonstrations of a real task, with few steps."""

from __future__ import annotations

from pathlib import Path

from common.errors import DlrError
from common.json_files import read_sealed
from demonstrations.config import Style
from experiments.discovery import DiscoveryItem, discover_ways
from generator.config import DiscoverConfig
from simulation.assets.resolve import embedded_pack

DRAWER = "libero_goal/open_the_middle_drawer_of_the_cabinet"


def test_ways_of_a_real_task_are_found_and_counted(tmp_path: Path) -> None:
    config = DiscoverConfig(steps=300)
    item = DiscoveryItem(
        DRAWER, 8, Style(), config, 0, embedded_pack(), tmp_path / "work", tmp_path / "out"
    )
    assert discover_ways(item).endswith("3 ways of 3")
    found = read_sealed(tmp_path / "out" / f"{DRAWER}.json", "a discovery", DlrError, "again")
    assert found["demonstrations"] == 24 and found["config"]["patterns"] == 3
    assert found["agreement"]["trajectory"] > 0.7 and found["agreement"]["path_mixture"] > 0.7
    assert found["held_out"].keys() == {"trajectory", "state", "state_majority"}
    assert [len(row["among"]) for row in found["ways"]] == [3, 2, 2, 2, 1, 1, 1]
