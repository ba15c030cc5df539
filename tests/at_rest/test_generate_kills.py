"""A run of many tasks that is ended by SIGKILL at any moments ends with the same policies."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from generator.checkpoints import load_policy, policy_hash
from simulation.recordings.trajectories import TrajectoryFile

KILLS = int(os.environ.get("DLR_KILLS", "20"))
"""Kills in all; set $DLR_KILLS to measure with more or fewer."""
TASK = "libero_90/KITCHEN_SCENE10_close_the_top_drawer_of_the_cabinet"
SMALL = (
    "--assets=embedded", "--recipes=dlr,o2o_rl", "--slots=6",
    "--demonstrations.episodes-per-way=2", "--demonstrations.fresh-share=0",
    "--discover.steps=200", "--learn.steps=800", "--learn.checkpoint-every=200",
    "--evaluation.episodes=2", "--filtered.episodes=3", "--filtered.wave=3",
    "--reinforce.iterations=3", "--reinforce.episodes=2", "--reinforce.warmup-episodes=2",
    "--reinforce.critic-warmup=1", "--reinforce.evaluate-every=2",
    "--reinforce.evaluation-episodes=1", "--reinforce.epochs=1",
    "--collect.episodes=3", "--collect.maximum-attempts=40", "--collect.wave=3",
)  # fmt: skip


def start(folder: Path) -> subprocess.Popen[bytes]:
    """Start the run in a process group of its own, going on with what is in the folder."""
    command = [sys.executable, "-m", "cli.main", "generate", TASK, "--run", str(folder), *SMALL]
    with Path(f"{folder}.log").open("ab") as log:
        return subprocess.Popen(command, start_new_session=True, stdout=log, stderr=log)


def content(folder: Path) -> dict[str, str]:
    """Return the weights of each stage's policy, and what each trajectory file holds."""
    found = {}
    for path in folder.rglob("stages/*/policy.safetensors"):
        found[path.parent.name] = policy_hash(load_policy(path)[0])
    for path in folder.rglob("*.hdf5"):
        with TrajectoryFile(path) as file:
            found[str(path.relative_to(folder))] = file._digests.tobytes().hex()
    return found


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_killed_runs_end_with_the_same_bits(tmp_path: Path) -> None:
    began, whole = time.monotonic(), tmp_path / "whole"
    assert start(whole).wait() == 0, Path(f"{whole}.log").read_text()
    seconds, wanted = time.monotonic() - began, content(whole)
    assert len(wanted) >= 8
    rng, killed, folders = np.random.default_rng(5), 0, 0
    while killed < KILLS:
        folder, status = tmp_path / f"run{folders}", -9
        while status == -9:
            process = start(folder)
            if killed < KILLS:
                time.sleep(float(rng.uniform(0.05, 0.6)) * seconds)
                if process.poll() is None:
                    os.killpg(process.pid, signal.SIGKILL)
                    killed += 1
            status = process.wait()
        assert status == 0, Path(f"{folder}.log").read_text()
        assert content(folder) == wanted
        folders += 1
    print(f"{killed} kills in {folders} runs of {seconds:.0f} s, {len(wanted)} equal files")
