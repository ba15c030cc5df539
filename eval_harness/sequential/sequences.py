"""Intervals of rates and of differences of rates that stay valid however often one looks."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from scipy.optimize import brentq
from scipy.special import betaln, logsumexp, xlog1py, xlogy

_PRIOR = 0.5
"""Both parameters of the mixing beta distribution (Jeffreys' prior)."""
_STAKES = np.cos((2 * np.arange(128) + 1) * np.pi / 512)
"""Shares that are staked: with their negatives Chebyshev's nodes, of which equal weights are the
arcsine distribution, that of Jeffreys' prior."""


def confidence_sequence(successes: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """Return an interval of a success rate that stays valid however often one looks.

    Robbins' method of mixtures (1970): the likelihood ratio of a beta(1/2, 1/2) mixture to the
    true rate is a martingale of mean 1, which by Ville's inequality ever exceeds 1/alpha with
    probability alpha at most. So with probability `confidence` all the intervals of one
    evaluation, one after each episode, hold the true rate together, and stopping on any of them
    is fair. At one fixed number of episodes it is wider than Wilson's.

    Episodes of several tasks have several rates. The interval holds the tasks' mean rate at
    every moment when each task has had the same number of episodes: the logarithm of a Bernoulli's
    moment generating function is concave in its rate, so that unequal rates of one mean leave
    the ratio below that of equal ones.

    Args:
        successes: number of successes so far, 0..n.
        n: number of episodes so far; with none, the interval is (0, 1).
        confidence: coverage over the whole sequence, in (0, 1).

    Raises:
        ValueError: `successes` is not in 0..n.
    """
    if not 0 <= successes <= n:
        raise ValueError(f"successes must be in 0..{n}, got {successes}")
    limit = -math.log1p(-confidence)

    def excess(rate: float) -> float:
        return float(log_mixture_ratio(rate, successes, n)) - limit

    observed = successes / n if n else 0.5
    tiny = float(np.finfo(np.float64).tiny)
    low = 0.0 if excess(tiny) < 0 else brentq(excess, tiny, observed)
    top = 1.0 - float(np.finfo(np.float64).epsneg)
    high = 1.0 if excess(top) < 0 else brentq(excess, observed, top)
    return float(low), float(high)


def log_mixture_ratio(
    rate: npt.ArrayLike, successes: npt.ArrayLike, n: npt.ArrayLike
) -> npt.NDArray[np.float64]:
    """Return the log of the beta mixture's likelihood over that of `rate`, elementwise.

    A rate is outside the confidence sequence where this exceeds log(1/alpha).
    """
    k, count = np.asarray(successes, np.float64), np.asarray(n, np.float64)
    mixture = betaln(_PRIOR + k, _PRIOR + count - k) - betaln(_PRIOR, _PRIOR)
    return np.asarray(mixture - xlogy(k, rate) - xlog1py(count - k, -np.asarray(rate)))


def difference_sequence(
    only_baseline: int, alike: int, only_evaluated: int, confidence: float = 0.95
) -> tuple[float, float]:
    """Return an interval of a paired difference of rates that stays valid however often one looks.

    The difference is the evaluated policy's rate less the baseline's on shared episodes, of which
    each gives -1, 0 or 1. The capital of one who bets at fair odds against a difference d, here by
    a mixture of bets on either side (Waudby-Smith and Ramdas, 2024, of means of bounded variables),
    ever exceeds 1/alpha with probability alpha at most if d is true (Ville), so with probability
    `confidence` the intervals after all episodes hold the true difference together. Against d = 0
    only the discordant pairs of McNemar's test count, and the mixture is Jeffreys' of their share.
    `STEP` (Snyder et al., 2025) decides between unpaired rates with fewer episodes than methods of
    this kind, for a largest number that is fixed beforehand; this one has none.

    The interval holds the mean over tasks at every moment when each task has had the same number
    of episodes: a bet's expected factor is 1 plus a term linear in the task's difference, and by
    the inequality of the means such factors' product is largest where all tasks are alike.

    Args:
        only_baseline: episodes at which the baseline alone succeeds.
        alike: episodes at which both succeed or both fail.
        only_evaluated: episodes at which the evaluated policy alone succeeds.
        confidence: coverage over the whole sequence, in (0, 1).

    Raises:
        ValueError: a number is negative.
    """
    counts = only_baseline, alike, only_evaluated
    if min(counts) < 0:
        raise ValueError(f"numbers of episodes are not negative, got {counts}")
    if not sum(counts):
        return -1.0, 1.0
    limit = -math.log1p(-confidence)

    def excess(difference: float) -> float:
        return float(log_capital(difference, *counts)) - limit

    edge = 1.0 - 1e-12
    observed = max(-edge, min(edge, (only_evaluated - only_baseline) / sum(counts)))
    low = -1.0 if excess(-edge) < 0 else brentq(excess, -edge, observed)
    high = 1.0 if excess(edge) < 0 else brentq(excess, observed, edge)
    return float(low), float(high)


def log_capital(
    difference: npt.ArrayLike,
    only_baseline: npt.ArrayLike,
    alike: npt.ArrayLike,
    only_evaluated: npt.ArrayLike,
) -> npt.NDArray[np.float64]:
    """Return the log of the capital of bets against a difference, elementwise.

    A difference, in (-1, 1), is outside the confidence sequence where this exceeds log(1/alpha).
    Each bet stakes a fixed share of what keeps it solvent. As a function of the difference the
    bets on more fall and those on less rise, and all are convex: what is not excluded is an
    interval.
    """
    d = np.asarray(difference, np.float64)[..., None]
    counts = (only_baseline, alike, only_evaluated)
    worse, same, better = (np.asarray(n, np.float64)[..., None] for n in counts)
    more = (
        worse * np.log1p(-_STAKES)
        + same * np.log1p(-_STAKES * d / (1 + d))
        + better * np.log1p(_STAKES * (1 - d) / (1 + d))
    )
    less = (
        worse * np.log1p(_STAKES * (1 + d) / (1 - d))
        + same * np.log1p(_STAKES * d / (1 - d))
        + better * np.log1p(-_STAKES)
    )
    mean = logsumexp(np.concatenate((more, less), axis=-1), axis=-1) - math.log(2 * len(_STAKES))
    return np.asarray(mean, np.float64)
