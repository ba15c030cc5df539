"""When an evaluation may end before all its episodes have run, and where it does."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Literal

from common.errors import SettingError
from eval_harness.sequential.sequences import (
    confidence_sequence,
    difference_sequence,
    log_mixture_ratio,
)

Decision = Literal["above", "below", "precise", "decided"]
"""Why a sequential evaluation may stop: the rate is above or below the threshold, or known, or the
evaluation was one of two, between which was decided."""
Outcome = Literal["evaluated better", "baseline better", "no difference", "undecided"]
"""What a sequential comparison of two policies comes to."""
Outcomes = Mapping[str, Sequence[bool | None]]
"""Task -> success of its episodes in the order of the plan; None for one that has not ended or is
an error, at which the looking ends."""


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


def find_stop(outcomes: Outcomes, rule: StoppingRule) -> Stop | None:
    """Return the first round after which the rule stops, or None while it does not.

    Call it whenever episodes have ended; what it returns once, it returns ever after.

    Args:
        outcomes: what has ended so far.
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


@dataclass(frozen=True)
class DecisionRule:
    """When a comparison of two policies on the same episodes may end.

    It looks after each round, as `StoppingRule` does, at the interval of the difference of both
    rates. The error is bounded over all looks together: of two equal policies one is called
    better with probability 1 - `confidence` at most.
    """

    margin: float | None = None
    """Differences up to this, 0..1, are none: stop as well once the interval lies within it."""
    confidence: float = 0.95
    """Coverage over all looks together."""

    def __post_init__(self) -> None:
        """Refuse what makes no sense."""
        for name in ("margin", "confidence"):
            value = getattr(self, name)
            if value is not None and not 0 < value < 1:
                raise SettingError(f"{name} of a decision is between 0 and 1, got {value}")

    def decide(self, low: float, high: float) -> Outcome:
        """Return what the ends of the interval say."""
        if low > 0:
            return "evaluated better"
        if high < 0:
            return "baseline better"
        if self.margin is not None and -self.margin <= low and high <= self.margin:
            return "no difference"
        return "undecided"


@dataclass(frozen=True)
class Verdict:
    """Where a sequential comparison stands: at the first round that decides it, or at the last."""

    outcome: Outcome
    """What it came to."""
    rounds: int
    """Episodes of each task that count: those numbered below this."""
    only_baseline: int
    """Episodes among them at which the baseline alone succeeds."""
    alike: int
    """Those at which both succeed or both fail."""
    only_evaluated: int
    """Those at which the evaluated policy alone succeeds."""
    low: float
    """Lower end of the difference, evaluated less baseline, mean over tasks; valid although the
    comparison stopped on it."""
    high: float
    """Upper end."""

    @property
    def n(self) -> int:
        """Number of pairs that count."""
        return self.only_baseline + self.alike + self.only_evaluated

    @property
    def difference(self) -> float:
        """The evaluated policy's rate less the baseline's, -1..1; 0 of no pairs."""
        return (self.only_evaluated - self.only_baseline) / self.n if self.n else 0.0


def find_verdict(baseline: Outcomes, evaluated: Outcomes, rule: DecisionRule) -> Verdict:
    """Return where a comparison stands after the rounds that both policies have ended.

    Once it is decided, later episodes do not change what is returned.

    Args:
        baseline: the one policy's outcomes.
        evaluated: the other's, of the same tasks.
        rule: when to stop.
    """
    worse = alike = better = rounds = 0
    low, high = -1.0, 1.0
    both = [(baseline[task], evaluated[task]) for task in baseline]
    for i in range(min((len(row) for pair in both for row in pair), default=0)):
        pairs = [(x[i], y[i]) for x, y in both]
        if any(x is None or y is None for x, y in pairs):
            break
        worse += sum(x is True and y is False for x, y in pairs)
        better += sum(x is False and y is True for x, y in pairs)
        alike += sum(x is y for x, y in pairs)
        rounds = i + 1
        low, high = difference_sequence(worse, alike, better, rule.confidence)
        if rule.decide(low, high) != "undecided":
            break
    return Verdict(rule.decide(low, high), rounds, worse, alike, better, low, high)


def fixed_number(half_width: float, confidence: float = 0.95) -> int:
    """Return how many episodes make half of Wilson's interval this wide at most, at any rate."""
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    return math.ceil(z**2 / (4 * half_width**2) - z**2)
