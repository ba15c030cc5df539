"""Intervals and paired tests: known values, and error rates by simulation."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from common.intervals import wilson_interval
from eval_harness import statistics
from eval_harness.statistics import clustered_bootstrap, mcnemar_test, paired_bootstrap


def test_wilson_has_the_published_values() -> None:
    assert wilson_interval(48, 50) == pytest.approx((0.8654, 0.9890), abs=1e-4)
    assert wilson_interval(0, 10) == pytest.approx((0.0, 0.2775), abs=1e-4)
    assert wilson_interval(10, 10) == pytest.approx((0.7225, 1.0), abs=1e-4)
    assert wilson_interval(0, 0) == (0.0, 1.0)
    low, high = wilson_interval(5, 10, confidence=0.99)
    assert low < wilson_interval(5, 10)[0] and high > wilson_interval(5, 10)[1]


def test_more_successes_than_trials() -> None:
    with pytest.raises(ValueError, match=r"0\.\.5"):
        wilson_interval(6, 5)


def test_mcnemar_counts_and_tests_the_discordant_pairs() -> None:
    a = np.repeat([True, True, False, False], [20, 9, 1, 7])
    b = np.repeat([True, False, True, False], [20, 9, 1, 7])
    found = mcnemar_test(a, b)
    assert (found.both, found.only_baseline, found.only_evaluated, found.neither, found.n) == (
        20,
        9,
        1,
        7,
        37,
    )
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
    assert fixed.value == 0.5 and 0.44 < fixed.low < 0.47 and 0.53 < fixed.high < 0.56
    assert drawn.value == 0.5 and drawn.low < 0.3 and drawn.high > 0.7


@pytest.mark.parametrize("of_task", [1, 2, 4])
def test_tasks_of_few_pairs_leave_an_interval(of_task: int) -> None:
    """As wide as that of the same pairs as one task, and of starts as of pairs."""
    rng = np.random.default_rng(2)
    a, b = draw_pairs(rng, [(0.5, 0.7)] * 40, of_task)
    found = paired_bootstrap(a, b)
    whole = paired_bootstrap([np.concatenate(a)], [np.concatenate(b)])
    assert found == whole and found.high - found.low > 0.1
    starts = clustered_bootstrap([y.astype(float) - x for x, y in zip(a, b, strict=True)])
    assert (starts.low, starts.high) == pytest.approx((found.low, found.high), abs=0.02)


def test_starts_that_are_alike_within_tasks_leave_an_interval() -> None:
    found = clustered_bootstrap([np.ones(20), np.zeros(20)])
    assert found.value == 0.5 and 0.3 < found.low < 0.4 and 0.6 < found.high < 0.7


def test_a_bootstrap_of_many_tasks_is_drawn_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = draw_pairs(np.random.default_rng(3), [(0.5, 0.7)] * 6, 20)
    whole = paired_bootstrap(a, b), paired_bootstrap(a, b, resample_tasks=True)
    monkeypatch.setattr(statistics, "_BLOCK", 1000)
    assert whole == (paired_bootstrap(a, b), paired_bootstrap(a, b, resample_tasks=True))


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
