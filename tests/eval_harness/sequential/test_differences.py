"""Intervals of a paired difference, and decisions: by simulation that they always hold."""

from __future__ import annotations

import numpy as np
import pytest

from common.errors import SettingError
from eval_harness.sequential.rules import DecisionRule, find_verdict
from eval_harness.sequential.sequences import (
    difference_sequence,
    log_capital,
    log_mixture_ratio,
)
from eval_harness.statistics import mcnemar_test

LIMIT = np.log(20)
Chances = tuple[float, float, float]
"""That only the baseline succeeds, both are alike, only the evaluated succeeds."""


def draw(chances: list[Chances], rounds: int, runs: int, seed: int) -> np.ndarray:
    """Counts of the kinds of pairs after each round of all tasks. Shape: (3, runs, rounds)."""
    rng = np.random.default_rng(seed)
    of_tasks = [rng.multinomial(1, p, size=(runs, rounds)) for p in chances]
    return np.moveaxis(np.cumsum(np.sum(of_tasks, axis=0), axis=1), -1, 0)


def true_difference(chances: list[Chances]) -> float:
    return float(np.mean([better - worse for worse, _, better in chances]))


@pytest.mark.parametrize(
    "chances",
    [
        [(0.05, 0.9, 0.05)],
        [(0.5, 0.0, 0.5)],
        [(0.1, 0.7, 0.2)],
        [(0.0, 0.7, 0.3), (0.3, 0.7, 0.0)],
        [(0.4, 0.6, 0.0), *[(0.05, 0.8, 0.15)] * 4],
    ],
    ids=["equal", "discordant", "different", "tasks that cancel", "unequal tasks"],
)
def test_it_holds_at_every_look(chances: list[Chances]) -> None:
    """Of 1,000 comparisons with a look after each of 60 rounds, 5% at most ever err."""
    counts = draw(chances, 60, 1000, seed=5)
    kinds, place = np.unique(counts.reshape(3, -1), axis=1, return_inverse=True)
    excluded = log_capital(true_difference(chances), *kinds) > LIMIT
    erred = excluded[place].reshape(counts.shape[1:]).any(axis=1).mean()
    assert 0 < erred <= 0.05


def test_looking_with_mcnemar_errs_often() -> None:
    worse, _, better = draw([(0.25, 0.5, 0.25)], 150, 400, seed=6)
    z = np.abs(better - worse) / np.sqrt(np.maximum(better + worse, 1))
    assert (z[:, 20:] > 1.96).any(axis=1).mean() > 0.15


def test_ends_are_where_the_capital_says() -> None:
    for counts in ((3, 30, 9), (0, 40, 0), (0, 0, 12), (7, 0, 0), (0, 1, 0)):
        low, high = difference_sequence(*counts)
        assert -1 <= low <= (counts[2] - counts[0]) / sum(counts) <= high <= 1
        for end in {low, high} - {-1.0, 1.0}:
            assert log_capital(end, *counts) == pytest.approx(LIMIT, abs=1e-6)
        there, back = difference_sequence(*counts[::-1])
        assert (there, back) == pytest.approx((-high, -low))
    assert difference_sequence(0, 0, 0) == (-1.0, 1.0)
    with pytest.raises(ValueError, match="not negative"):
        difference_sequence(1, -1, 0)


def test_against_no_difference_it_is_jeffreys_mixture_of_discordant_pairs() -> None:
    for worse, better in ((0, 3), (10, 25), (60, 61)):
        found = log_capital(0.0, worse, 500, better)
        assert found == pytest.approx(log_mixture_ratio(0.5, better, worse + better))


Table = dict[str, list[bool | None]]


def outcomes(seed: int, rates: list[tuple[float, float]], rounds: int) -> tuple[Table, Table]:
    """Both policies' outcomes on shared episodes, some of which are harder for both."""
    rng = np.random.default_rng(seed)
    hard = rng.random((len(rates), rounds))
    both: list[Table] = []
    for side in (0, 1):
        luck = 0.6 * hard + 0.4 * rng.random(hard.shape)
        rate = np.array(rates)[:, side, None]
        both.append({f"t{i}": [bool(x) for x in row] for i, row in enumerate(luck < rate)})
    return both[0], both[1]


def test_a_clear_difference_is_decided_early_and_rightly() -> None:
    found = [find_verdict(*outcomes(s, [(0.4, 0.7)] * 5, 50), DecisionRule()) for s in range(25)]
    assert {one.outcome for one in found} == {"evaluated better"}
    assert np.median([one.rounds for one in found]) < 25
    worse, better = outcomes(0, [(0.4, 0.7)] * 5, 50)
    back = find_verdict(better, worse, DecisionRule())
    assert back.outcome == "baseline better" and back.rounds == found[0].rounds
    assert back.difference == -found[0].difference


def test_equal_policies_differ_by_no_more_than_a_margin() -> None:
    rule = DecisionRule(margin=0.1)
    found = [find_verdict(*outcomes(s, [(0.9, 0.9)] * 10, 80), rule) for s in range(20)]
    assert sum(one.outcome == "no difference" for one in found) >= 18
    unasked = find_verdict(*outcomes(0, [(0.9, 0.9)] * 10, 80), DecisionRule())
    assert (unasked.outcome, unasked.rounds, unasked.n) == ("undecided", 80, 800)


def test_a_verdict_depends_on_the_plan_alone() -> None:
    """It never looks past an episode that is missing, and later ones do not change it."""
    rule = DecisionRule()
    lose: Table = {"a": [False] * 30, "b": [False] * 30}
    win: Table = {"a": [True] * 30, "b": [True] * 30}
    found = find_verdict(lose, win, rule)
    assert found.outcome == "evaluated better" and 2 <= found.rounds < 10
    assert mcnemar_test([False] * found.n, [True] * found.n).p_value < 0.05
    cut: Table = {task: [*row[: found.rounds], None, False] for task, row in win.items()}
    assert find_verdict(lose, cut, rule) == found
    hole: Table = {**win, "b": [True, None, *[True] * 28]}
    early = find_verdict(lose, hole, rule)
    assert (early.outcome, early.rounds, early.n) == ("undecided", 1, 2)
    assert find_verdict({}, {}, rule).n == 0


@pytest.mark.parametrize("setting", [{"margin": 0.0}, {"margin": 1.0}, {"confidence": 1.0}])
def test_rules_that_make_no_sense(setting: dict[str, float]) -> None:
    with pytest.raises(SettingError):
        DecisionRule(**setting)
