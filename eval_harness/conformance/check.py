"""Conformance of a policy: its actions at frames of demonstrations beside the recorded ones.

A fault in what a policy is given, or in how its actions are read, makes it disagree with
demonstrations, and undoing the fault makes it agree. So the policy is asked at the frames as the
protocol gives them, and again at frames changed by each known fault; its actions are compared as
they are, and corrected for each known fault. What makes it agree significantly better is named.
"""

from __future__ import annotations

import contextlib
import functools
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from common.errors import SettingError
from eval_harness.conformance import inputs, outputs
from eval_harness.conformance.frames import Actions, Change, Frame, ask, collect_frames
from eval_harness.conformance.inputs import Hypothesis, hypotheses
from eval_harness.conformance.outputs import (
    Correction,
    Errors,
    corrections,
    per_frame,
    significance,
)
from eval_harness.policies.replay import RecordedActions
from eval_harness.policy import Policy, PolicyError
from eval_harness.protocols import Protocol
from simulation.assets.resolve import AssetPack
from simulation.tasks import get_task

Status = Literal["OK", "FAULT", "UNSURE"]
AGREEMENT = "agreement"
_ROUNDS = 4
"""Faults that are looked for, one after the other."""
_LEAST_GAIN = 0.2
"""Share of the error that undoing a fault must remove."""
_SCREEN = 4
"""Every fourth frame is asked first, and the others only if these make a fault likely."""
_LIKELY_GAIN = 0.05
"""Share of these frames' error whose removal makes it likely."""
_LEAST_AGREEMENT = 0.2
"""Agreement below which a policy does not know what it is shown."""
_LEAST_INFLUENCE = 0.01
"""Change of the actions with another input, relative to their spread, below which it is ignored."""
_P_VALUE = 1e-3


@dataclass(frozen=True)
class CheckConfig:
    """How much is looked at."""

    demonstrations: int = 8
    """Demonstrations that are replayed, of all tasks by turns."""
    frames: int = 64
    """Frames of all demonstrations together at which the policy is asked."""

    def __post_init__(self) -> None:
        """Check the numbers.

        Raises:
            SettingError: too few to tell anything.
        """
        if self.demonstrations < 2 or self.frames < 24:
            raise SettingError("a check needs at least 2 demonstrations and 24 frames")


@dataclass(frozen=True)
class Check:
    """One line of the outcome."""

    name: str
    """What was checked."""
    status: Status
    """FAULT where it is wrong, UNSURE where these demonstrations cannot tell."""
    detail: str
    """What was found."""
    advice: str = ""
    """What to do about it."""


@dataclass(frozen=True)
class Report:
    """What was found of a policy."""

    policy: Mapping[str, Any]
    """The policy's identity."""
    protocol: str
    """Name of the protocol."""
    protocol_digest: str
    """Digest of the protocol."""
    tasks: tuple[str, ...]
    """Keys of the tasks whose demonstrations were replayed."""
    frames: int
    """Frames at which the policy was asked."""
    agreement: float
    """1 - error / error of always giving the mean action, as given; 1 is perfect."""
    corrected: float
    """The same with all faults undone."""
    seconds: float
    """Time that it took."""
    checks: tuple[Check, ...] = field(default=())
    """All checks, agreement first."""

    @property
    def passed(self) -> bool:
        """Whether there is no fault and the policy agrees with the demonstrations."""
        return self.checks[0].status == "OK" and all(c.status != "FAULT" for c in self.checks)

    def as_dict(self) -> dict[str, Any]:
        """Return the report as JSON can hold it."""
        return {"passed": self.passed, **asdict(self)}


def check(
    policy: Policy,
    recordings: Mapping[str, Sequence[RecordedActions]],
    protocol: Protocol,
    assets: AssetPack,
    config: CheckConfig = CheckConfig(),
) -> Report:
    """Compare a policy's actions with demonstrations, and name the faults that explain the rest.

    Args:
        policy: the policy.
        recordings: task key -> demonstrations, of tasks that the policy knows.
        protocol: how observations are given.
        assets: asset pack that the demonstrations succeed with.
        config: how much is looked at.

    Raises:
        PolicyError: the policy gives no actions, whatever it is shown.
        SettingError: there are too few demonstrations.
    """
    begun = time.perf_counter()
    recordings = {task: found for task, found in recordings.items() if found}
    if sum(map(len, recordings.values())) < 2:
        raise SettingError("a check needs at least 2 demonstrations")
    needs = policy.requirements
    if not needs.cameras and not needs.state:
        raise SettingError("this policy looks at nothing, so there is nothing to check")
    frames = collect_frames(
        recordings, protocol, needs, config.demonstrations, config.frames, assets
    )
    known = hypotheses(needs, protocol) + inputs.scales(frames, needs)
    search = _Search(policy, frames, known)
    search.run()
    languages = [get_task(task).language for task in recordings]
    checks = (search.agreement_check(), *search.checks(), *_influence(search, languages))
    return Report(
        policy.identity(),
        protocol.name,
        protocol.digest(),
        tuple(recordings),
        len(frames),
        search.agreement_as_given,
        search.agreement(),
        time.perf_counter() - begun,
        checks,
    )


