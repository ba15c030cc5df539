"""What the tables of a run's report show of counts."""

from __future__ import annotations

from reports.run_outcomes import Count
from reports.run_tables import lowest, rate


def test_without_trials_there_is_no_rate() -> None:
    none = Count(0, 0)
    unknown = {"rate": None, "low": None, "high": None}
    assert none.as_json() == {"successes": 0, "n": 0, **unknown}
    assert rate(none) == ("–", "")
    assert lowest({0: none, 1: Count(9, 10), 2: Count(8, 10)}) == Count(8, 10)
    assert lowest({0: none}) is None
