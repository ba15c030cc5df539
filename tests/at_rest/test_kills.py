"""Every stage ended by SIGKILL at any moment goes on: nothing lost or twice, equal content."""

from __future__ import annotations

import os
import time
from pathlib import Path

import numpy as np
import pytest

from tests.at_rest.support import STAGES, run_once, start

KILLS = int(os.environ.get("DLR_KILLS", "2"))
"""Kills of each stage; set $DLR_KILLS to measure with more."""
pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.slow
@pytest.mark.parametrize("name", STAGES)
def test_killed_runs_end_with_the_same(name: str, sources: Path, tmp_path: Path) -> None:
    stage, rng = STAGES[name], np.random.default_rng(7)
    wanted, seconds = run_once(stage, sources, tmp_path / "undisturbed")
    killed = folders = 0
    while killed < KILLS:
        folder, folders = tmp_path / str(folders), folders + 1
        status = -9
        while status == -9 and killed < KILLS:
            child = start(stage, sources, folder, tmp_path / f"{folders}.log")
            time.sleep(float(rng.uniform(0.1, 0.7)) * seconds)
            child.kill()
            status = child.wait()
            killed += status == -9
        assert status in (0, -9), child.log.read_text()
        child = start(stage, sources, folder, tmp_path / f"{folders}.log")
        assert child.wait() == 0, child.log.read_text()
        assert stage.items(folder) == wanted
    print(f"{name}: {killed} kills in {folders} folders, {len(wanted)} items, equal content")
