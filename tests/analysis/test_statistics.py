"""Tests and intervals against published or counted values."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from analysis.statistics import (
    EXACT,
    Estimate,
    bootstrap,
    bootstrap_weights,
    estimate,
    geometric_mean,
    holm,
    non_inferiority_test,
    pair_means,
    sign_flip_test,
)
from analysis.trajectories import DiversityError


@pytest.mark.parametrize(("right", "p"), [(12, 2), (11, 26), (10, 158), (9, 598)])
def test_equal_differences_are_a_sign_test(right: int, p: int) -> None:
    """Of 4096 flips of 12 tasks; 11 of 12 give p = .006, 10 .039, 9 .15."""
    differences = [1.0] * right + [-1.0] * (12 - right)
    assert sign_flip_test(differences) == pytest.approx(p / 4096)


def test_sign_flip_counts_every_flip() -> None:
    values = np.array([0.3, 1.2, -0.5, 0.9, 0.1])
    sums = [abs(np.dot(signs, values)) for signs in itertools.product((1, -1), repeat=5)]
    expected = np.mean([s >= abs(values.sum()) - 1e-12 for s in sums])
    assert sign_flip_test(values) == expected == sign_flip_test(values[::-1])
    assert sign_flip_test(-values) == sign_flip_test(10 * values) == expected


def test_non_inferiority_is_one_sided_about_the_margin() -> None:
    """Twelve tasks, equal or 2 points worse, are no worse by 5; 8 points worse they are not."""
    assert non_inferiority_test([0.0] * 12, 0.05) == pytest.approx(1 / 4096)
    assert non_inferiority_test([-0.02] * 12, 0.05) == pytest.approx(1 / 4096)
    assert non_inferiority_test([-0.08, 0.1], 0.05) == pytest.approx(0.5), "half of the flips"
    assert non_inferiority_test([-0.05] * 5, 0.05) == 1.0, "no flip is smaller"
    assert non_inferiority_test([-0.08] * 12, 0.05) == 1.0, "all are at least the least one"


def test_sign_flip_of_few_or_no_differences() -> None:
    assert sign_flip_test([3.0]) == 1
    assert sign_flip_test([0.0, 0.0]) == 1
    assert sign_flip_test([1.0, 1.0]) == 0.5


def test_sign_flip_of_many_tasks_is_drawn() -> None:
    values = np.ones(EXACT + 5)
    values[:7] = -1
    few = sum(math.comb(EXACT + 5, k) for k in range(8)) * 2 / 2 ** (EXACT + 5)
    assert sign_flip_test(values) == pytest.approx(few, rel=0.1)
    assert sign_flip_test(values, seed=1) == sign_flip_test(values, seed=1)
    assert 0 < sign_flip_test(np.ones(60)) < 1e-4


def test_holm_by_hand() -> None:
    """Four metrics: 4 x .01, 3 x .02, then no smaller than before it, then capped."""
    found = holm({"c": 0.03, "a": 0.01, "d": 0.9, "b": 0.02})
    assert list(found) == ["c", "a", "d", "b"]
    assert found == pytest.approx({"a": 0.04, "b": 0.06, "c": 0.06, "d": 0.9})
    assert holm({}) == {}
    assert holm({"a": 0.7, "b": 0.8}) == {"a": 1.0, "b": 1.0}


def test_bootstrap_interval_of_a_mean() -> None:
    values = np.random.default_rng(0).normal(5, 2, 100)
    found = bootstrap(values)
    error = values.std() / 10
    assert found.value == pytest.approx(values.mean())
    assert found.low == pytest.approx(values.mean() - 1.96 * error, abs=0.3 * error)
    assert found.high == pytest.approx(values.mean() + 1.96 * error, abs=0.3 * error)
    turned = bootstrap(values[::-1])
    assert (turned.low, turned.high) == (found.low, found.high)
    assert bootstrap([3.0]) == Estimate(3.0)
    assert bootstrap([2.0, 2.0]) == Estimate(2.0, 2.0, 2.0)


def test_weights_draw_episodes_of_a_start_together() -> None:
    groups = [(1, 0), (2, 0), (1, 0), (3, 0)]
    weights = bootstrap_weights(groups, 50, 0)
    assert (weights[0] == 1).all() and (weights[:, 0] == weights[:, 2]).all()
    # A draw of one episode three times holds no pair and is left out.
    assert (weights[:, [0, 1, 3]].max(axis=1) < 3).all() and len(weights) < 51
    weights = bootstrap_weights(groups, 50, 0, of_pairs=False)
    assert (weights.max(axis=1) == 3).any() and len(weights) == 51


def test_what_is_too_few_to_resample_has_no_interval() -> None:
    assert len(bootstrap_weights("aab", 100, 0)) == 1
    means = bootstrap_weights("aab", 100, 0, of_pairs=False) @ np.array([0.0, 0.0, 1.0])
    assert len(means) == 101 and (means[1:] == 0).any() and (means[1:] == 2).any()
    assert len(bootstrap_weights("aaa", 100, 0, of_pairs=False)) == 1


def test_pair_means_leave_copies_out() -> None:
    term = np.array([[0, 1, 2], [1, 0, 6], [2, 6, 0]], float)
    weights = np.array([[1, 1, 1], [2, 1, 0]], float)
    np.testing.assert_allclose(pair_means(term, weights, "abc"), [3, 1])


def test_pairs_within_a_start_count_once_a_draw() -> None:
    """Three ways from each start: resamples stay about the estimate, on both sides of it."""
    rng = np.random.default_rng(0)
    groups = [start for start in range(8) for _ in range(3)]
    points = np.tile([0.0, 1.0, 2.0], 8) + rng.normal(0, 0.1, 24)
    term = np.abs(points[:, None] - points)
    found = pair_means(term, bootstrap_weights(groups, 500, 0), groups)
    assert found[0] == pytest.approx(term.sum() / (24 * 23))
    assert 0.3 < np.mean(found[1:] < found[0]) < 0.7
    weights = np.array([[2, 2, 2, 1, 1, 1] + [0] * 18], float)
    inside = [(0, 1, 2), (0, 2, 2), (1, 2, 2), (3, 4, 1), (3, 5, 1), (4, 5, 1)]
    within = sum(w * term[i, j] for i, j, w in inside) / sum(w for *_, w in inside)
    between = np.mean(term[:3, 3:6])
    expected = (2 * within + 21 * between) / 23
    assert pair_means(term, weights, groups)[0] == pytest.approx(expected)
    assert len(bootstrap_weights(["one"] * 5, 100, 0)) == 1


def test_interval_covers_the_truth() -> None:
    """The variance of a known Gaussian, over repeated samples of 30 starts."""
    covered, repeats = 0, 60
    for repeat in range(repeats):
        points = np.random.default_rng(repeat).normal(0, [1.0, 2.0], (30, 2))
        term = ((points[:, None] - points[None]) ** 2).sum(axis=-1) / 2
        found = estimate(pair_means(term, bootstrap_weights(range(30), 300, repeat), range(30)))
        assert found.value == pytest.approx(np.trace(np.cov(points.T)))
        assert found.low is not None and found.high is not None
        assert found.low < found.value < found.high
        covered += found.low <= 5.0 <= found.high
    assert covered / repeats > 0.8


def test_geometric_mean() -> None:
    assert geometric_mean([0.5, 2.0, 8.0]) == pytest.approx(2)


def test_bad_input_is_one_clear_error() -> None:
    for values in ([], [1.0, math.nan]):
        with pytest.raises(DiversityError, match="finite"):
            sign_flip_test(values)
        with pytest.raises(DiversityError, match="finite"):
            bootstrap(values)
    with pytest.raises(DiversityError, match=r"0\.\.1"):
        holm({"a": math.nan})
