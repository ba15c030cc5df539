"""The confidence intervals that success rates are reported with."""

from __future__ import annotations

import math

from scipy.stats import beta, binomtest


def wilson_interval(successes: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """Return the Wilson score interval of a success rate (Wilson, 1927).

    Args:
        successes: number of successes, 0..n.
        n: number of trials; with none, the interval is (0, 1).
        confidence: coverage, in (0, 1).

    Raises:
        ValueError: `successes` is not in 0..n.
    """
    if not 0 <= successes <= n:
        raise ValueError(f"successes must be in 0..{n}, got {successes}")
    if n == 0:
        return 0.0, 1.0
    interval = binomtest(successes, n).proportion_ci(confidence, method="wilson")
    return float(interval.low), float(interval.high)


def rate_until(
    successes: int, n: int, wanted: int, confidence: float = 0.95
) -> tuple[float, float, float]:
    """Return a success rate and its exact interval where trials end at the last wanted success.

    Successes over trials would be too high, as the last trial is a success by design. The rate
    leaves that one out, which is unbiased (Haldane, 1945); the interval inverts the distribution of
    the number of trials, as Clopper and Pearson (1934) do that of successes. Both hold too where
    trials end before that, after a number that was set.

    Args:
        successes: number of successes, 0..wanted.
        n: number of trials.
        wanted: after how many successes no trial is made.
        confidence: coverage at least, in (0, 1).

    Returns:
        Rate, lower and upper end. The rate is NaN without trials, and where one success is wanted
        and came: a single one has no unbiased rate but 0 or 1.

    Raises:
        ValueError: `successes` is not in 0..n or above `wanted`.
    """
    if not 0 <= successes <= min(n, wanted):
        raise ValueError(f"successes must be in 0..{min(n, wanted)}, got {successes}")
    if not n:
        return math.nan, 0.0, 1.0
    complete, tail = successes == wanted, (1 - confidence) / 2
    low = float(beta.ppf(tail, successes, n - successes + 1)) if successes else 0.0
    above = (successes, n - successes) if complete else (successes + 1, n - successes)
    high = float(beta.ppf(1 - tail, *above)) if n > successes else 1.0
    if complete and successes == 1:
        return math.nan, low, high
    return (successes - complete) / (n - complete), low, high
