"""Ways in which a policy's actions may differ from the environment's: corrections, and errors."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import linear_sum_assignment
from scipy.stats import wilcoxon

from eval_harness.conformance.frames import MARGIN, Actions
from eval_harness.conformance.inputs import bounds, exchange
from eval_harness.policy import ACTION_DIM

GRIPPER = "gripper"
STATISTICS = "action statistics"
DIMENSIONS = "action dimensions"
TIMING = "chunk order and delay"

NAMES = ("x", "y", "z", "rotation x", "rotation y", "rotation z", "gripper")
"""What the numbers of an action are."""
LARGEST_ERROR = 4.0
"""Squared error, in variances of the recorded actions, above which an error is no worse."""
_LEAST_DEVIATION = 0.1
"""Deviation below which a dimension hardly moves."""
_ARM = 6


@dataclass(frozen=True, eq=False)
class Correction:
    """The policy's actions would be right after this."""

    check: str
    """Which check it belongs to."""
    name: str
    """The fault, in words."""
    advice: str
    """What to do about it."""
    apply: Callable[[Actions], Actions]
    """From the policy's actions, (frames, length, 7), to corrected ones."""
    shift: int = 0
    """Steps by which they belong later than their place in the chunk says."""
    dimensions: tuple[int, ...] = tuple(range(7))
    """Dimensions that are corrected."""


class Errors:
    """Squared errors beside recorded actions, in units of their variance, up to `LARGEST_ERROR`.

    Actions count as the environment executes them: within [-1, 1], the gripper by its sign.

    Args:
        recorded: recorded actions with `MARGIN` on both sides, (frames, length + 2 MARGIN, 7).
    """

    def __init__(self, recorded: Actions) -> None:
        self.shift = 0
        """Steps by which the policy's actions are known to belong later."""
        self._recorded = recorded
        self.length = recorded.shape[1] - 2 * MARGIN
        self.deviation = np.maximum(np.nanstd(self.at(0), axis=(0, 1)), _LEAST_DEVIATION)

    def at(self, shift: int) -> Actions:
        """Return the recorded actions `shift` further steps later, (frames, length, 7)."""
        start = MARGIN + self.shift + shift
        return self._recorded[:, start : start + self.length]

    def of(self, actions: Actions, shift: int = 0) -> npt.NDArray[np.float64]:
        """Return the error of each action, (frames, length, 7); NaN where none is recorded."""
        executed = np.clip(actions, -1, 1)
        executed[..., 6] = np.sign(actions[..., 6])
        error = ((executed - self.at(shift)) / self.deviation) ** 2
        return np.minimum(error, LARGEST_ERROR)

    def constant(self) -> npt.NDArray[np.float64]:
        """Return the error of always giving the mean action, (frames, length, 7)."""
        mean = np.nanmean(self.at(0), axis=(0, 1))
        return self.of(np.broadcast_to(mean, self.at(0).shape).copy())


def per_frame(
    error: npt.NDArray[np.float64], dimensions: Sequence[int] = range(7)
) -> npt.NDArray[np.float64]:
    """Return the mean error of each frame, (frames,); a frame without any is left at NaN."""
    chosen = error[..., list(dimensions)]
    counts = np.isfinite(chosen).sum(axis=(1, 2))
    return np.where(counts > 0, np.nansum(chosen, axis=(1, 2)) / np.maximum(counts, 1), np.nan)


def significance(
    before: npt.NDArray[np.float64], after: npt.NDArray[np.float64]
) -> tuple[float, float]:
    """Return the share of the error that goes, and its one-sided p-value (Wilcoxon, by frames)."""
    both = np.isfinite(before) & np.isfinite(after)
    difference = before[both] - after[both]
    total = float(before[both].sum())
    if not difference.any() or total <= 0:
        return 0.0, 1.0
    p = wilcoxon(difference, zero_method="zsplit", alternative="greater").pvalue
    return float(difference.sum()) / total, float(p)


def corrections(
    actions: Actions, errors: Errors, halves: npt.NDArray[np.bool_]
) -> list[Correction]:
    """Return the corrections that suit these actions.

    Args:
        actions: the policy's, (frames, length, 7).
        errors: the recorded ones.
        halves: which half of the demonstrations a frame is of; what is fitted on one half is
            applied to the other, (frames,).
    """
    exchanged = _exchanged(errors)
    fitted = (_statistics(actions, errors, halves), _permutation(actions, errors))
    return (
        _gripper(actions)
        + exchanged
        + [c for c in fitted if c]
        + _timing(actions.shape[1], errors.shift)
    )


def _gripper(actions: Actions) -> list[Correction]:
    given = actions[..., 6]
    ways = {"the gripper's sign is flipped (here -1 opens, +1 closes)": (-1, 0)}
    if given.min() > -0.05 and given.max() < 1.05:
        ways |= {
            "the gripper is in [0, 1], 1 closing (here -1 opens, +1 closes)": (2, -1),
            "the gripper is in [0, 1], 1 opening (here -1 opens, +1 closes)": (-2, 1),
        }
    advice = "convert the gripper's action in the policy's postprocessing"
    return [
        Correction(GRIPPER, name, advice, functools.partial(_gripper_line, line), dimensions=(6,))
        for name, line in ways.items()
    ]


def _gripper_line(line: tuple[float, float], actions: Actions) -> Actions:
    corrected = actions.copy()
    corrected[..., 6] = line[0] * actions[..., 6] + line[1]
    return corrected


