"""Paired tests and intervals for the success rates of two policies."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import binomtest

FloatArray = npt.NDArray[np.float64]

_FEW = 5
"""Pairs of a task, or starts, of which a draw within the task says too little how they vary: of n
it takes the variance for (n - 1) / n of itself, of a single one for nothing."""
_BLOCK = 10_000_000
"""Numbers that are drawn at a time."""


@dataclass(frozen=True)
class McNemar:
    """How two policies' outcomes fall together on the same episodes, and the exact test."""

    both: int
    """Episodes at which both succeed."""
    only_baseline: int
    """Episodes at which the baseline alone succeeds."""
    only_evaluated: int
    """Episodes at which the evaluated policy alone succeeds."""
    neither: int
    """Episodes at which both fail."""
    p_value: float
    """Two-sided, of the hypothesis that either alone succeeds as often as the other alone."""

    @property
    def n(self) -> int:
        """Number of pairs."""
        return self.both + self.only_baseline + self.only_evaluated + self.neither


def mcnemar_test(baseline: npt.ArrayLike, evaluated: npt.ArrayLike) -> McNemar:
    """Test whether two policies succeed equally often on the same episodes (McNemar, 1947).

    The exact form: where just one succeeds, it is either with probability 1/2. Nothing is
    assumed about how often both succeed. With no such episode p is 1.

    Args:
        baseline: success of the baseline, bool (n,).
        evaluated: success of the evaluated policy on the same episodes, in order, bool (n,).

    Raises:
        ValueError: the lengths differ.
    """
    first, second = _paired(baseline, evaluated)
    only_baseline, only_evaluated = int((first & ~second).sum()), int((second & ~first).sum())
    discordant = only_baseline + only_evaluated
    p_value = float(binomtest(only_baseline, discordant, 0.5).pvalue) if discordant else 1.0
    both = int((first & second).sum())
    return McNemar(both, only_baseline, only_evaluated, len(first) - both - discordant, p_value)


@dataclass(frozen=True)
class Difference:
    """The difference of two success rates, the evaluated policy's less the baseline's."""

    value: float
    """Mean over the tasks of each task's difference, -1..1."""
    low: float
    """Lower end of the interval."""
    high: float
    """Upper end of the interval."""


def paired_bootstrap(
    baseline: Sequence[npt.ArrayLike],
    evaluated: Sequence[npt.ArrayLike],
    confidence: float = 0.95,
    resamples: int = 10_000,
    seed: int = 0,
    resample_tasks: bool = False,
) -> Difference:
    """Return the difference in success rate with its percentile bootstrap interval.

    Pairs are drawn with replacement within each task, both policies' outcomes together, which
    asks how the difference on these tasks would vary with other episodes. With
    `resample_tasks` the tasks are drawn first, which asks how it would vary with other tasks
    of the kind too; that takes more than a few tasks to mean anything (Davison and Hinkley,
    1997, section 3.8).

    A bootstrap of pairs that are all alike knows no variation. The interval is then what the
    number of pairs admits: the chance of a pair of another kind has the upper Clopper-Pearson
    bound 1 - (alpha/2)^(1/n). Where the tasks differ, but each one's pairs are alike, or a task has
    fewer than 5, pairs are drawn from those of all tasks together, each task weighing the same:
    the interval holds what tasks differ by, too.

    Args:
        baseline: per task, success of the baseline, bool (n,).
        evaluated: per task, success of the evaluated policy on the same episodes, bool (n,).
        confidence: coverage, in (0, 1).
        resamples: number of bootstrap samples.
        seed: of the samples; the same input gives the same interval.
        resample_tasks: whether tasks are drawn too.

    Raises:
        ValueError: there is no task, a task has no pair, or lengths differ.
    """
    pairs = zip(baseline, evaluated, strict=True)
    kinds = np.array([_differences(*_paired(x, y)) for x, y in pairs])
    if not len(kinds) or not kinds.sum(axis=1).all():
        raise ValueError("a paired bootstrap needs a task, and a pair of each")
    totals = kinds.sum(axis=1)
    rates = kinds / totals[:, None]
    value = float((rates[:, 2] - rates[:, 0]).mean())
    alpha = 1.0 - confidence
    alike = np.flatnonzero(kinds.sum(axis=0))
    if len(alike) == 1:
        bound = float(1.0 - (alpha / 2) ** (1 / kinds.sum()))
        reach = bound if alike[0] == 1 else 2 * bound
        return Difference(value, max(value - reach, -1.0), min(value + reach, 1.0))
    rng = np.random.default_rng(seed)
    if not resample_tasks and (totals.min() < _FEW or (np.count_nonzero(kinds, axis=1) == 1).all()):
        rates, totals = rates.mean(axis=0, keepdims=True), np.array([_effective(totals)])
    shape = (resamples, len(rates))
    every = np.broadcast_to(np.arange(len(rates)), shape)
    drawn = rng.integers(len(rates), size=shape) if resample_tasks else every
    samples = []
    for tasks in _blocks(drawn, rates.size):
        counts = rng.multinomial(totals[tasks], rates[tasks])
        samples.append(((counts[..., 2] - counts[..., 0]) / totals[tasks]).mean(axis=1))
    low, high = np.quantile(np.concatenate(samples), [alpha / 2, 1 - alpha / 2])
    return Difference(value, float(low), float(high))


