"""Intervals, paired tests and sequential stopping for success rates."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from scipy.optimize import brentq
from scipy.special import betaln, xlog1py, xlogy
from scipy.stats import binomtest

from common.errors import SettingError

Decision = Literal["above", "below", "precise"]
"""Why a sequential evaluation may stop: the rate is above or below the threshold, or known."""

_PRIOR = 0.5
"""Both parameters of the mixing beta distribution (Jeffreys' prior)."""


@dataclass(frozen=True)
class McNemar:
    """How two policies' outcomes fall together on the same episodes, and the exact test."""

    both: int
    """Episodes at which both succeed."""
    only_a: int
    """Episodes at which A alone succeeds."""
    only_b: int
    """Episodes at which B alone succeeds."""
    neither: int
    """Episodes at which both fail."""
    p_value: float
    """Two-sided, of the hypothesis that A alone succeeds as often as B alone."""

    @property
    def n(self) -> int:
        """Number of pairs."""
        return self.both + self.only_a + self.only_b + self.neither


def mcnemar_test(a: npt.ArrayLike, b: npt.ArrayLike) -> McNemar:
    """Test whether two policies succeed equally often on the same episodes (McNemar, 1947).

    The exact form: where just one succeeds, it is either with probability 1/2. Nothing is
    assumed about how often both succeed. With no such episode p is 1.

    Args:
        a: success of A, bool (n,).
        b: success of B on the same episodes, in the same order, bool (n,).

    Raises:
        ValueError: the lengths differ.
    """
    first, second = _paired(a, b)
    only_a, only_b = int((first & ~second).sum()), int((second & ~first).sum())
    discordant = only_a + only_b
    p_value = float(binomtest(only_a, discordant, 0.5).pvalue) if discordant else 1.0
    both = int((first & second).sum())
    return McNemar(both, only_a, only_b, len(first) - both - discordant, p_value)


@dataclass(frozen=True)
class Difference:
    """The difference of two success rates, B's less A's."""

    value: float
    """Mean over the tasks of each task's difference, -1..1."""
    low: float
    """Lower end of the interval."""
    high: float
    """Upper end of the interval."""


def paired_bootstrap(
    a: Sequence[npt.ArrayLike],
    b: Sequence[npt.ArrayLike],
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
    bound 1 - (alpha/2)^(1/n).

    Args:
        a: per task, success of A, bool (n,).
        b: per task, success of B on the same episodes, bool (n,).
        confidence: coverage, in (0, 1).
        resamples: number of bootstrap samples.
        seed: of the samples; the same input gives the same interval.
        resample_tasks: whether tasks are drawn too.

    Raises:
        ValueError: there is no task, a task has no pair, or lengths differ.
    """
    kinds = np.array([_differences(*_paired(x, y)) for x, y in zip(a, b, strict=True)])
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
    shape = (resamples, len(kinds))
    drawn = rng.integers(len(kinds), size=shape) if resample_tasks else np.arange(len(kinds))
    counts = rng.multinomial(totals[drawn], rates[drawn], size=None if resample_tasks else shape)
    samples = ((counts[..., 2] - counts[..., 0]) / totals[drawn]).mean(axis=1)
    low, high = np.quantile(samples, [alpha / 2, 1 - alpha / 2])
    return Difference(value, float(low), float(high))


def confidence_sequence(successes: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """Return an interval of a success rate that stays valid however often one looks.

    Robbins' method of mixtures (1970): the likelihood ratio of a beta(1/2, 1/2) mixture to the
    true rate is a martingale of mean 1, which by Ville's inequality ever exceeds 1/alpha with
    probability alpha at most. So with probability `confidence` all the intervals of one
    evaluation, one after each episode, hold the true rate together, and stopping on any of them
    is fair. At one fixed number of episodes it is wider than Wilson's.

    Episodes of several tasks have several rates. The interval holds the tasks' mean rate at
    every moment when each task has had the same number of episodes: the logarithm of a Bernoulli's
    moment generating function is concave in its rate, so that unequal rates of one mean leave
    the ratio below that of equal ones.

    Args:
        successes: number of successes so far, 0..n.
        n: number of episodes so far; with none, the interval is (0, 1).
        confidence: coverage over the whole sequence, in (0, 1).

    Raises:
        ValueError: `successes` is not in 0..n.
    """
    if not 0 <= successes <= n:
        raise ValueError(f"successes must be in 0..{n}, got {successes}")
    limit = -math.log1p(-confidence)

    def excess(rate: float) -> float:
        return float(log_mixture_ratio(rate, successes, n)) - limit

    observed = successes / n if n else 0.5
    tiny = float(np.finfo(np.float64).tiny)
    low = 0.0 if excess(tiny) < 0 else brentq(excess, tiny, observed)
    top = 1.0 - float(np.finfo(np.float64).epsneg)
    high = 1.0 if excess(top) < 0 else brentq(excess, observed, top)
    return float(low), float(high)


def log_mixture_ratio(
    rate: npt.ArrayLike, successes: npt.ArrayLike, n: npt.ArrayLike
) -> npt.NDArray[np.float64]:
    """Return the log of the beta mixture's likelihood over that of `rate`, elementwise.

    A rate is outside the confidence sequence where this exceeds log(1/alpha).
    """
    k, count = np.asarray(successes, np.float64), np.asarray(n, np.float64)
    mixture = betaln(_PRIOR + k, _PRIOR + count - k) - betaln(_PRIOR, _PRIOR)
    return np.asarray(mixture - xlogy(k, rate) - xlog1py(count - k, -np.asarray(rate)))


@dataclass(frozen=True)
class StoppingRule:
    """When an evaluation may end before all its episodes have run.

    It looks after each round, a round being the next episode of every task. Rounds are taken
    in the order of the plan, never in the order in which episodes end: successes end sooner,
    and an evaluation that counted what had ended would find too many. What stops is thus as
    much a function of checkpoint, protocol and seed as the outcomes are.
    """

    threshold: float | None = None
    """Stop once the mean rate is known to be above or below this rate, 0..1."""
    half_width: float | None = None
    """Stop once half the interval is at most this wide, 0..1."""
    confidence: float = 0.95
    """Coverage over all looks together."""

    def __post_init__(self) -> None:
        """Refuse a rule that never stops or makes no sense."""
        if self.threshold is None and self.half_width is None:
            raise SettingError("a stopping rule needs a threshold or a half-width")
        for name in ("threshold", "half_width", "confidence"):
            value = getattr(self, name)
            if value is not None and not 0 < value < 1:
                raise SettingError(f"{name} of a stopping rule is between 0 and 1, got {value}")

    def decide(self, successes: int, n: int) -> Decision | None:
        """Return why to stop after `n` episodes, the same number of each task; None to go on."""
        limit = -math.log1p(-self.confidence)
        if self.threshold is not None and log_mixture_ratio(self.threshold, successes, n) > limit:
            return "above" if successes > self.threshold * n else "below"
        if self.half_width is not None:
            low, high = confidence_sequence(successes, n, self.confidence)
            if (high - low) / 2 <= self.half_width:
                return "precise"
        return None


@dataclass(frozen=True)
class Stop:
    """Where a sequential evaluation stops."""

    rounds: int
    """Episodes of each task that count: those numbered below this."""
    reason: Decision
    """Why."""
    successes: int
    """Successes among them."""
    n: int
    """Episodes of all tasks that count."""
    low: float
    """Lower end of the tasks' mean rate; valid although the evaluation stopped on it."""
    high: float
    """Upper end."""


def find_stop(outcomes: Mapping[str, Sequence[bool | None]], rule: StoppingRule) -> Stop | None:
    """Return the first round after which the rule stops, or None while it does not.

    Call it whenever episodes have ended; what it returns once, it returns ever after.

    Args:
        outcomes: per task, success of its episodes in the order of the plan; None for one that
            has not ended or is an error, at which the looking ends.
        rule: when to stop.
    """
    if not outcomes:
        return None
    successes, tasks = 0, len(outcomes)
    for rounds, results in enumerate(zip(*outcomes.values(), strict=False), 1):
        if any(result is None for result in results):
            return None
        successes += sum(map(bool, results))
        reason = rule.decide(successes, rounds * tasks)
        if reason is not None:
            interval = confidence_sequence(successes, rounds * tasks, rule.confidence)
            return Stop(rounds, reason, successes, rounds * tasks, *interval)
    return None


def _paired(a: npt.ArrayLike, b: npt.ArrayLike) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """Return both as bool arrays of one length."""
    first, second = np.asarray(a, bool), np.asarray(b, bool)
    if first.shape != second.shape or first.ndim != 1:
        raise ValueError(f"outcomes of pairs have one length, got {first.shape}, {second.shape}")
    return first, second


def _differences(a: npt.NDArray[Any], b: npt.NDArray[Any]) -> list[int]:
    """Return the number of pairs in which A is better, both are alike, and B is better."""
    worse, better = int((a & ~b).sum()), int((b & ~a).sum())
    return [worse, len(a) - worse - better, better]