@dataclass(frozen=True)
class _Line:
    """Recorded action as slope x predicted + offset, and what is wrong with it."""

    slope: float = 1.0
    offset: float = 0.0
    fault: str = ""


def _fit(
    given: npt.NDArray[np.float64], recorded: npt.NDArray[np.float64], deviation: float
) -> _Line:
    """Regress recorded on given actions of one dimension and judge the line.

    Predictions of the mean of what may be done give a slope of 1; samples of it a slope of the
    correlation, which is less. Anything between is as it should be, with some room.
    """
    valid = np.isfinite(recorded)
    p, a = given[valid], recorded[valid]
    moves = min(p.std(), a.std()) > 1e-6
    correlation = float(np.corrcoef(p, a)[0, 1]) if moves else 0.0
    if abs(correlation) > 0.4 and a.std() > 0.2 * deviation:
        slope = correlation * float(a.std() / p.std())
        offset = float(a.mean() - slope * p.mean())
        if slope < 0:
            return _Line(slope, offset, f"sign flipped, scale {-1 / slope:.2f}")
        if not 0.7 * correlation < slope < 1.4:
            return _Line(slope, offset, f"scale {1 / slope:.2f}, offset {-offset / slope:+.2f}")
    shift = float(a.mean() - p.mean())
    return _Line(1, shift, f"offset {-shift:+.2f}") if abs(shift) > 0.5 * deviation else _Line()


def _statistics(
    actions: Actions, errors: Errors, halves: npt.NDArray[np.bool_]
) -> Correction | None:
    recorded = errors.at(0)
    faults: dict[int, str] = {}
    lines = np.tile([1.0, 0.0], (len(actions), ACTION_DIM, 1))
    for d in range(_ARM):
        line = _fit(actions[..., d], recorded[..., d], errors.deviation[d])
        if not line.fault:
            continue
        faults[d] = line.fault
        for half in (halves, ~halves):
            fitted = _fit(actions[~half][..., d], recorded[~half][..., d], errors.deviation[d])
            lines[half, d] = fitted.slope, fitted.offset
    if not faults:
        return None
    told = "; ".join(f"{NAMES[d]}: {fault}" for d, fault in faults.items())
    return Correction(
        STATISTICS,
        f"un-normalised with wrong statistics ({told})",
        "give the statistics (quantiles, or mean and deviation) of the data it was trained on",
        lambda given: given * lines[:, None, :, 0] + lines[:, None, :, 1],
        dimensions=tuple(faults),
    )


def _exchanged(errors: Errors) -> list[Correction]:
    """Return what undoes min and max for quantiles, and the reverse, of these demonstrations."""
    recorded = errors.at(0)[..., :_ARM].reshape(-1, _ARM)
    known = bounds(recorded[np.isfinite(recorded).all(axis=1)])
    found = []
    for used, meant in (("min and max", "quantiles"), ("quantiles", "min and max")):
        found.append(
            Correction(
                STATISTICS,
                f"un-normalised by {used}, trained with {meant}",
                f"un-normalise actions by the {meant} of the data it was trained on",
                functools.partial(_arm_only, exchange(known[used], known[meant])),
                dimensions=tuple(range(_ARM)),
            )
        )
    return found


def _arm_only(
    function: Callable[[npt.NDArray[np.float64]], npt.NDArray[np.float64]], actions: Actions
) -> Actions:
    return np.concatenate((function(actions[..., :_ARM]), actions[..., _ARM:]), axis=-1)


def _permutation(actions: Actions, errors: Errors) -> Correction | None:
    """Match predicted with recorded dimensions of the arm by their correlation."""
    recorded, deviation = errors.at(0), errors.deviation
    valid = np.isfinite(recorded[..., 0])
    p, a = actions[valid][:, :_ARM], recorded[valid][:, :_ARM]
    active = [d for d in range(_ARM) if p[:, d].std() > 1e-6 and a[:, d].std() > 0.2 * deviation[d]]
    if len(active) < 2:
        return None
    table = np.corrcoef(a[:, active].T, p[:, active].T)[: len(active), len(active) :]
    order = list(range(ACTION_DIM))
    for row, column in zip(*linear_sum_assignment(-np.abs(table)), strict=True):
        order[active[row]] = active[column]
    moved = tuple(d for d in range(ACTION_DIM) if order[d] != d)
    if not moved:
        return None
    told = ", ".join(f"{NAMES[d]} is at the place of {NAMES[order[d]]}" for d in moved)
    return Correction(
        DIMENSIONS,
        f"dimensions of the action are out of order ({told})",
        "order the action as translation, rotation, gripper in the policy's postprocessing",
        lambda given: given[..., order],
        dimensions=moved,
    )


def _timing(length: int, known: int) -> list[Correction]:
    found: list[Correction] = []
    if known:
        return found
    if length > 1:
        found.append(
            Correction(
                TIMING,
                "chunks run backwards",
                "return the first action of a chunk first",
                lambda given: given[:, ::-1],
            )
        )
    for steps in range(1, MARGIN + 1):
        late = f"chunks lack their first {steps} action{'s' * (steps > 1)}"
        early = f"chunks begin with the {steps} action{'s' * (steps > 1)} before the observation"
        ways = {
            steps: (late, "return the chunk from its first action on"),
            -steps: (early, "leave out past actions, and show the policy the newest observation"),
        }
        for shift, (name, advice) in ways.items():
            found.append(Correction(TIMING, name, advice, np.copy, shift=shift))
    return found
