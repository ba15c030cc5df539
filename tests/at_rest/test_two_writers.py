"""Two of one stage started together: nothing is lost, and the second is told in one line."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from common.errors import BusyError
from tests.at_rest.support import STAGES, run_once, start

PAIRS = int(os.environ.get("DLR_PAIRS", "1"))
"""Pairs of each stage; set $DLR_PAIRS to measure with more."""
pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.slow
@pytest.mark.parametrize("name", STAGES)
def test_pairs_give_what_one_alone_gives(name: str, sources: Path, tmp_path: Path) -> None:
    stage = STAGES[name]
    wanted, _ = run_once(stage, sources, tmp_path / "alone")
    refused = 0
    for number in range(PAIRS):
        folder = tmp_path / f"pair{number}"
        children = [start(stage, sources, folder, tmp_path / f"{number}.{i}") for i in range(2)]
        ends = {child.wait(): child for child in children}
        assert ends.keys() <= {0, BusyError.status}, [c.log.read_text() for c in children]
        if BusyError.status in ends:
            refused += 1
            line = ends[BusyError.status].last_line
            assert ("is being written by process" in line and str(ends[0].pid) in line) or (
                name == "build"  # which is another process of the same command
            )
        assert stage.items(folder) == wanted
    print(f"{name}: {PAIRS} pairs, {refused} with one refused, {len(wanted)} items each")
