"""The shards of an evaluation as work items."""

from __future__ import annotations

from pathlib import Path

from common.workers import Processes, attempt_items
from eval_harness.evaluation import ShardItem, evaluate_shard
from eval_harness.merging import merge
from eval_harness.plan import Shard
from simulation.assets.resolve import embedded_pack
from tests.eval_harness.folders import DRAWER


def test_shards_run_alike_and_merge(tmp_path: Path) -> None:
    items = [
        ShardItem(
            policy, "libero", (DRAWER,), tmp_path / f"{policy}{n}", Shard(n, 2), embedded_pack(), 2
        )
        for policy, n in (("random", 0), ("none_such", 0), ("random", 1))
    ]
    outcomes = list(attempt_items(evaluate_shard, items, Processes(2)))
    outcomes.sort(key=lambda outcome: outcome.index)
    assert outcomes[1].error and "none_such" in outcomes[1].error
    assert [outcomes[0].error, outcomes[2].error] == [None, None]
    merged = merge([items[0].out, items[2].out], tmp_path / "merged")
    successes = sum(result.success for result in merged.episodes)
    assert len(merged.episodes) == 2
    assert outcomes[0].result + outcomes[2].result == successes
