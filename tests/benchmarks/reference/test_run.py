"""The reference evaluation: one policy in three forms, and a short run of all four harnesses."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.measure import BenchmarkError
from benchmarks.reference.contenders import CONTENDERS
from benchmarks.reference.policy.demonstrations import CHUNK, STEPS, Demonstrations
from benchmarks.reference.policy.lerobot_policy import OpenLoopPolicy as LeRobotForm
from benchmarks.reference.policy.lerobot_policy import save_checkpoint
from benchmarks.reference.run import run
from benchmarks.reference.workers import OpenLoopPolicy as OurForm
from eval_harness.plan import Start
from eval_harness.policies.replay import RecordedActions
from eval_harness.policy import EpisodeKey, Observation

INSTRUCTIONS = ["open the drawer", "close the drawer"]


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    random = np.random.default_rng(0)
    recorded = [RecordedActions(Start(), random.uniform(-1, 1, (length, 7))) for length in (25, 40)]
    actions = np.stack([recording.chunk(0, STEPS) for recording in recorded])
    save_checkpoint(tmp_path / "checkpoint", INSTRUCTIONS, actions.astype(np.float32))
    return tmp_path / "checkpoint"


def test_the_policy_is_the_same_in_all_forms(checkpoint: Path) -> None:
    known, ours = Demonstrations.load(checkpoint), OurForm(checkpoint)
    theirs = LeRobotForm.from_pretrained(checkpoint)
    theirs.reset()
    for step in range(45):
        batch = {"task": INSTRUCTIONS[::-1]}
        with torch.inference_mode():
            actions = theirs.select_action(batch).numpy()
        begun = step - step % CHUNK
        key = EpisodeKey("suite/task", 0, 0, 0)
        seen = [Observation(key, begun, instruction) for instruction in batch["task"]]
        np.testing.assert_array_equal(actions, ours.act(seen)[:, step % CHUNK])
        chunk = known.chunk("close the drawer", begun)
        np.testing.assert_array_equal(actions[0], chunk[step % CHUNK])


def test_what_cannot_be_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BenchmarkError, match="no contender openpi"):
        run(only=("openpi",), work=tmp_path)
    with pytest.raises(BenchmarkError, match="--trials must be 1 to 50"):
        run(trials=51, work=tmp_path)


@pytest.mark.slow
def test_all_run_and_agree_on_the_first_episode(tmp_path: Path) -> None:
    output = tmp_path / "results.json"
    run(trials=1, tasks=(3,), work=tmp_path / "work", output=output)
    report = json.loads(output.read_text())
    assert set(report["contenders"]) == set(CONTENDERS)
    for pair in report["contenders"].values():
        # The first episode's scene is upstream's own: the outcome has to be, too.
        assert pair["ours"]["outcomes"] == pair["theirs"]["outcomes"]
        assert pair["paired"]["pairs"] == 1 and pair["wall_ratio"] > 0
    again = json.loads(output.read_text())
    run(trials=1, tasks=(3,), work=tmp_path / "work", output=output)
    repeated = json.loads(output.read_text())
    for name, pair in again["contenders"].items():
        assert repeated["contenders"][name]["theirs"] == pair["theirs"]
