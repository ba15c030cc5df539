"""The confidence interval that every success rate is reported with."""

from __future__ import annotations

import math

_Z_95 = 1.959963984540054
"""97.5% quantile of the standard normal distribution."""


def wilson_interval(successes: int, n: int) -> tuple[float, float]:
    """Return the 95% Wilson score interval of a success rate (Wilson, 1927).

    Args:
        successes: number of successes, 0..n.
        n: number of trials; with none, the interval is (0, 1).

    Raises:
        ValueError: `successes` is not in 0..n.
    """
    if not 0 <= successes <= n:
        raise ValueError(f"successes must be in 0..{n}, got {successes}")
    if n == 0:
        return 0.0, 1.0
    rate, z2 = successes / n, _Z_95**2
    centre = (rate + z2 / (2 * n)) / (1 + z2 / n)
    half = _Z_95 / (1 + z2 / n) * math.sqrt(rate * (1 - rate) / n + z2 / (4 * n * n))
    low = centre - half if successes else 0.0
    high = centre + half if successes < n else 1.0
    return low, high