def clustered_interval(
    outcomes: Iterable[npt.ArrayLike], confidence: float = 0.95
) -> tuple[float, float]:
    """Return an interval of a success rate of which several outcomes share a start.

    Wilson's, of the effective number of outcomes: their number over the design effect, that is
    the variance of the mean from starts over that of as many independent outcomes (Rao and Scott,
    1992; Korn and Graubard, 1998). It is at least what it is where all outcomes of a start are
    alike (the number of starts, of as many outcomes each), also where all are and nothing shows
    how they vary, and at most that of outcomes.

    Args:
        outcomes: of each start its outcomes, 0 or 1.
        confidence: coverage, in (0, 1).
    """
    found = [np.asarray(one, float) for one in outcomes]
    sizes, sums = np.array([[len(one), one.sum()] for one in found]).T
    starts, n, rate = len(sizes), float(sizes.sum()), float(sums.sum() / sizes.sum())
    least = n**2 / float((sizes**2).sum())
    effective = least
    if starts > 1 and 0 < rate < 1:
        varied = starts / (starts - 1) * float(((sums - rate * sizes) ** 2).sum()) / n**2
        effective = min(max(rate * (1 - rate) / varied, least), n) if varied > 0 else n
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    middle = (rate + z**2 / (2 * effective)) / (1 + z**2 / effective)
    reach = z * math.sqrt(rate * (1 - rate) / effective + z**2 / (4 * effective**2))
    reach /= 1 + z**2 / effective
    return max(middle - reach, 0.0), min(middle + reach, 1.0)


def clustered_bootstrap(
    differences: Sequence[Iterable[npt.ArrayLike]],
    confidence: float = 0.95,
    resamples: int = 10_000,
    seed: int = 0,
    resample_tasks: bool = False,
) -> Difference:
    """Return a mean difference with its bootstrap interval, starts being what is drawn.

    As `paired_bootstrap`, of starts that come again, in several seeds or in one.

    Args:
        differences: per task, of each start the differences of its pairs, -1..1: one number, or
            (n,), where n may vary from start to start.
        confidence: coverage, in (0, 1).
        resamples: number of bootstrap samples.
        seed: of the samples.
        resample_tasks: whether tasks are drawn too.
    """
    tasks = [[np.atleast_1d(np.asarray(one, float)) for one in task] for task in differences]
    groups = [np.array([one.mean() for one in task]) for task in tasks]
    sizes = [np.array([one.size for one in task], float) for task in tasks]
    shares = [size / size.mean() for size in sizes]
    means = [float((w * task).mean()) for w, task in zip(shares, groups, strict=True)]
    value, alpha = float(np.mean(means)), 1.0 - confidence
    every = np.concatenate(groups)
    if np.ptp(every) == 0:
        bound = float(1.0 - (alpha / 2) ** (1 / len(every))) * (1 if value == 0 else 2)
        return Difference(value, max(value - bound, -1.0), min(value + bound, 1.0))
    rng, lengths = np.random.default_rng(seed), np.array([len(task) for task in groups])
    weights = [np.full(n, 1 / n) for n in lengths]
    alike = all(np.ptp(task) == 0 for task in groups)
    if not resample_tasks and (lengths.min() < _FEW or alike):
        groups, shares = [every], [np.concatenate(shares)]
        weights = [np.concatenate(weights) / len(weights)]
        lengths = np.array([_effective(lengths)])

    def means_of(n: int, p: FloatArray, share: FloatArray, task: FloatArray) -> FloatArray:
        blocks = _blocks(np.full(resamples, n), len(task))
        counts = (rng.multinomial(draws, p) for draws in blocks)
        return np.concatenate([drawn @ (share * task) / (drawn @ share) for drawn in counts])

    parts = zip(lengths, weights, shares, groups, strict=True)
    samples = np.stack([means_of(*part) for part in parts], axis=1)
    if resample_tasks:
        drawn = rng.integers(samples.shape[1], size=samples.shape)
        samples = np.take_along_axis(samples, drawn, axis=1)
    low, high = np.quantile(samples.mean(axis=1), [alpha / 2, 1 - alpha / 2])
    return Difference(value, float(low), float(high))


def _effective(totals: npt.NDArray[np.int64]) -> int:
    """Return how many pairs of all tasks together say as much of a mean over tasks as they do."""
    return max(round(len(totals) ** 2 / float((1 / totals).sum())), 1)


def _blocks(rows: npt.NDArray[Any], width: int) -> list[npt.NDArray[Any]]:
    """Return rows in blocks, of which each may take `width` numbers a row."""
    size = max(_BLOCK // width, 1)
    return [rows[first : first + size] for first in range(0, len(rows), size)]


def _paired(a: npt.ArrayLike, b: npt.ArrayLike) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """Return both as bool arrays of one length."""
    first, second = np.asarray(a, bool), np.asarray(b, bool)
    if first.shape != second.shape or first.ndim != 1:
        raise ValueError(f"outcomes of pairs have one length, got {first.shape}, {second.shape}")
    return first, second


def _differences(a: npt.NDArray[Any], b: npt.NDArray[Any]) -> list[int]:
    """Return the number of pairs in which `a` is better, both are alike, and `b` is better."""
    worse, better = int((a & ~b).sum()), int((b & ~a).sum())
    return [worse, len(a) - worse - better, better]
