"""Builds killed by SIGKILL at random times: `pytest -m slow -s` prints what came of it.

The processes are forked from one that has never drawn: OpenGL's threads do not survive a fork.
"""

from __future__ import annotations

import collections
import functools
import os
import random
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from common.files import append_bytes
from dataset_builders.parts import PartItem, render_part
from dataset_builders.shards import Shard, write_shards
from tests.dataset_builders.parts_support import EPISODES, Here, contents, make_episodes, plan

KILLS = 20


def logged(item: PartItem, log: Path) -> str:
    """Render, and write down when that begins and ends."""
    if not item.path.exists():
        append_bytes(log, f"begin {item.name}\n".encode(), sync=False)
        render_part(item)
        append_bytes(log, f"end {item.name}\n".encode(), sync=False)
    return item.name


def start(shards: Sequence[Shard], work: Path, log: Path) -> int:
    """Return the id of a forked process that builds."""
    sys.stdout.flush()
    if pid := os.fork():
        return pid
    status = 1
    try:
        write_shards(shards, work, Here(), render=functools.partial(logged, log=log))
        status = 0
    finally:
        os._exit(status)


def kill_at_random(
    shards: Sequence[Shard], work: Path, log: Path, kills: int, seconds: float, seed: int
) -> int:
    """Build, with at most so many kills at random times, and return how many there were."""
    chance, killed = random.Random(seed), 0
    while True:
        pid, deadline = start(shards, work, log), time.monotonic() + chance.uniform(0, seconds)
        while killed < kills:
            found, status = os.waitpid(pid, os.WNOHANG)
            if found:
                assert os.waitstatus_to_exitcode(status) == 0
                return killed
            if time.monotonic() > deadline:
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
                killed += 1
                break
            time.sleep(0.005)
        else:
            assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
            return killed


@pytest.mark.slow
def test_kills_at_random_times(tmp_path: Path) -> None:
    episodes = make_episodes(tmp_path / "episodes")
    work, log = tmp_path / "undisturbed", tmp_path / "log"
    began = time.monotonic()
    assert kill_at_random(plan(episodes, work), work, log, 0, 0, 0) == 0
    seconds = time.monotonic() - began
    whole = contents(write_shards(plan(episodes, work), work, Here()))
    total = again = builds = 0
    while total < KILLS:
        builds += 1
        work, log = tmp_path / f"work{builds}", tmp_path / f"log{builds}"
        kills = kill_at_random(
            plan(episodes, work), work, log, min(5, KILLS - total), 0.7 * seconds, builds
        )
        total += kills
        lines = [line.split() for line in log.read_text().splitlines()]
        begun = collections.Counter(name for word, name in lines if word == "begin")
        extra = sum(begun.values()) - EPISODES
        again += extra
        assert len(begun) == EPISODES
        assert extra <= kills  # one episode is in work at a time
        assert contents(write_shards(plan(episodes, work), work, Here())) == whole
    print(f"\n{total} kills over {builds} builds: {again} episodes in work were begun again")