@dataclass(frozen=True, eq=False)
class _Candidate:
    """A fault that may be there, and the errors once it is undone."""

    fault: Hypothesis | Correction
    gain: float
    """Share of the whole error that goes."""
    agreement: float
    """Agreement afterwards."""
    accepted: bool
    """Whether it is significant and large."""


class _Search:
    """Undoes one fault after the other, the one that explains most first."""

    def __init__(self, policy: Policy, frames: Sequence[Frame], known: list[Hypothesis]) -> None:
        self.policy, self.frames = policy, frames
        self.found: list[_Candidate] = []
        self.failure: PolicyError | None = None
        self._known = known
        self._errors = Errors(np.stack([frame.actions for frame in frames]))
        self._constant = self._errors.constant()
        self._halves = np.array([frame.demonstration % 2 == 0 for frame in frames])
        self._changes: list[Change] = []
        self._corrections: list[Correction] = []
        self._actions = self._ask_as_given()
        self._rounds: list[list[_Candidate]] = []
        self.agreement_as_given = self.agreement()

    def run(self) -> None:
        """Look for faults until no further one explains enough.

        Raises:
            PolicyError: the policy fails whatever it is shown.
        """
        for _ in range(_ROUNDS):
            candidates = self._candidates()
            self._rounds.append(candidates)
            accepted = [c for c in candidates if c.accepted]
            if not accepted:
                break
            most = max(c.gain for c in accepted)
            self._accept(next(c for c in accepted if c.gain >= most - 0.01))
        if self._actions is None and self.failure is not None:
            raise self.failure

    def actions(self) -> Actions:
        """Return the policy's actions once the faults in what it is given are undone."""
        assert self._actions is not None, "run() raises where there are none"
        return self._actions

    def ask(self, change: Change, places: slice) -> Actions:
        """Return its actions at some of the frames, with one more change on top of these."""
        return ask(self.policy, self.frames[places], _composed([*self._changes, change]))

    def agreement(self) -> float:
        """Return the agreement with all faults undone that were found."""
        return self._agreement_of(self._error(self._actions))

    def agreement_check(self) -> Check:
        """Return whether the policy agrees with the demonstrations, once faults are undone."""
        found = f"{self.agreement():.2f} of the recorded actions' variance is explained"
        if self.found:
            found = f"{self.agreement_as_given:.2f} as given; without the faults " + found
        if self.agreement() >= _LEAST_AGREEMENT:
            return Check(AGREEMENT, "OK", found)
        return Check(
            AGREEMENT,
            "UNSURE",
            found + ", and no known fault accounts for it",
            "check with demonstrations, tasks and assets that the policy was trained on; if these "
            "are such, it has not learned them or is given something unknown",
        )

    def checks(self) -> list[Check]:
        """Return a line for each kind of fault."""
        kinds = dict.fromkeys(c.fault.check for c in self._rounds[-1])
        kinds |= dict.fromkeys(c.fault.check for c in self.found)
        return [self._line(kind) for kind in kinds]

    def _line(self, kind: str) -> Check:
        faults = [c for c in self.found if c.fault.check == kind]
        if faults:
            detail = "; ".join(
                f"{c.fault.name}: undoing it removes {c.gain:.0%} of the error" for c in faults
            )
            return Check(kind, "FAULT", detail, "; ".join({c.fault.advice: None for c in faults}))
        if self.agreement() < _LEAST_AGREEMENT:
            return Check(kind, "UNSURE", "cannot be told while the policy does not agree")
        others = [c for c in self._rounds[-1] if c.fault.check == kind]
        best = max(others, key=lambda c: c.agreement)
        if abs(best.gain) < 1e-9:
            return Check(kind, "OK", "no change makes a difference at these frames")
        given = f"agreement {self.agreement():.2f}"
        return Check(kind, "OK", f"{given}; at most {best.agreement:.2f} if {best.fault.name}")

    def _ask_as_given(self) -> Actions | None:
        try:
            return ask(self.policy, self.frames, _composed([]))
        except PolicyError as error:
            self.failure = error
            return None

    def _candidates(self) -> list[_Candidate]:
        """Return every further fault with what undoing it brings."""
        found: list[_Candidate] = []
        for hypothesis in self._known:
            with contextlib.suppress(PolicyError):  # such an observation is none of the policy's
                found.append(self._try(hypothesis))
        if self._actions is not None:
            corrected = self._corrected(self._actions)
            for correction in corrections(corrected, self._errors, self._halves):
                error = self._errors.of(correction.apply(corrected), correction.shift)
                found.append(self._judge(correction, error, correction.dimensions))
        return found

    def _try(self, hypothesis: Hypothesis) -> _Candidate:
        """Ask at few frames, and at the others only if undoing this fault helps there."""
        few = slice(None, None, _SCREEN)
        some = self.ask(hypothesis.change, few)
        actions = np.zeros((len(self.frames), *some.shape[1:]))
        actions[few] = some
        before, after = self._error(self._actions)[few], self._error(actions)[few]
        gain = significance(per_frame(before), per_frame(after))[0]
        if gain < _LIKELY_GAIN:
            return _Candidate(hypothesis, gain, 1 - (1 - self.agreement()) * (1 - gain), False)
        for first in range(1, _SCREEN):
            others = slice(first, None, _SCREEN)
            actions[others] = self.ask(hypothesis.change, others)
        return self._judge(hypothesis, self._error(actions))

    def _judge(
        self,
        fault: Hypothesis | Correction,
        after: npt.NDArray[np.float64],
        dimensions: Sequence[int] = range(7),
    ) -> _Candidate:
        before = self._error(self._actions)
        gain, p = significance(per_frame(before, dimensions), per_frame(after, dimensions))
        known = np.nanmean(after[..., list(dimensions)])
        limit = np.nanmean(self._constant[..., list(dimensions)])
        tests = len(self._known) + 14
        sound = known < (1 - _LEAST_AGREEMENT) * limit or (
            isinstance(fault, Correction) and fault.check == outputs.STATISTICS and known < limit
        )
        whole = significance(per_frame(before), per_frame(after))[0]
        return _Candidate(
            fault,
            whole,
            self._agreement_of(after),
            bool(gain >= _LEAST_GAIN and p < _P_VALUE / tests and sound),
        )

    def _accept(self, candidate: _Candidate) -> None:
        fault = candidate.fault
        self.found.append(candidate)
        if isinstance(fault, Hypothesis):
            self._changes.append(fault.change)
            self._actions = ask(self.policy, self.frames, _composed(self._changes))
        else:
            self._corrections.append(fault)
            self._errors.shift += fault.shift

    def _corrected(self, actions: Actions) -> Actions:
        return functools.reduce(lambda a, c: c.apply(a), self._corrections, actions)

    def _error(self, actions: Actions | None) -> npt.NDArray[np.float64]:
        """Return the errors of actions after the corrections; the largest where there are none."""
        if actions is None:
            return np.where(np.isfinite(self._constant), outputs.LARGEST_ERROR, np.nan)
        return self._errors.of(self._corrected(actions))

    def _agreement_of(self, error: npt.NDArray[np.float64]) -> float:
        return float(1 - np.nanmean(error) / np.nanmean(self._constant))


