"""Modes are found without names; entropy and spread by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from analysis.modes import ModeFinder, entropy, entropy_estimate, normalised_entropy, spread
from analysis.trajectories import DiversityError
from tests.analysis.paths import arc, line, three_ways


def test_three_ways_are_three_modes() -> None:
    made = three_ways(10)
    finder = ModeFinder([t.proprio for t in made])
    modes = finder.assign([t.proprio for t in made])
    assert finder.count == 3
    assert len({(t.way, mode) for t, mode in zip(made, modes, strict=True)}) == 3
    others = three_ways(4, seed=1)
    assigned = finder.assign([t.proprio for t in others])
    assert {(t.way, mode) for t, mode in zip(others, assigned, strict=True)} == {
        (t.way, mode) for t, mode in zip(made, modes, strict=True)
    }


@pytest.mark.parametrize(("sides", "yaws"), [((-0.1, 0.1), (0, 0)), ((0, 0), (-1.0, 1.0))])
def test_where_and_how_turned_make_modes_alike(sides: tuple, yaws: tuple) -> None:
    rng = np.random.default_rng(0)
    kinds = list(zip(sides, yaws, strict=True))
    assert ModeFinder([arc(*kinds[i % 2], rng) for i in range(20)]).count == 2


def test_one_way_is_one_mode_whatever_its_tremor() -> None:
    rng = np.random.default_rng(0)
    for noise in (0.0, 0.003, 0.02):
        assert ModeFinder([arc(0.1, 0.3, rng, noise) for _ in range(20)]).count == 1
    assert ModeFinder([line([0.3, 0, 0])] * 12).count == 1


def test_order_of_episodes_finds_the_same_modes() -> None:
    paths = [t.proprio for t in three_ways(6)]
    first, second = ModeFinder(paths).assign(paths), ModeFinder(paths[::-1]).assign(paths)
    assert len(set(zip(first, second, strict=True))) == len(set(first)) == 3


def test_entropy_by_hand() -> None:
    assert entropy(["a"]) == 0 == entropy([3, 3, 3])
    assert entropy("aabb") == pytest.approx(math.log(2))
    shares = (0.5, 0.25, 0.25)
    assert entropy("aabc") == pytest.approx(-sum(p * math.log(p) for p in shares))
    assert entropy("caba") == entropy("aabc")
    assert normalised_entropy("ab", "abcd") == pytest.approx([0.5])
    assert normalised_entropy("ab", "aaab")[0] > 1
    drawn = np.array([[1, 1, 1], [2, 1, 0], [0, 0, 3]], float)
    expected = [entropy("aab"), entropy("aaa"), entropy("b")]
    np.testing.assert_allclose(normalised_entropy("aab", "ab", drawn) * math.log(2), expected)
    with pytest.raises(DiversityError, match="no episode"):
        entropy([])
    with pytest.raises(DiversityError, match="one mode"):
        normalised_entropy("ab", "aa")


def drawn(shares: list[float], shared: float, rng: np.random.Generator) -> np.ndarray:
    """Return modes of 3 episodes from each of 12 starts; a share of them take their start's."""
    size, modes = (12, 3), len(shares)
    own, starts = rng.choice(modes, size, p=shares), rng.choice(modes, (12, 1), p=shares)
    return np.where(rng.random(size) < shared, starts, own).ravel()


@pytest.mark.parametrize("shared", [0.0, 0.5])
@pytest.mark.parametrize("shares", [[1 / 3] * 3, [1 / 5] * 5, [1 / 8] * 8, [0.6, 0.3, 0.1]])
def test_intervals_of_entropy_cover_and_hold_their_value(
    shares: list[float], shared: float
) -> None:
    """The entropy of few episodes is biased downwards, most of all near 1."""
    rng, repeats, covered = np.random.default_rng(0), 500, 0
    alike, starts = list(range(len(shares))), np.repeat(np.arange(12), 3).tolist()
    truth = -np.sum(np.array(shares) * np.log(shares)) / math.log(len(shares))
    for _ in range(repeats):
        found = entropy_estimate(drawn(shares, shared, rng).tolist(), alike, starts)
        assert found.low is not None and found.high is not None
        assert 0 <= found.low <= found.value <= found.high <= 1 + 1e-12
        covered += found.low - 1e-9 <= truth <= found.high + 1e-9
    assert covered >= 0.9 * repeats


def test_entropy_that_no_start_changes_has_no_interval() -> None:
    starts = np.repeat(np.arange(4), 3).tolist()
    for labels in ("aaa" * 4, "abc" * 4):
        found = entropy_estimate(labels, "aabbcd", starts)
        assert found.low is found.high is None
    assert entropy_estimate("abc", "aabbcd", [0, 0, 0]).low is None
    wider = entropy_estimate("abcabcabcabb", "aab", starts)
    assert wider.value > 1 and wider.high == pytest.approx(math.log(3) / entropy("aab"))


def test_spread_within_and_between() -> None:
    table = np.array([[0, 1, 4, 6], [1, 0, 5, 7], [4, 5, 0, 3], [6, 7, 3, 0]], float)
    assert spread(table, "aabb") == (2.0, 5.5)
    assert spread(table, "abcd")[0] is None
    within, between = spread(table, "aaaa")
    assert within == pytest.approx(26 / 6) and between is None
    with pytest.raises(DiversityError, match="4 labels"):
        spread(table[:2, :2], "aabb")


def test_bad_paths_are_one_clear_error() -> None:
    with pytest.raises(DiversityError, match="two episodes"):
        ModeFinder([line([1, 0, 0])])
    with pytest.raises(DiversityError, match="NaN"):
        ModeFinder([line([1, 0, 0]), line([1, 0, 0]) * np.nan])
