"""Wilson's interval against known values."""

import pytest

from common.intervals import wilson_interval


def test_wilson_interval() -> None:
    assert wilson_interval(45, 50) == pytest.approx((0.7864, 0.9565), abs=1e-4)
    assert wilson_interval(0, 10)[0] == 0 and wilson_interval(10, 10)[1] == 1
    assert wilson_interval(0, 0) == (0, 1)
    with pytest.raises(ValueError, match="successes"):
        wilson_interval(11, 10)
