"""Confidence sequences: where they end, and by simulation that they hold at every look."""

from __future__ import annotations

import numpy as np
import pytest

from common.intervals import wilson_interval
from eval_harness.sequential.sequences import confidence_sequence, log_mixture_ratio


def test_more_successes_than_trials() -> None:
    with pytest.raises(ValueError, match=r"0\.\.5"):
        confidence_sequence(6, 5)


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
