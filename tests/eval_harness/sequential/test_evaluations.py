"""Evaluations that stop early, run for real: whatever batch, shards and interruptions, one stop."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from eval_harness.evaluation import evaluate, is_complete
from eval_harness.merging import merge
from eval_harness.plan import Shard
from eval_harness.policies import load_policy
from eval_harness.protocols import PROTOCOLS
from eval_harness.results import Results, ResultsError
from eval_harness.runner import RunConfig
from eval_harness.sequential.rules import StoppingRule, find_stop, fixed_number
from eval_harness.sequential.stopped import STOP, load_counted, stop_text, table_of
from simulation.assets.resolve import AssetPack, embedded_pack
from simulation.tasks import SUITES, get_task
from tests.eval_harness.folders import BOWL, DRAWER, Outcome, write_folder
from tests.eval_harness.test_runner import TASKS, LookingPolicy, outcomes, short

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
    text = stop_text(*load_counted(tmp_path / "shard1"))
    assert "saved." in text and "merge` of all shards" in text and "planned rollouts" not in text
    merge([tmp_path / f"shard{i}" for i in range(2)], tmp_path / "merged")
    merged, found = load_counted(tmp_path / "merged")
    assert found == stop and "more had run by then" in stop_text(merged, found)
    assert [r.outcome for r in merged.episodes] == [r.outcome for r in counted.episodes]
    # Without a rule it goes on to the end of the plan.
    assert is_complete(run("one", rule=None)) and load_counted(tmp_path / "one")[1] is None


HORIZON = 52
"""Half of the scripted drawers are closed by then, so that outcomes decide where it stops."""
UNTIL = f"""
import dataclasses, sys
from cli.main import main
from eval_harness.protocols import PROTOCOLS
from simulation.tasks import SUITES
short = dataclasses.replace(PROTOCOLS["openpi"], horizons=dict.fromkeys(SUITES, {HORIZON}))
PROTOCOLS["openpi"] = short
main(sys.argv[1:])
"""


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_killed_at_random_moments_it_stops_where_it_would_have(
    pack: AssetPack, tmp_path: Path
) -> None:
    """`dlr eval run --until`, ended by SIGKILL five times and begun again, beside one whole run."""
    rng, killed = random.Random(3), tmp_path / "killed"
    lines = killed / "episodes.jsonl"
    command = [
        sys.executable, "-c", UNTIL, "eval", "run", "scripted", "--protocol", "openpi",
        "--tasks", DRAWER, "--episodes", "40", "--until", "30", "--no-preflight",
        "--environments", "3", "--threads", "1", "--assets", str(pack.path), "--out", str(killed),
    ]  # fmt: skip

    def count() -> int:
        return lines.read_bytes().count(b"\n") if lines.exists() else 0

    died, seen = 0, [0]
    for _ in range(5):
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        further, delay = rng.randrange(5), rng.random()
        while process.poll() is None and count() < seen[-1] + further:
            time.sleep(0.002)
        time.sleep(delay)
        process.send_signal(signal.SIGKILL)
        died += process.wait() == -signal.SIGKILL
        seen.append(count())
    assert died >= 3 and len(set(seen)) >= 3 and seen == sorted(seen), seen
    assert subprocess.run(command, check=True, capture_output=True, text=True).stdout.count("saved")
    rule = StoppingRule(half_width=0.3)
    protocol = replace(PROTOCOLS["openpi"], horizons=dict.fromkeys(SUITES, HORIZON))
    whole = evaluate(
        load_policy("scripted", protocol, 0, pack), protocol, [get_task(DRAWER)],
        tmp_path / "whole", 40, config=RunConfig(1, 1), assets=pack, rule=rule,
    )  # fmt: skip
    assert len(whole.episodes) < 40
    (expected, stop), (counted, again) = map(load_counted, (whole.folder, killed))
    assert stop is not None and again == stop and 0.2 < stop.successes / stop.n < 0.8
    assert outcomes(counted) == outcomes(expected)


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
