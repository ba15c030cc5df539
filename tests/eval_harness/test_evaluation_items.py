"""The shards of an evaluation as work items."""

from __future__ import annotations

import pickle
from pathlib import Path

from eval_harness.evaluation import ShardItem, evaluate_shard
from eval_harness.merging import merge
from eval_harness.plan import Shard
from simulation.assets.resolve import embedded_pack
from tests.eval_harness.folders import DRAWER


def test_shards_run_alike_and_merge(tmp_path: Path) -> None:
    items = [
        ShardItem("random", "libero", (DRAWER,), tmp_path / str(n), Shard(n, 2), embedded_pack(), 2)
        for n in range(2)
    ]
    successes = [evaluate_shard(pickle.loads(pickle.dumps(item))) for item in items]
    merged = merge([item.out for item in items], tmp_path / "merged")
    assert [result.episode for result in merged.episodes] == [0, 1]
    assert sum(successes) == sum(result.success for result in merged.episodes)
    assert evaluate_shard(items[0]) == successes[0]