def _influence(search: _Search, languages: Sequence[str]) -> list[Check]:
    """Return whether each input matters to the policy's actions."""
    needs, frames = search.policy.requirements, search.frames
    checks = []
    for camera in needs.cameras:
        what = f"the picture of {camera}"
        checks.append(_matters(search, what, inputs.others_pictures(frames, camera)))
    for name in needs.state:
        checks.append(_matters(search, f"the state ({name})", inputs.others_state(frames, name)))
    several = list(dict.fromkeys(languages))
    if len(several) > 1:
        checks.append(_matters(search, "the instruction", inputs.other_instruction(several)))
    else:
        checks.append(
            Check("looks at the instruction", "UNSURE", "needs demonstrations of several tasks")
        )
    return checks


def _matters(search: _Search, what: str, change: Change) -> Check:
    name = f"looks at {what}"
    usual = search.actions()
    spread = np.abs(usual - usual.mean(axis=0)).mean()
    try:
        few = slice(None, None, _SCREEN)
        changed = np.abs(search.ask(change, few) - usual[few])
        influence = float(changed.mean() / max(spread, 1e-12))
    except PolicyError as error:
        return Check(name, "UNSURE", str(error))
    if influence >= _LEAST_INFLUENCE:
        return Check(
            name, "OK", f"another one changes the actions by {influence:.0%} of their spread"
        )
    return Check(
        name,
        "FAULT",
        f"{what} makes no difference: another one changes the actions by {influence:.1%} of their "
        "spread",
        "see that it reaches the network under the name that the policy was trained with",
    )


def _composed(changes: Sequence[Change]) -> Change:
    return lambda o: functools.reduce(lambda seen, change: change(seen), changes, o)
