"""Evaluations that stop early, run for real: whatever batch, shards and interruptions, one stop."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from eval_harness.evaluation import evaluate, is_complete
from eval_harness.merging import merge
from eval_harness.plan import Shard
from eval_harness.results import Results, ResultsError
from eval_harness.runner import RunConfig
from eval_harness.sequential.rules import StoppingRule, find_stop, fixed_number
from eval_harness.sequential.stopped import STOP, load_counted, stop_text, table_of
from simulation.assets.resolve import AssetPack, embedded_pack
from tests.eval_harness.folders import BOWL, DRAWER, Outcome, write_folder
from tests.eval_harness.test_runner import TASKS, LookingPolicy, short

RULE = StoppingRule(half_width=0.25)


@pytest.fixture(scope="module")
def pack() -> AssetPack:
    return embedded_pack()


def test_one_stop_however_it_is_run(pack: AssetPack, tmp_path: Path) -> None:
    def run(name: str, size: int = 1, **settings) -> Results:
        settings = {"rule": RULE, **settings}
        return evaluate(
            LookingPolicy(), short(), TASKS, tmp_path / name, 12,
            config=RunConfig(size, min(size, 2)), assets=pack, **settings,
        )  # fmt: skip

    run("one")
    counted, stop = load_counted(tmp_path / "one")
    assert stop is not None and stop.reason == "precise" and 2 <= stop.rounds <= 7
    assert is_complete(counted) and len(counted.episodes) == stop.n == 2 * stop.rounds
    ran = counted.config["design"]["ran"]
    assert stop.n <= ran < 24, "what ended while the stop was found is kept"
    text = stop_text(counted, stop)
    assert f"and {24 - ran} were saved" in text and "known to within 25 points" in text
    # Killed in the middle, and gone on with in larger batches.
    run("cut", rule=None, rounds=2)
    assert not (tmp_path / "cut" / STOP).exists()
    run("cut", 5)
    assert load_counted(tmp_path / "cut")[1] == stop
    run("shard0", shard=Shard(0, 2), beside=[tmp_path / "shard1"])
    assert not (tmp_path / "shard0" / STOP).exists(), "it has not seen the other"
    late = run("shard1", shard=Shard(1, 2), beside=[tmp_path / "shard0"])
    assert load_counted(tmp_path / "shard1")[1] == stop
    assert stop.rounds <= len(late.episodes) < 12, "its share up to the stop"
    merge([tmp_path / f"shard{i}" for i in range(2)], tmp_path / "merged")
    merged, found = load_counted(tmp_path / "merged")
    assert found == stop and "more had run by then" in stop_text(merged, found)
    assert [r.outcome for r in merged.episodes] == [r.outcome for r in counted.episodes]
    # Without a rule it goes on to the end of the plan.
    assert is_complete(run("one", rule=None)) and load_counted(tmp_path / "one")[1] is None


def test_where_shards_stop_depends_on_their_outcomes_alone(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    full = {task: [bool(x) for x in rng.random(30) < 0.7] for task in (DRAWER, BOWL)}
    rule = StoppingRule(half_width=0.25)
    expected = find_stop(full, rule)
    assert expected is not None and 5 < expected.rounds < 29

    def shard(index: int, at_most: int) -> Path:
        outcomes: dict[str, list[Outcome]] = {
            task: [x if i % 2 == index and i < at_most else None for i, x in enumerate(row)]
            for task, row in full.items()
        }
        folder = tmp_path / f"{index}-{at_most}"
        settings: dict[str, Any] = {"rule": asdict(rule), "shard": f"{index}/2"}
        return write_folder(folder, outcomes, policy={"kind": "x"}, episodes=30, **settings)

    found = []
    folders = {end: [shard(i, end) for i in range(2)] for end in (30, expected.rounds)}
    for end, shards in folders.items():
        merge(shards, tmp_path / str(end))
        found.append(load_counted(tmp_path / str(end))[1])
    assert found == [expected, expected]
    early = merge([folders[30][0], shard(1, expected.rounds - 2)], tmp_path / "early")
    assert load_counted(tmp_path / "early")[1] is None
    assert "has not stopped it" in stop_text(early, None) and "to either side" in stop_text(
        early, None
    )
    unlike, none = asdict(StoppingRule(threshold=0.5)), {task: [None] * 30 for task in full}
    other = write_folder(tmp_path / "other", none, rule=unlike, policy={"kind": "x"})
    with pytest.raises(ResultsError, match="other stopping rules"):
        merge([folders[30][0], other], tmp_path / "none")


def test_what_a_stop_saves_is_told_against_the_plan_and_a_fixed_number(tmp_path: Path) -> None:
    outcomes = {task: [True] * 40 + [None] * 10 for task in (DRAWER, BOWL)}
    rule = StoppingRule(half_width=0.05)
    folder = write_folder(tmp_path / "a", outcomes, rule=asdict(rule))
    merge([folder], tmp_path / "b")
    counted, stop = load_counted(tmp_path / "b")
    assert stop is not None and stop.n < 80
    text = stop_text(counted, stop)
    assert f"Of 100 planned rollouts {stop.n} count, {80 - stop.n} more" in text
    assert "20 were saved" in text and "at any rate is 381" in text
    assert fixed_number(0.05) == 381 and table_of(counted.config["plan"], counted.episodes) == {
        task: [True] * stop.rounds for task in outcomes
    }
