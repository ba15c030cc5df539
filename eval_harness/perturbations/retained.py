"""How much success a policy keeps under each perturbation, paired with its control arm.

Each condition is compared with the control on the same episodes: of the same task, start and
seed. Holm's method (1979) adjusts the p values of all conditions together; those that are not
complete yet, or have not begun, count with 1, so that what is said before they are holds
afterwards.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from analysis.statistics import holm
from eval_harness.perturbations.arms import Arm
from eval_harness.results import IDENTITY, Results, ResultsError, planned
from eval_harness.seeds import compare_pairs, episodes_a_seed, rate_interval
from eval_harness.statistics import Difference, McNemar

Verdict = Literal["less", "more", "no change found", "too few to tell", "incomplete"]
"""What an arm says: success falls or rises; or it may change by no more than the interval says;
or the interval is too wide to say even that."""
SMALL = 0.10
"""A change of success that is not to be missed: an interval that reaches farther on either side
of no change, and holds it, is too wide to tell."""


@dataclass(frozen=True)
class Retained:
    """What became of the control's success under one condition."""

    axes: str
    """Axis, or several joined by +."""
    level: int
    """1 to 5."""
    planned: int
    """Episodes of the plan."""
    pairs: int
    """Those that ended without an error in both arms."""
    control: int
    """Successes of the control among the pairs."""
    kept: int
    """Pairs at which both succeed."""
    successes: int
    """Successes under the condition among the pairs."""
    share_kept: tuple[float, float, float] | None
    """Share of the control's successes that are kept, and its interval; None if incomplete, or of
    no success."""
    difference: Difference | None
    """Success under the condition less the control's, with its interval; None if incomplete."""
    test: McNemar | None
    """McNemar's exact test, with p of starts where they come again; None if incomplete."""
    adjusted: float | None
    """Its p value after Holm; None if incomplete."""
    verdict: Verdict
    """What it says, in words."""

    @property
    def name(self) -> str:
        """Name of the arm."""
        return Arm(self.axes, self.level).name

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        return asdict(self)


@dataclass(frozen=True)
class Robustness:
    """An evaluation under perturbation."""

    control: Results
    """The control arm."""
    arms: tuple[Retained, ...]
    """Each condition, axis by axis and level by level."""
    confidence: float
    """Coverage of the intervals."""

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        return {
            "control": str(self.control.folder),
            "policy": self.control.config["policy"],
            "protocol": self.control.config["protocol"]["name"],
            "protocol_digest": self.control.config["protocol_digest"],
            "assets": self.control.config["assets"],
            "confidence": self.confidence,
            "small": SMALL,
            "arms": [arm.as_dict() for arm in self.arms],
        }


def measure_retained(arms: Mapping[Arm, Results], confidence: float = 0.95) -> Robustness:
    """Compare every arm with the control.

    Args:
        arms: results of each arm, the control's among them.
        confidence: coverage of each interval, by itself.

    Raises:
        ResultsError: there is no control, or an arm is not of its policy, plan, seed or assets.
    """
    controls = [results for arm, results in arms.items() if not arm.axes]
    if not controls:
        raise ResultsError("there is no control arm to compare with: run level 0, too")
    control = controls[0]
    found = [
        _compare(arm, control, results, confidence) for arm, results in arms.items() if arm.axes
    ]
    adjusted = holm({one.name: one.test.p_value if one.test else 1.0 for one in found})
    rows = [_judge(one, adjusted[one.name], 1 - confidence) for one in found]
    order = list(dict.fromkeys(one.axes for one in rows))
    rows.sort(key=lambda one: (order.index(one.axes), one.level))
    return Robustness(control, tuple(rows), confidence)


def _compare(arm: Arm, control: Results, results: Results, confidence: float) -> Retained:
    _check_pairs(control, results)
    keys = planned(control.config["plan"])
    ended = [{r.key: r for r in one.episodes if r.error is None} for one in (control, results)]
    shared = [key for key in keys if key in ended[0] and key in ended[1]]
    pairs = [(ended[0][key], ended[1][key]) for key in shared]
    for key, (first, second) in zip(shared, pairs, strict=True):
        if (first.init_index, first.seed) != (second.init_index, second.seed):
            raise ResultsError(f"{results.folder}: {key} starts elsewhere than in the control")
    solved = [second for first, second in pairs if first.success]
    kept, each = sum(second.success for second in solved), episodes_a_seed(control.config)
    share = difference = test = None
    if len(shared) == len(keys):
        difference, test = compare_pairs(pairs, each, confidence)
        share = (kept / len(solved), *rate_interval(solved, each)) if solved else None
    return Retained(
        arm.axes,
        arm.level,
        len(keys),
        len(shared),
        len(solved),
        kept,
        sum(second.success for _, second in pairs),
        share,
        difference,
        test,
        None,
        "incomplete",
    )


def _check_pairs(control: Results, results: Results) -> None:
    """Raise ResultsError unless two arms differ in the perturbations alone."""
    for name in (*IDENTITY, "plan"):
        if name != "protocol_digest" and control.config.get(name) != results.config.get(name):
            raise ResultsError(
                f"{results.folder} is of another {name.replace('_', ' ')} than the control "
                f"{control.folder}: run both alike"
            )
    first, second = (dict(one.config["protocol"]) for one in (control, results))
    first.pop("perturbations", None), second.pop("perturbations", None)
    if first != second:
        raise ResultsError(f"{results.folder} follows another protocol than {control.folder}")


def _judge(one: Retained, adjusted: float, alpha: float) -> Retained:
    """Return an arm with its adjusted p value and verdict; one that is incomplete as it is."""
    difference = one.difference
    if difference is None:
        return one
    verdict: Verdict
    if adjusted <= alpha:
        verdict = "less" if difference.value < 0 else "more"
    elif difference.low < -SMALL or difference.high > SMALL:
        verdict = "too few to tell"
    else:
        verdict = "no change found"
    return replace(one, adjusted=adjusted, verdict=verdict)
