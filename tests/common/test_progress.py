"""How far a work item is, told in a file while it is at work."""

from __future__ import annotations

import json
import os
import pty
import sys
from pathlib import Path

import pytest

from common.workers import progress
from common.workers.progress import Bar, Progress, clear_progress, read_progress, tell, telling


def test_a_bar_tells_its_step_and_nothing_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "_INTERVAL_S", -1.0)
    folder = tmp_path / "progress"
    with telling(folder / "item.json", "task recipe"):
        tell("prepare")
        assert [(p.name, p.step, p.total) for p in read_progress(folder)] == [
            ("task recipe", "prepare", 0)
        ]
        with Bar("learn", 10, 4) as bar:
            bar.update(2)
            bar.set_description("learn 80%")
        (now,) = read_progress(folder)
        assert (now.step, now.done, now.total, now.first) == ("learn 80%", 6, 10, 4)
    assert not read_progress(folder)
    tell("nobody listens")
    assert not list(folder.iterdir())


def test_time_left_counts_what_was_made_since_the_step_began() -> None:
    step = Progress("x", "learn", done=60, total=100, first=40, step_began=1000.0)
    assert step.seconds_left(1010.0) == 20.0
    assert Progress("x", "learn", done=40, total=100, first=40).seconds_left(9.0) is None
    assert Progress("x", "prepare").seconds_left(9.0) is None


def test_what_killed_items_left_is_removed(tmp_path: Path) -> None:
    (tmp_path / "old.json").write_text(json.dumps({"name": "old"}))
    assert [p.name for p in read_progress(tmp_path)] == ["old"]
    clear_progress(tmp_path)
    clear_progress(tmp_path / "missing")
    assert not read_progress(tmp_path)


@pytest.mark.parametrize("watched", [False, True])
def test_a_bar_stays_out_of_a_table(watched: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """A work item's process on a terminal shows no bar of its own where a table is shown."""
    leader, follower = pty.openpty()
    with os.fdopen(follower, "w") as terminal:
        monkeypatch.setattr(sys, "stderr", terminal)
        if watched:
            monkeypatch.setenv("TQDM_DISABLE", "1")
        else:
            monkeypatch.delenv("TQDM_DISABLE", raising=False)
        with Bar("learn", 10) as bar:
            assert bool(bar.disable) is watched
    os.close(leader)
