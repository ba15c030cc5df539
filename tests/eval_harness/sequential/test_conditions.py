"""Decisions under several conditions: each by itself, their errors bounded together."""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np
import pytest

from eval_harness.perturbations.arms import Arm
from eval_harness.perturbations.base import PerturbationError
from eval_harness.protocols import get_protocol
from eval_harness.results import Results, ResultsError, load_results
from eval_harness.sequential.conditions import (
    decide_conditions,
    is_decisions,
    list_conditions,
    make_conditions,
    merge_conditions,
    share_confidence,
)
from eval_harness.sequential.deciding import Side, load_decision
from eval_harness.sequential.rules import DecisionRule, find_verdict
from tests.eval_harness.folders import BOWL, Outcome, write_folder

RATES = {"baseline": {"camera-1": 0.8, "camera-3": 0.2}, "evaluated": {}}
"""Success of each side under each condition; 0.9 where nothing is said."""


def drawn(side: str, arm: Arm) -> list[bool]:
    rng = np.random.default_rng(5 if side == "baseline" else 6)
    return [bool(x) for x in rng.random(50) < RATES[side].get(arm.name, 0.9)]


def sides(arm: Arm, out: Path, index: int = 0, count: int = 1) -> tuple[Side, Side]:
    """Return stand-ins for both policies, of which a shard runs its share."""

    def run(folder: Path, rounds: int) -> Results:
        row: list[Outcome] = [
            x if i % count == index else None
            for i, x in enumerate(drawn(folder.name, arm)[:rounds])
        ]
        protocol, policy = arm.protocol(get_protocol("openpi")), {"kind": folder.name}
        shard = f"{index}/{count}"
        write_folder(folder, {BOWL: row}, protocol, policy, episodes=50, shard=shard)
        return load_results(folder)

    return Side(out / "baseline", run), Side(out / "evaluated", run)


def test_conditions_are_decided_one_by_one_with_one_bound(tmp_path: Path) -> None:
    conditions = make_conditions("camera", "1,3")
    assert [arm.name for arm in conditions] == ["camera-1", "camera-3"]
    found = decide_conditions(conditions, sides, DecisionRule(), tmp_path)
    rule = DecisionRule(confidence=0.975)
    for arm, one in found.items():
        both = [{BOWL: drawn(side, arm)} for side in ("baseline", "evaluated")]
        assert one.rule == rule and one.verdict == find_verdict(both[0], both[1], rule)
        assert load_decision(tmp_path / arm.name)["verdict"] == one.verdict
    outcomes = [one.verdict.outcome for one in found.values()]
    assert outcomes == ["undecided", "evaluated better"]
    assert is_decisions(tmp_path) and list_conditions(tmp_path) == conditions
    with pytest.raises(ResultsError, match="share one bound"):
        decide_conditions(make_conditions("camera", "0-3"), sides, DecisionRule(), tmp_path)


def test_shards_of_conditions_are_merged(tmp_path: Path) -> None:
    conditions = make_conditions("camera", "0,3")
    whole = decide_conditions(conditions, sides, DecisionRule(), tmp_path / "whole")
    shards = [tmp_path / f"{i}" for i in range(2)]
    for i, out in enumerate(shards):
        share = functools.partial(sides, index=i, count=2)
        decide_conditions(conditions, share, DecisionRule(), out, 50)
    merged = merge_conditions(shards, tmp_path / "merged")
    verdicts = [one.verdict for one in whole.values()]
    assert [one.verdict for one in merged.values()] == verdicts and len(verdicts) == 2
    decide_conditions(make_conditions("camera", "3"), sides, DecisionRule(), tmp_path / "other")
    with pytest.raises(ResultsError, match="other conditions"):
        merge_conditions([shards[0], tmp_path / "other"], tmp_path / "none")


def test_conditions_are_merged_whole_or_not_at_all(tmp_path: Path) -> None:
    conditions = make_conditions("camera", "0,3")
    decide_conditions(conditions, sides, DecisionRule(), tmp_path / "0", 50)
    last = tmp_path / "0" / conditions[-1].name
    last.rename(tmp_path / "away")
    with pytest.raises(ResultsError, match="cannot read"):
        merge_conditions([tmp_path / "0"], tmp_path / "merged")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0", "away"]
    (tmp_path / "away").rename(last)
    merged = merge_conditions([tmp_path / "0"], tmp_path / "merged")
    assert [one.evaluated.folder.parent.name for one in merged.values()] == ["control", "camera-3"]


def test_the_control_is_decided_only_if_asked_for() -> None:
    assert [a.name for a in make_conditions("light", "0-1")] == ["control", "light-1"]
    assert [a.name for a in make_conditions("light,camera", "5")] == ["light-5", "camera-5"]
    with pytest.raises(PerturbationError, match="besides the control"):
        make_conditions("light", "0")
    assert share_confidence(0.95, 1) == pytest.approx(0.95)
    assert share_confidence(0.95, 5) == pytest.approx(0.99)
