"""Coverage@K against values worked out by hand and against drawing."""

from __future__ import annotations

import numpy as np
import pytest

from analysis.coverage import coverage_at_k, own_coverage_at_k, reaches
from analysis.trajectories import DiversityError

REFERENCE = np.array([0.0, 1.0, 3.0, 10.0])
"""Places on a line; the nearest other is 1, 1, 2 and 7 away."""


def apart(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    return np.abs(first[:, None] - second[None])


def test_reach_is_to_the_nth_nearest_other() -> None:
    table = apart(REFERENCE, REFERENCE)
    assert reaches(table, 1).tolist() == [1, 1, 2, 7]
    assert reaches(table, 2).tolist() == [3, 2, 3, 9]
    assert reaches(table, 99).tolist() == [10, 9, 7, 10]


def test_covered_share_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    """With one neighbour the first sample matches 0 and 1, the second 3, the third nothing."""
    monkeypatch.setattr(reaches, "__defaults__", (1,))
    cross = apart(REFERENCE, np.array([0.5, 4.9, 40.0]))
    cross[3] = 100
    table = apart(REFERENCE, REFERENCE)
    assert coverage_at_k(table, cross, 3) == pytest.approx(3 / 4)
    # One of three is drawn: the references are matched by 1, 1, 1 and 0 of them.
    assert coverage_at_k(table, cross, 1) == pytest.approx(1 / 4)
    assert coverage_at_k(table, cross, 2) == pytest.approx(2 / 4)


def test_expectation_equals_drawing() -> None:
    rng = np.random.default_rng(0)
    reference, samples = rng.normal(size=12), rng.normal(size=15)
    table, cross = apart(reference, reference), apart(reference, samples)
    matches = cross <= reaches(table)[:, None]
    drawn = [matches[:, rng.permutation(15)[:4]].any(axis=1).mean() for _ in range(4000)]
    assert coverage_at_k(table, cross, 4) == pytest.approx(np.mean(drawn), abs=0.01)
    values = [coverage_at_k(table, cross, k) for k in range(1, 16)]
    assert values == sorted(values)
    assert coverage_at_k(table, cross[:, ::-1], 4) == pytest.approx(values[3])


def test_own_episodes_do_not_match_themselves() -> None:
    """Each of seven has five matches among its six others: all are reached by two draws."""
    rng = np.random.default_rng(1)
    points = rng.normal(size=7)
    table = apart(points, points)
    assert own_coverage_at_k(table, 1) == pytest.approx(5 / 6)
    assert own_coverage_at_k(table, 2) == 1


def test_one_mode_covers_one_mode() -> None:
    rng = np.random.default_rng(2)
    reference = np.concatenate([rng.normal(c, 0.1, 10) for c in (0, 10, 20)])
    table = apart(reference, reference)
    one = coverage_at_k(table, apart(reference, rng.normal(0, 0.1, 200)), 200)
    assert one == pytest.approx(1 / 3, abs=0.05)
    far = coverage_at_k(table, apart(reference, rng.normal(1000, 0.1, 20)), 20)
    assert far == 0


def test_identical_references_are_covered_by_the_same_alone() -> None:
    table = np.zeros((4, 4))
    assert coverage_at_k(table, np.zeros((4, 1)), 1) == 1
    assert coverage_at_k(table, np.full((4, 1), 1e-6), 1) == 0


def test_bad_input_is_one_clear_error() -> None:
    table = apart(REFERENCE, REFERENCE)
    for k in (0, 3):
        with pytest.raises(DiversityError, match=r"K in 1\.\.2"):
            coverage_at_k(table, np.ones((4, 2)), k)
    with pytest.raises(DiversityError, match="two reference episodes"):
        coverage_at_k(np.zeros((1, 1)), np.ones((1, 2)), 1)
    with pytest.raises(DiversityError, match="without NaN"):
        coverage_at_k(table, np.full((4, 2), np.nan), 1)
    with pytest.raises(DiversityError, match="3 rows"):
        coverage_at_k(table, np.ones((3, 2)), 1)
