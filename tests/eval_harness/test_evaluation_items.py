"""The shards of an evaluation as work items."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np

from eval_harness.evaluation import ShardItem, evaluate, evaluate_shard, is_complete
from eval_harness.merging import merge
from eval_harness.perturbations.table import parse_condition
from eval_harness.plan import Shard
from eval_harness.policies import load_policy
from eval_harness.protocols import get_protocol
from eval_harness.results import load_results
from simulation.assets.resolve import embedded_pack
from simulation.tasks import get_task
from tests.eval_harness.folders import DRAWER, write_folder


def test_shards_run_alike_and_merge(tmp_path: Path) -> None:
    items = [
        ShardItem("random", "libero", (DRAWER,), tmp_path / str(n), Shard(n, 2), embedded_pack(), 2)
        for n in range(2)
    ]
    successes = [evaluate_shard(pickle.loads(pickle.dumps(item))) for item in items]
    merged = merge([item.out for item in items], tmp_path / "merged")
    whole = replace(items[0], out=tmp_path / "whole", shard=Shard())
    evaluate_shard(whole)
    alone = load_results(whole.out)
    assert [r.outcome for r in merged.episodes] == [r.outcome for r in alone.episodes]
    for one, other in zip(merged.episodes, alone.episodes, strict=True):
        assert np.array_equal(merged.trajectory(one).states, alone.trajectory(other).states)
    assert sum(successes) == sum(result.success for result in merged.episodes)
    assert evaluate_shard(items[0]) == successes[0]


def test_a_folder_is_judged_by_the_share_that_was_run_last(tmp_path: Path) -> None:
    begun = {DRAWER: [True, None, False, None]}
    write_folder(tmp_path / "a", begun, episodes=4, shard="0/2")
    assert is_complete(load_results(tmp_path / "a"))
    rest = {DRAWER: [None, "broken", None, "broken"]}
    write_folder(tmp_path / "a", rest, episodes=4, shard="0/1")
    results = load_results(tmp_path / "a")
    assert not results.missing and not is_complete(results)


def test_a_share_under_perturbation_is_that_of_its_arm(tmp_path: Path) -> None:
    condition = parse_condition("robot", 3)
    protocol = replace(get_protocol("libero"), perturbations=condition)
    pack, task = embedded_pack(), get_task(DRAWER)
    policy = load_policy("scripted", protocol, 0, pack)
    expected = evaluate(policy, protocol, [task], tmp_path / "a", 1, assets=pack)
    item = ShardItem(
        "scripted", "libero", (DRAWER,), tmp_path / "b", Shard(), pack, 1, perturbations=condition
    )
    evaluate_shard(pickle.loads(pickle.dumps(item)))
    found = load_results(tmp_path / "b")
    assert found.config["protocol_digest"] == expected.config["protocol_digest"]
    one, other = (results.trajectory(results.episodes[0]) for results in (expected, found))
    assert np.array_equal(one.states, other.states)
