"""Intervals and tests that every metric is reported with."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.stats import t

from analysis.trajectories import DiversityError

FloatArray = npt.NDArray[np.float64]

CONFIDENCE = 0.95
"""Level of every interval."""
EXACT = 20
"""Up to so many tasks a sign-flip test enumerates all flips; beyond, it draws `DRAWS` of them."""
DRAWS = 100_000


@dataclass(frozen=True)
class Estimate:
    """A metric with its interval."""

    value: float
    low: float | None = None
    """Lower end of the 95% interval; None where resampling cannot give one."""
    high: float | None = None
    """Upper end of it."""


def sign_flip_test(differences: Sequence[float] | FloatArray, seed: int = 0) -> float:
    """Return the two-sided p-value of paired differences being symmetric about zero.

    The share of all flips of signs whose sum is at least as far from zero as the observed one
    (Fisher's randomisation test for pairs, 1935); exact up to `EXACT` differences. The unit is
    the task: episodes of one training are not independent.

    Args:
        differences: (n,) candidate minus baseline, one a task; a log ratio for ratios.
        seed: draws the flips where there are too many to enumerate.

    Raises:
        DiversityError: there is no difference, or one is NaN or infinite.
    """
    values = np.asarray(differences, float)
    sums = _flipped_sums(values, seed)
    return float(np.mean(np.abs(sums) >= abs(values.sum()) - _slack(values)))


def _flipped_sums(values: FloatArray, seed: int) -> FloatArray:
    """Return the sums of all flips of signs, or of many that are drawn and the observed one."""
    if values.ndim != 1 or not len(values) or not np.isfinite(values).all():
        raise DiversityError("a sign-flip test needs one finite difference a task, of one or more")
    if len(values) <= EXACT:
        sums = np.zeros(1)
        for value in values:
            sums = np.concatenate((sums + value, sums - value))
        return sums
    rng = np.random.default_rng(seed)
    flips = rng.choice(np.array([-1, 1], np.int8), (DRAWS, len(values)))
    # The observed signs are one of the flips, so that no p-value is zero.
    return np.append(flips @ values, values.sum())


def _slack(values: FloatArray) -> float:
    """Return by how much equal sums may differ, added in other orders."""
    return 1e-12 * float(np.abs(values).sum())


def non_inferiority_test(
    differences: Sequence[float] | FloatArray, margin: float, seed: int = 0
) -> float:
    """Return the one-sided p-value of paired differences being `-margin` or worse in the mean.

    A small one says that the candidate is worse by less than the margin, if at all: the sign-flip
    test of the differences raised by it.

    Args:
        differences: (n,) candidate minus baseline, one a task; more is better.
        margin: what may be lost, of the differences' unit.
        seed: as of `sign_flip_test`.

    Raises:
        DiversityError: as `sign_flip_test`.
    """
    raised = np.asarray(differences, float) + margin
    sums = _flipped_sums(raised, seed)
    return float(np.mean(sums >= raised.sum() - _slack(raised)))


def holm(p_values: Mapping[str, float]) -> dict[str, float]:
    """Return p-values that hold for all metrics together (Holm, 1979), by the same names.

    The i-th smallest of m is multiplied by m - i + 1, is no smaller than those before it, and no
    larger than 1.

    Raises:
        DiversityError: a p-value is not in 0..1.
    """
    if not all(0 <= p <= 1 for p in p_values.values()):
        raise DiversityError(f"p-values lie in 0..1, got {dict(p_values)}")
    corrected, highest = {}, 0.0
    for rank, name in enumerate(sorted(p_values, key=lambda name: p_values[name])):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[name]))
        corrected[name] = highest
    return {name: corrected[name] for name in p_values}


def bootstrap_weights(
    groups: Sequence[Hashable], resamples: int, seed: int, of_pairs: bool = True
) -> FloatArray:
    """Return how often each episode is drawn when their groups are resampled; (draws + 1, N).

    Row 0 is the sample itself. Episodes of one group, such as those from one start, are drawn
    together, because they are not independent. For means over pairs, draws of a single group hold
    no pair of two and are left out, so there may be fewer rows than asked for. Where that leaves
    no draw but the sample (of two groups; of one, also for other means) there is row 0 alone.

    Args:
        groups: N groups; all different to resample episodes.
        resamples: draws.
        seed: of the draws.
        of_pairs: whether means over pairs are weighed, as by `pair_means`.
    """
    names = {group: place for place, group in enumerate(dict.fromkeys(sorted(groups, key=repr)))}
    if len(names) < (3 if of_pairs else 2):
        return np.ones((1, len(groups)))
    member = np.array([names[group] for group in groups])
    rng = np.random.default_rng(seed)
    draws = rng.multinomial(len(names), np.full(len(names), 1 / len(names)), size=resamples)
    if of_pairs:
        draws = draws[(draws > 0).sum(axis=1) > 1]
    return np.concatenate([np.ones((1, len(groups))), draws[:, member]])


def jackknife_weights(groups: Sequence[Hashable]) -> FloatArray:
    """Return how often each episode counts: once, and then with each group left out; (G + 1, N).

    Args:
        groups: N groups, G of them different; of one alone there is only the first row.
    """
    names = {group: place for place, group in enumerate(dict.fromkeys(groups))}
    member = np.array([names[group] for group in groups])
    if len(names) < 2:
        return np.ones((1, len(member)))
    left_out = member != np.arange(len(names))[:, None]
    return np.concatenate([np.ones((1, len(member))), left_out.astype(float)])


def jackknife(values: FloatArray, least: float = -math.inf, most: float = math.inf) -> Estimate:
    """Return values[0] with the jackknife's t interval, for a statistic that is biased downwards.

    The interval begins as far below the value as t times the standard error, and ends as far above
    the value without the bias that the jackknife finds (Quenouille, 1956; of entropies Zahl,
    1977). A percentile bootstrap would have the bias twice, and never reach the truth.

    Args:
        values: of the sample, and of it with each of G groups left out; (G + 1,).
        least: what the statistic cannot fall below.
        most: what it cannot exceed.

    Returns:
        The estimate, without an interval where no group makes a difference.
    """
    value, groups = float(values[0]), len(values) - 1
    if groups < 2 or np.ptp(values[1:]) < 1e-12:
        return Estimate(value)
    without = values[1:]
    corrected = groups * value - (groups - 1) * float(without.mean())
    error = math.sqrt((groups - 1) / groups * float(np.sum((without - without.mean()) ** 2)))
    half = float(t.ppf((1 + CONFIDENCE) / 2, groups - 1)) * error
    low, high = max(least, value - half), min(most, max(value, corrected) + half)
    return Estimate(value, min(low, value), max(high, value))


def pair_means(term: FloatArray, weights: FloatArray, groups: Sequence[Hashable]) -> FloatArray:
    """Return the mean of `term` over pairs of different episodes, per row of weights; (B,).

    A pair of two groups counts as often as the product of how often they were drawn, a pair
    within a group as often as that was drawn, and both kinds have the share that they have in the
    sample. So pairs between a group's copies are left out: an episode's distance from its own
    copy is zero, which would bias a resample downwards, and those from the copies of its fellows
    would count for more than their share.

    Args:
        term: (N, N) with a diagonal of zeros.
        weights: (B, N), as `bootstrap_weights` gives them.
        groups: the N groups that the weights were drawn for.
    """
    names = {group: place for place, group in enumerate(dict.fromkeys(groups))}
    member = np.array([names[group] for group in groups])
    same = member[:, None] == member
    within = weights @ (same.sum(axis=1) - 1.0)
    between = ((weights @ (~same).astype(float)) * weights).sum(axis=1)
    within_sum = weights @ np.where(same, term, 0.0).sum(axis=1)
    between_sum = ((weights @ np.where(same, 0.0, term)) * weights).sum(axis=1)
    if not between[0]:
        return np.asarray(within_sum / within)
    mean = between_sum / between
    share = (same.sum() - len(member)) / (same.size - len(member))
    # A draw of groups of one episode each has no pair within a group.
    inside = np.where(within > 0, within_sum / np.where(within > 0, within, 1.0), mean)
    return np.asarray(share * inside + (1 - share) * mean)


def estimate(values: FloatArray) -> Estimate:
    """Return values[0] with the percentile interval of the others, where there is one."""
    if len(values) < 2:
        return Estimate(float(values[0]))
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(values[1:], [tail, 1 - tail])
    return Estimate(float(values[0]), float(low), float(high))


def bootstrap(
    values: Sequence[float] | FloatArray,
    statistic: Callable[..., FloatArray] = np.mean,
    resamples: int = 2000,
    seed: int = 0,
) -> Estimate:
    """Return a statistic of N episodes' values with its percentile interval over episodes.

    Args:
        values: (N,) one number an episode.
        statistic: of samples along `axis`, as NumPy's are; the mean by default.
        resamples: draws of N episodes with replacement.
        seed: of the draws.

    Returns:
        The estimate, without an interval where there is but one episode.

    Raises:
        DiversityError: there is no value, or one is NaN or infinite.
    """
    sample = np.asarray(values, float)
    if sample.ndim != 1 or not len(sample) or not np.isfinite(sample).all():
        raise DiversityError("a bootstrap needs one finite value an episode, of one or more")
    if len(sample) == 1:
        return Estimate(float(statistic(sample, axis=-1)))
    # Sorted, so that the order of episodes does not choose the draws.
    ordered = np.sort(sample)
    drawn = np.random.default_rng(seed).integers(0, len(sample), (resamples, len(sample)))
    resampled = statistic(ordered[drawn], axis=-1)
    return estimate(np.concatenate(([statistic(sample, axis=-1)], resampled)))


def geometric_mean(ratios: Sequence[float] | FloatArray) -> float:
    """Return exp of the mean logarithm of positive ratios (n,)."""
    return math.exp(float(np.mean(np.log(ratios))))
