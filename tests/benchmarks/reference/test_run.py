"""The reference evaluation: one policy in three forms, and a short run of all four harnesses."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from benchmarks.measure import BenchmarkError
from benchmarks.reference.contenders import CONTENDERS, Contender, Cost, Job
from benchmarks.reference.policy.demonstrations import CHUNK, STEPS, Demonstrations
from benchmarks.reference.policy.lerobot_policy import OpenLoopPolicy as LeRobotForm
from benchmarks.reference.policy.lerobot_policy import save_checkpoint
from benchmarks.reference.run import RESULTS, _run, run
from benchmarks.reference.workers import OpenLoopPolicy as OurForm
from eval_harness.plan import Start
from eval_harness.policies.replay import RecordedActions
from eval_harness.policy import EpisodeKey, Observation
from simulation.assets.resolve import AssetPack
from simulation.tasks import list_tasks

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


def test_it_writes_where_its_results_are_kept() -> None:
    assert "contenders" in json.loads(RESULTS.read_text())


def test_a_cost_is_measured_again_once_what_it_depends_on_differs(tmp_path: Path) -> None:
    (task, *_), ran = list_tasks("libero_spatial"), []

    def measure(job: Job, protocol: str) -> Cost:
        ran.append(protocol)
        return Cost(1.0 + len(ran), 1.0, (), ())

    contender = Contender("lerobot", measure, lambda job: {(task.key, 0): True})
    job = Job(tmp_path, AssetPack("local", tmp_path, "0" * 64), (task,), 1, tmp_path)
    report: dict[str, Any] = {
        "tasks": [task.key], "trials": 1, "demonstrations": {task.key: 5},
        "assets": {"name": "local", "digest": "0" * 64}, "versions": {"mujoco": "3.3.2"},
        "commit": "abc", "rendering": {"backend": "egl"}, "date": "today",
        "machine": {"cores": 2, "load_average": [0.1]},
    }  # fmt: skip
    first, _ = _run(job, "one", contender, report)
    loaded = report | {"date": "tomorrow", "machine": {"cores": 2, "load_average": [7.0]}}
    assert _run(job, "one", contender, loaded)[0].wall_s == first.wall_s and len(ran) == 1
    for changed in (
        {"assets": {"name": "local", "digest": "1" * 64}},
        {"versions": {"mujoco": "3.4.0"}},
        {"commit": "abc-dirty"},
        {"machine": {"cores": 4, "load_average": [0.1]}},
    ):
        _run(job, "one", contender, report | changed)
    assert len(ran) == 5
    _run(job, "one", replace(contender, protocol="openvla_oft"), report)
    assert ran == ["lerobot"] * 5 + ["openvla_oft"]


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
