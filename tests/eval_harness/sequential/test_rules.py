"""Stopping rules: what they find, by simulation how often they err, and what they depend on."""

from __future__ import annotations

import numpy as np
import pytest

from common.errors import SettingError
from eval_harness.sequential.rules import Stop, StoppingRule, find_stop


def test_stopping_errs_seldom_and_saves_episodes() -> None:
    """At a rate on the threshold it seldom stops; well above it, it stops early and is right."""
    rng = np.random.default_rng(4)
    rule = StoppingRule(threshold=0.8)

    def run(rate: float) -> Stop | None:
        outcomes = rng.random((10, 50)) < rate
        return find_stop({f"task{i}": list(row) for i, row in enumerate(outcomes)}, rule)

    on_the_line = [run(0.8) for _ in range(150)]
    assert sum(stop is not None for stop in on_the_line) <= 0.05 * 150 + 5
    better = [run(0.95) for _ in range(40)]
    assert all(stop is not None and stop.reason == "above" for stop in better)
    assert np.median([stop.rounds for stop in better if stop]) < 25


def test_stop_depends_on_the_plan_alone() -> None:
    """It never looks past an episode that is missing, and later episodes do not change it."""
    rule = StoppingRule(threshold=0.5)
    full: dict[str, list[bool | None]] = {"a": [True] * 30, "b": [True] * 30}
    stop = find_stop(full, rule)
    assert stop is not None and stop.reason == "above" and stop.n == 2 * stop.rounds
    assert stop.low > 0.5
    hole: dict[str, list[bool | None]] = {"a": [True] * 30, "b": [None, *[True] * 29]}
    assert find_stop(hole, rule) is None
    cut: dict[str, list[bool | None]] = {
        "a": [*[True] * stop.rounds, None, False],
        "b": [True] * stop.rounds,
    }
    assert find_stop(cut, rule) == stop
    assert find_stop({"a": [True] * (stop.rounds - 1), "b": [True] * 30}, rule) is None
    assert find_stop({}, rule) is None


def test_stop_on_precision() -> None:
    rule = StoppingRule(half_width=0.1)
    stop = find_stop({"a": [True, False] * 200}, rule)
    assert stop is not None and stop.reason == "precise"
    assert (stop.high - stop.low) / 2 <= 0.1
    assert rule.decide(stop.successes, stop.n - 1) is None
    below = find_stop({"a": [False] * 50}, StoppingRule(threshold=0.5, half_width=0.01))
    assert below is not None and below.reason == "below"


@pytest.mark.parametrize(
    "setting", [{}, {"threshold": 1.0}, {"half_width": 0.0}, {"threshold": 0.5, "confidence": 1.0}]
)
def test_rules_that_make_no_sense(setting: dict[str, float]) -> None:
    with pytest.raises(SettingError):
        StoppingRule(**setting)
