"""Which of two policies is better: both run by turns on the same episodes until that is decided.

decision.json           what was asked, and where it stands
baseline/, evaluated/   results folders of the two; where one has been evaluated already, its own
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from common.errors import SettingError
from common.json_files import build, read_sealed, write_sealed
from common.locks import lock_folder
from eval_harness.compare import ComparisonError, find_mismatches
from eval_harness.results import Results, ResultsError, load_results
from eval_harness.sequential.rules import DecisionRule, Stop, Verdict, find_verdict
from eval_harness.sequential.sequences import confidence_sequence
from eval_harness.sequential.stopped import table_of, write_stop

DECISION = "decision.json"
"""File that says what two policies were compared for, and where that stands."""
BASELINE, EVALUATED = "baseline", "evaluated"
FORMAT_VERSION = 1


@dataclass(frozen=True)
class Side:
    """One of the two: results that are there, or a policy whose episodes are run."""

    folder: Path
    """Its results folder."""
    run: Callable[[Path, int], Results] | None = None
    """Runs the first so many episodes of each task into the folder; None for what is there."""

    def results(self, rounds: int) -> Results:
        """Return its results, once the first `rounds` episodes of each task have run."""
        return load_results(self.folder) if self.run is None else self.run(self.folder, rounds)


@dataclass(frozen=True)
class Decided:
    """A comparison, and what it took."""

    rule: DecisionRule
    """What was asked."""
    verdict: Verdict
    """Where it stands."""
    baseline: Results
    """The baseline."""
    evaluated: Results
    """The evaluated policy."""
    planned: int
    """Rollouts of the design that is not sequential: all episodes of all sides that are run."""
    ran: int
    """Rollouts of these that ended without an error."""

    @property
    def is_final(self) -> bool:
        """Whether it is decided, or every planned episode has been looked at."""
        whole = self.verdict.rounds == _episodes(self.baseline, self.evaluated)
        return self.verdict.outcome != "undecided" or whole

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        sides = {BASELINE: self.baseline, EVALUATED: self.evaluated}
        return {
            "format_version": FORMAT_VERSION,
            "rule": asdict(self.rule),
            "verdict": asdict(self.verdict),
            "planned": self.planned,
            "ran": self.ran,
            "folders": {name: str(side.folder) for name, side in sides.items()},
        }


def decide(
    baseline: Side, evaluated: Side, rule: DecisionRule, out: Path, block: int = 1
) -> Decided:
    """Run both by turns, a block of episodes of each task at a time, until it is decided.

    The episodes are looked at in the order of the plan, one of every task at a time, so that the
    decision depends on outcomes alone; what a block has run beyond it is kept without being
    counted. The same call goes on where it was killed.

    Args:
        baseline: the one to compare with.
        evaluated: the one in question.
        rule: when to stop.
        out: folder for `decision.json`.
        block: episodes of each task that are run between two looks; changes no decision.

    Raises:
        ComparisonError: the two differ in more than the policy, or have other tasks.
        SettingError: the block is none.
        BusyError: another process decides here.
    """
    if block < 1:
        raise SettingError(f"a block has 1 episode or more of each task, not {block}")
    with lock_folder(out):
        rounds = block
        while True:
            first, second = baseline.results(rounds), evaluated.results(rounds)
            if rounds == block:
                _check(first, second)
            found = _look(baseline, evaluated, first, second, rule)
            write_sealed(out / DECISION, found.as_dict())
            reached = found.verdict.rounds >= min(rounds, _episodes(first, second))
            if found.is_final or not reached:
                _note_stops(baseline, evaluated, found)
                return found
            rounds += block


def _check(first: Results, second: Results) -> None:
    """Raise ComparisonError where two evaluations differ in more than the policy."""
    if first.config["plan"]["tasks"] != second.config["plan"]["tasks"]:
        raise ComparisonError(f"{first.folder} and {second.folder} are of other tasks")
    if found := find_mismatches(first, second):
        raise ComparisonError(
            f"{first.folder} and {second.folder} differ in more than the policy: {'; '.join(found)}"
        )


def _look(
    baseline: Side, evaluated: Side, first: Results, second: Results, rule: DecisionRule
) -> Decided:
    """Return where the comparison of what has run stands."""
    verdict = find_verdict(
        table_of(first.config["plan"], first.episodes),
        table_of(second.config["plan"], second.episodes),
        rule,
    )
    run = [one for one, side in ((first, baseline), (second, evaluated)) if side.run is not None]
    planned = len(run) * len(first.config["plan"]["tasks"]) * _episodes(first, second)
    ran = sum(result.error is None for one in run for result in one.episodes)
    return Decided(rule, verdict, first, second, planned, ran)


def _episodes(first: Results, second: Results) -> int:
    """Return how many episodes of each task both have planned."""
    return int(min(one.config["plan"]["episodes"] for one in (first, second)))


def _note_stops(baseline: Side, evaluated: Side, found: Decided) -> None:
    """Note in the folders of what was run that only the episodes up to the decision count."""
    rounds, both = found.verdict.rounds, (found.baseline, found.evaluated)
    for side, results in zip((baseline, evaluated), both, strict=True):
        if side.run is None:
            continue
        stop = None
        if found.verdict.outcome != "undecided" and rounds < results.config["plan"]["episodes"]:
            counted = [r for r in results.episodes if r.episode < rounds and r.error is None]
            successes, n = sum(r.success for r in counted), found.verdict.n
            ends = confidence_sequence(successes, n, found.rule.confidence)
            stop = Stop(rounds, "decided", successes, n, *ends)
        write_stop(side.folder, found.rule, stop)


def is_decision(folder: Path) -> bool:
    """Return whether a folder holds a sequential comparison."""
    return (folder / DECISION).exists()


def load_decision(folder: Path) -> dict[str, Any]:
    """Return what `decision.json` holds, as `Decided.as_dict` gives it, with both dataclasses made.

    Raises:
        ResultsError: it is missing or damaged.
    """
    path, remedy = folder / DECISION, "run `dlr eval decide` again with this --out"
    content = read_sealed(path, "a comparison that may stop early", ResultsError, remedy)
    try:
        made = {
            "rule": build(DecisionRule, content["rule"]),
            "verdict": build(Verdict, content["verdict"]),
        }
        counts = {name: int(content[name]) for name in ("planned", "ran")}
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ResultsError(f"{path} is damaged ({error!r}): {remedy}") from error
    return {**content, **made, **counts}


def decision_text(rule: DecisionRule, verdict: Verdict, planned: int, ran: int) -> str:
    """Return what a comparison came to and what it took, in a few sentences.

    Args:
        rule: what was asked.
        verdict: where it stands.
        planned: rollouts of the design that is not sequential.
        ran: rollouts that ended without an error.
    """
    margin = f" by more than {100 * (rule.margin or 0):.3g} points"
    words = {
        "evaluated better": "The evaluated policy is better than the baseline.",
        "baseline better": "The baseline is better than the evaluated policy.",
        "no difference": f"The two do not differ{margin}.",
        "undecided": "Undecided.",
    }
    ends = f"{100 * verdict.low:+.1f} to {100 * verdict.high:+.1f}"
    text = (
        f"{words[verdict.outcome]} Evaluated less baseline: {100 * verdict.difference:+.1f} points "
        f"({ends}, a {rule.confidence:.0%} interval that holds at every look), after "
        f"{verdict.rounds} episode(s) of each task. Only the evaluated succeeds at "
        f"{verdict.only_evaluated} of {verdict.n} pairs, only the baseline at "
        f"{verdict.only_baseline}. {ran} of {planned} planned rollouts were run"
    )
    if verdict.outcome == "undecided":
        return f"{text}."
    return f"{text}, and {planned - ran} were saved."
