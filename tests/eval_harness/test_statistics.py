"""Intervals, paired tests and the stopping rule: known values, and error rates by simulation."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from common.errors import SettingError
from common.intervals import wilson_interval
from eval_harness.statistics import (
    Stop,
    StoppingRule,
    confidence_sequence,
    find_stop,
    log_mixture_ratio,
    mcnemar_test,
    paired_bootstrap,
)


def test_wilson_has_the_published_values() -> None:
    assert wilson_interval(48, 50) == pytest.approx((0.8654, 0.9890), abs=1e-4)
    assert wilson_interval(0, 10) == pytest.approx((0.0, 0.2775), abs=1e-4)
    assert wilson_interval(10, 10) == pytest.approx((0.7225, 1.0), abs=1e-4)
    assert wilson_interval(0, 0) == (0.0, 1.0)
    low, high = wilson_interval(5, 10, confidence=0.99)
    assert low < wilson_interval(5, 10)[0] and high > wilson_interval(5, 10)[1]


@pytest.mark.parametrize("function", [wilson_interval, confidence_sequence])
def test_more_successes_than_trials(function) -> None:
    with pytest.raises(ValueError, match=r"0\.\.5"):
        function(6, 5)


def test_mcnemar_counts_and_tests_the_discordant_pairs() -> None:
    a = np.repeat([True, True, False, False], [20, 9, 1, 7])
    b = np.repeat([True, False, True, False], [20, 9, 1, 7])
    found = mcnemar_test(a, b)
    assert (found.both, found.only_a, found.only_b, found.neither, found.n) == (20, 9, 1, 7, 37)
    # Two tails of a fair coin thrown ten times: 0, 1, 9 or 10 heads.
    assert found.p_value == pytest.approx(2 * (1 + 10) / 2**10)
    assert mcnemar_test(b, a).p_value == found.p_value
    assert mcnemar_test(a, a).p_value == 1.0
    assert mcnemar_test([], []).p_value == 1.0
    with pytest.raises(ValueError, match="one length"):
        mcnemar_test(a, b[:-1])


def test_mcnemar_keeps_its_level_for_every_number_of_discordant_pairs() -> None:
    """Summed over all outcomes under the hypothesis, p <= 0.05 comes up 5% of the time at most."""
    for n in (1, 6, 13):
        p = [
            mcnemar_test([True] * k + [False] * (n - k), [False] * k + [True] * (n - k)).p_value
            for k in range(n + 1)
        ]
        weights = [len(list(itertools.combinations(range(n), k))) / 2**n for k in range(n + 1)]
        assert sum(w for w, value in zip(weights, p, strict=True) if value <= 0.05) <= 0.05


def draw_pairs(rng: np.random.Generator, rates, n: int):
    """Outcomes of two policies on shared episodes, some of which are harder for both."""
    hard = [rng.random(n) for _ in rates]
    a = [0.7 * h + 0.3 * rng.random(n) < rate for h, (rate, _) in zip(hard, rates, strict=True)]
    b = [0.7 * h + 0.3 * rng.random(n) < rate for h, (_, rate) in zip(hard, rates, strict=True)]
    return a, b


def test_bootstrap_interval_covers_the_true_difference() -> None:
    rng = np.random.default_rng(0)
    rates = [(0.2 + 0.06 * i, 0.3 + 0.06 * i) for i in range(10)]
    a, b = draw_pairs(rng, rates, 200_000)
    truth = np.mean([y.mean() - x.mean() for x, y in zip(a, b, strict=True)])
    runs = []
    for seed in range(300):
        first, second = draw_pairs(rng, rates, 50)
        runs.append(paired_bootstrap(first, second, resamples=500, seed=seed))
    covered = np.mean([run.low <= truth <= run.high for run in runs])
    assert 0.92 <= covered <= 0.98
    assert np.mean([run.value for run in runs]) == pytest.approx(truth, abs=0.005)


def test_pairing_narrows_the_interval() -> None:
    """With the pairs broken up the same rates give a wider interval."""
    rng = np.random.default_rng(1)
    a, b = draw_pairs(rng, [(0.5, 0.6)] * 5, 50)
    paired = paired_bootstrap(a, b)
    broken = paired_bootstrap(a, [rng.permutation(x) for x in b])
    assert broken.value == pytest.approx(paired.value)
    assert broken.high - broken.low > 1.2 * (paired.high - paired.low)


def test_bootstrap_over_tasks_admits_that_tasks_differ() -> None:
    a = [np.zeros(50, bool)] * 10
    b = [np.full(50, i % 2 == 0) for i in range(10)]
    fixed = paired_bootstrap(a, b)
    drawn = paired_bootstrap(a, b, resample_tasks=True)
    assert (fixed.value, fixed.low, fixed.high) == (0.5, 0.5, 0.5)
    assert drawn.value == 0.5 and drawn.low < 0.3 and drawn.high > 0.7


def test_bootstrap_weighs_tasks_alike_and_repeats_itself() -> None:
    a = [np.array([False] * 10), np.array([True] * 30)]
    b = [np.array([True] * 10), np.array([True] * 29 + [False])]
    found = paired_bootstrap(a, b, seed=3)
    assert found.value == pytest.approx((1 - 1 / 30) / 2)
    assert found == paired_bootstrap(a, b, seed=3)
    opposite = paired_bootstrap(b, a, seed=3)
    assert opposite.value == -found.value


def test_pairs_that_are_all_alike_leave_an_interval() -> None:
    same = [np.ones(25, bool)] * 2
    found = paired_bootstrap(same, same)
    assert found.value == 0 and found.high == -found.low == pytest.approx(1 - 0.025 ** (1 / 50))
    better = paired_bootstrap([~x for x in same], same)
    assert better.value == better.high == 1 and better.low == pytest.approx(1 - 2 * found.high)


def test_bootstrap_needs_pairs() -> None:
    for empty in ([], [np.array([], bool)]):
        with pytest.raises(ValueError, match="needs a task"):
            paired_bootstrap(empty, empty)


def test_confidence_sequence_ends_where_the_ratio_says() -> None:
    for successes, n in ((0, 40), (7, 40), (40, 40), (1, 1)):
        low, high = confidence_sequence(successes, n)
        assert 0 <= low <= successes / n <= high <= 1
        for end in {low, high} - {0.0, 1.0}:
            assert log_mixture_ratio(end, successes, n) == pytest.approx(np.log(20))
        wilson = wilson_interval(successes, n)
        assert high - low > wilson[1] - wilson[0]
    assert confidence_sequence(0, 0) == (0.0, 1.0)


@pytest.mark.parametrize("rate", [0.05, 0.5, 0.9])
def test_confidence_sequence_holds_at_every_look(rate: float) -> None:
    """Of 4,000 evaluations with a look after each of 500 episodes, 5% at most ever err."""
    rng = np.random.default_rng(2)
    n = np.arange(1, 501)
    successes = np.cumsum(rng.random((4000, 500)) < rate, axis=1)
    erred = (log_mixture_ratio(rate, successes, n) > np.log(20)).any(axis=1).mean()
    assert erred <= 0.05
    # Looking as often at an interval that is made for one look errs several times as often.
    z = 1.959964
    wilson = np.abs(successes / n - rate) > z * np.sqrt(rate * (1 - rate) / n)
    assert wilson[:, 20:].any(axis=1).mean() > 0.15


def test_confidence_sequence_holds_for_tasks_of_different_rates() -> None:
    rng = np.random.default_rng(3)
    rates = np.linspace(0.1, 1.0, 10)
    rounds = np.cumsum((rng.random((4000, 50, 10)) < rates).sum(axis=2), axis=1)
    n = 10 * np.arange(1, 51)
    ratio = log_mixture_ratio(rates.mean(), rounds, n)
    assert (ratio > np.log(20)).any(axis=1).mean() <= 0.05


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
