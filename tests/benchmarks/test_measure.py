"""Medians, ranges, means and targets of measurements that are known."""

import json

import pytest

from benchmarks.measure import Setting, Target, compare, geometric_mean, summarise, worst
from simulation.assets.resolve import embedded_pack


def test_a_summary_has_the_median_and_the_range_of_the_ratios():
    result = summarise("name", "s", [(1.0, 2.0), (9.0, 3.0), (4.0, 4.0)])
    assert (result.ours, result.peer, result.ratio) == (4.0, 3.0, 1.0)
    assert (result.low, result.high, result.repetitions) == (0.5, 3.0, 3)


def test_the_two_sides_are_measured_in_turn():
    calls = []

    def side(name):
        calls.append(name)
        return {"ours": 6.0, "peer": 2.0}[name]

    result = compare("name", "s", 3, lambda: side("ours"), lambda: side("peer"))
    assert calls == ["ours", "peer"] * 3
    assert result.ratio == 3.0


def test_the_geometric_mean_spans_the_tasks():
    rows = [summarise(str(ratio), "s", [(ratio, 1.0)]) for ratio in (2.0, 8.0)]
    mean = geometric_mean("mean", rows)
    assert mean.ratio == pytest.approx(4.0)
    assert (mean.low, mean.high) == (2.0, 8.0)


def test_the_worst_is_the_furthest_from_the_target():
    rows = [summarise(str(ratio), "ms", [(ratio, 1.0)]) for ratio in (0.02, 0.04, 0.03)]
    least = worst("reset", rows, Target(0.05, at_most=True))
    assert (least.ratio, least.name) == (0.04, "reset, least of 3")
    assert worst("step", rows, Target(4.0)).ratio == 0.02


@pytest.mark.parametrize(
    ("target", "ratio", "met"),
    [
        (Target(4.0), 4.0, True),
        (Target(4.0), 3.9, False),
        (Target(0.25, at_most=True), 0.25, True),
        (Target(0.25, at_most=True), 0.3, False),
    ],
)
def test_a_target_is_met_on_its_right_side(target, ratio, met):
    result = summarise("name", "s", [(ratio, 1.0)], target)
    assert result.as_json()["met"] is met


def test_a_result_is_plain_json():
    target = Target(4.0)
    result = summarise("name", "s", [(6.0, 2.0)], target)
    assert json.loads(json.dumps(result.as_json())) == {
        "name": "name",
        "ours": 6.0,
        "peer": 2.0,
        "ratio": 3.0,
        "unit": "s",
        "low": 3.0,
        "high": 3.0,
        "repetitions": 1,
        "target": ">= 4",
        "met": False,
    }


def test_a_quick_run_repeats_less():
    pack = embedded_pack()
    assert Setting(pack, quick=True).repetitions(11) < Setting(pack, quick=False).repetitions(11)
    assert Setting(pack, quick=True).repetitions(1) == 1
