"""Wilson's interval against known values; rates of trials that end with a success by simulation."""

import math
from collections.abc import Iterator

import numpy as np
import pytest

from common.intervals import rate_until, wilson_interval


def test_wilson_interval() -> None:
    assert wilson_interval(45, 50) == pytest.approx((0.7864, 0.9565), abs=1e-4)
    assert wilson_interval(0, 10)[0] == 0 and wilson_interval(10, 10)[1] == 1
    assert wilson_interval(0, 0) == (0, 1)
    with pytest.raises(ValueError, match="successes"):
        wilson_interval(11, 10)


def counts(p: float, wanted: int, most: int) -> Iterator[tuple[int, int, int]]:
    """Yield how often 3,000 series of trials until `wanted` successes, `most` at most, end so."""
    rng = np.random.default_rng(0)
    for _ in range(3000):
        outcomes = rng.random(most) < p
        places = np.flatnonzero(outcomes)
        n = int(places[wanted - 1]) + 1 if len(places) >= wanted else most
        yield int(outcomes[:n].sum()), n, wanted


@pytest.mark.parametrize("most", [2000, 8])
@pytest.mark.parametrize("p", [0.3, 0.6, 0.9])
def test_a_rate_until_a_success_is_unbiased_and_its_interval_covers(p: float, most: int) -> None:
    """Successes over trials are too high; so they are where trials may end before, after 8."""
    for wanted in (4, 12):
        found = [rate_until(*each) for each in counts(p, wanted, most)]
        rates = np.array([rate for rate, _, _ in found])
        error = rates.std() / math.sqrt(len(rates))
        assert rates.mean() == pytest.approx(p, abs=3 * error + 1e-12)
        assert np.mean([low <= p <= high for _, low, high in found]) >= 0.945
        assert all(low <= rate <= high for rate, low, high in found)
    if most > 1000:
        naive = np.mean([k / n for k, n, _ in counts(p, 4, most)])
        assert naive > p + 10 * error


def test_a_rate_until_a_success_by_hand() -> None:
    rate, low, high = rate_until(12, 12, 12)
    assert (rate, high) == (1, 1) and low == pytest.approx(0.025 ** (1 / 12))
    rate, low, high = rate_until(3, 5, 3)
    assert rate == 0.5 and low < rate < high
    assert math.comb(5, 3) * low**3 * (1 - low) ** 2 + 5 * low**4 * (1 - low) + low**5 == (
        pytest.approx(0.025)
    )
    fewer = (1 - high) ** 4 + 4 * high * (1 - high) ** 3 + 6 * high**2 * (1 - high) ** 2
    assert fewer == pytest.approx(0.025)
    assert rate_until(0, 10, 3)[:2] == (0, 0)
    assert rate_until(2, 10, 3)[0] == 0.2
    assert math.isnan(rate_until(1, 4, 1)[0]) and rate_until(0, 0, 3)[1:] == (0, 1)
    with pytest.raises(ValueError, match=r"0\.\.3"):
        rate_until(4, 10, 3)
