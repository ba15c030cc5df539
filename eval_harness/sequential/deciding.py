"""Which of two policies is better: both run by turns on the same episodes until that is decided.

decision.json           what was asked, and where it stands
baseline/, evaluated/   results folders of the two; where one has been evaluated already, its own
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from common.errors import SettingError
from common.json_files import build, read_sealed, write_sealed
from common.locks import lock_folder
from eval_harness.compare import ComparisonError, find_mismatches
from eval_harness.evaluation import is_complete
from eval_harness.merging import merge, whole_folder
from eval_harness.results import (
    CONFIG,
    Results,
    ResultsError,
    check_same,
    load_results,
)
from eval_harness.seeds import count_starts
from eval_harness.sequential.rules import DecisionRule, Stop, Verdict, find_verdict
from eval_harness.sequential.sequences import confidence_sequence
from eval_harness.sequential.stopped import table_of, write_stop

DECISION = "decision.json"
"""File that says what two policies were compared for, and where that stands."""
BASELINE, EVALUATED = "baseline", "evaluated"
FORMAT_VERSION = 2
"""Since 2 folders are relative to the decision's own, or absolute; before they were as typed."""


@dataclass(frozen=True)
class Side:
    """One of the two: results that are there, or a policy whose episodes are run."""

    folder: Path
    """Its results folder."""
    run: Callable[[Path, int], Results] | None = None
    """Runs the first so many episodes of each task, or a shard's share of them, into the folder;
    None for what is there."""
    beside: tuple[Path, ...] = ()
    """Results folders of the other shards, which are looked at, too, as far as they are there."""

    def results(self, rounds: int) -> Results:
        """Return its results, once the first `rounds` episodes of each task have run."""
        return load_results(self.folder) if self.run is None else self.run(self.folder, rounds)

    def together(self, own: Results, rule: DecisionRule) -> Results:
        """Return its results with what the other shards have run by now.

        Raises:
            ResultsError: a folder of theirs is of another evaluation, or of another rule.
        """
        found = {result.key: result for result in own.episodes if result.error is None}
        for folder in self.beside:
            if is_decision(folder.parent) and load_decision(folder.parent)["rule"] != rule:
                raise ResultsError(
                    f"{folder.parent} is to decide by another rule: give all shards one; if its "
                    f"{DECISION} is of an earlier run, delete that file"
                )
            if (folder / CONFIG).exists():
                other = load_results(folder)
                check_same(own.config, other.config, folder)
                for result in other.episodes:
                    if result.error is None:
                        found.setdefault(result.key, result)
        errors = [result for result in own.episodes if result.key not in found]
        return replace(own, episodes=[*found.values(), *errors])


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
    """Rollouts of these that ended without an error, those of other shards that it saw included."""

    @property
    def is_final(self) -> bool:
        """Whether it is decided, or every planned episode has been looked at."""
        whole = self.verdict.rounds == _episodes(self.baseline, self.evaluated)
        return self.verdict.outcome != "undecided" or whole

    @property
    def share_ended(self) -> bool:
        """Whether nothing is left to run here: it is final, or a shard's share has ended."""
        rounds = _episodes(self.baseline, self.evaluated)
        return self.is_final or all(
            is_complete(one, rounds) for one in (self.baseline, self.evaluated)
        )

    def as_dict(self, out: Path) -> dict[str, Any]:
        """Return plain data for JSON in folder `out`, which says where both results are."""
        sides = {BASELINE: self.baseline, EVALUATED: self.evaluated}
        return {
            "format_version": FORMAT_VERSION,
            "rule": asdict(self.rule),
            "verdict": asdict(self.verdict),
            "planned": self.planned,
            "ran": self.ran,
            "folders": {name: _place(side.folder, out) for name, side in sides.items()},
        }


def decide(
    baseline: Side, evaluated: Side, rule: DecisionRule, out: Path, block: int = 1
) -> Decided:
    """Run both by turns, a block of episodes of each task at a time, until it is decided.

    The episodes are looked at in the order of the plan, one of every task at a time, so that the
    decision depends on outcomes alone; what a block has run beyond it is kept without being
    counted. The same call goes on where it was killed.

    A shard looks at what it sees of the others, too, and stops where all together do; one that
    sees none runs its share, and `merge_decisions` finds the same decision.

    Args:
        baseline: the one to compare with.
        evaluated: the one in question.
        rule: when to stop.
        out: folder for `decision.json`.
        block: episodes of each task that are run between two looks; changes no decision.

    Raises:
        ComparisonError: the two differ in more than the policy, have other tasks, or one is of
            several seeds, or has starts that come again.
        ResultsError: another shard has another rule, or is of another evaluation.
        SettingError: the block is none.
        BusyError: another process decides here.
    """
    if block < 1:
        raise SettingError(f"a block has 1 episode or more of each task, not {block}")
    with lock_folder(out):
        rounds = block
        while True:
            own = baseline.results(rounds), evaluated.results(rounds)
            if rounds == block:
                _check(*own)
            found = _look(baseline, evaluated, own, rule)
            write_sealed(out / DECISION, found.as_dict(out))
            planned = _episodes(*own)
            stuck = not all(is_complete(one, min(rounds, planned)) for one in own)
            if found.is_final or stuck or rounds >= planned:
                _note_stops(baseline, evaluated, found)
                return found
            rounds += block


def merge_decisions(folders: Sequence[Path], out: Path) -> Decided:
    """Put the shards of a decision together, both policies' results included, into a new folder.

    The folder is there whole or not at all. Results that the shards did not run stay where they
    are.

    Raises:
        ResultsError: they are shards of several decisions, or one is damaged.
        OutputError: the folder cannot be written, or holds something already.
        BusyError: another process writes it.
    """
    shards = [load_decision(folder) for folder in folders]
    for folder, shard in zip(folders, shards, strict=True):
        if shard["rule"] != shards[0]["rule"]:
            raise ResultsError(
                f"{folder} and {folders[0]} are to decide by other rules: run both with one"
            )
    there = {
        name: _find_shared(name, folders, [shard["folders"][name] for shard in shards])
        for name in (BASELINE, EVALUATED)
    }
    with whole_folder(out) as new:

        def side(name: str) -> Side:
            if (shared := there[name]) is not None:
                return Side(shared)
            merge([folder / name for folder in folders], new / name)
            return Side(new / name, lambda folder, rounds: load_results(folder))

        sides = side(BASELINE), side(EVALUATED)
        every = _episodes(*(load_results(one.folder) for one in sides))
        decide(*sides, shards[0]["rule"], new, every)
    return load_decided(out)


def _find_shared(name: str, shards: Sequence[Path], places: Sequence[Path]) -> Path | None:
    """Return where one side's results are that no shard ran; None where each ran its share.

    Args:
        name: which side.
        shards: folders of the shards.
        places: where each shard's decision says that the side's results are.

    Raises:
        ResultsError: the shards have not the same, or it is not there.
    """
    found = [place.resolve() for place in places]
    if found == [(shard / name).resolve() for shard in shards]:
        return None
    remedy = "run `dlr eval decide` of each shard again, with its --out and"
    for shard, place in zip(shards, found, strict=True):
        if place != found[0]:
            raise ResultsError(
                f"{shards[0]} has {found[0]} as its {name}, and {shard} has {place}: {remedy} one "
                f"{name} for all"
            )
    if not (found[0] / CONFIG).exists():
        raise ResultsError(
            f"{found[0]}, the {name} of {shards[0]}, is not there: put it back, or {remedy} where "
            "it is now"
        )
    return places[0]


def _check(first: Results, second: Results) -> None:
    """Raise ComparisonError where two evaluations differ in more than the policy, or repeat starts.

    Episodes of one start, of several seeds or of one, are no independent pairs, as which the
    interval would count them.
    """
    for one in (first, second):
        if isinstance(one.config["seed"], list):
            raise ComparisonError(
                f"{one.folder} holds merged seeds: decide one seed's results; compare merged seeds "
                "with `dlr eval compare`"
            )
        looked_at = [r for r in one.episodes if r.episode < _episodes(first, second)]
        if (starts := count_starts(one.config, looked_at)) is not None:
            raise ComparisonError(
                f"{len(looked_at)} episodes of {one.folder} begin at {starts} starts, and a "
                "decision takes each for a start of its own: compare them with `dlr eval compare`, "
                "or run one of the two again with fewer --episodes"
            )
    if first.config["plan"]["tasks"] != second.config["plan"]["tasks"]:
        raise ComparisonError(f"{first.folder} and {second.folder} are of other tasks")
    if found := find_mismatches(first, second):
        raise ComparisonError(
            f"{first.folder} and {second.folder} differ in more than the policy: {'; '.join(found)}"
        )


def _look(
    baseline: Side, evaluated: Side, own: tuple[Results, Results], rule: DecisionRule
) -> Decided:
    """Return where the comparison of what has run stands."""
    first, second = baseline.together(own[0], rule), evaluated.together(own[1], rule)
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
    """Return what `decision.json` holds, as `Decided.as_dict` gives it.

    Both dataclasses are made, and the folders are paths from here.

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
        typed, places = content["format_version"] < 2, content["folders"]
        folders = {
            name: _find(folder, name, Path(places[name]), typed) for name in (BASELINE, EVALUATED)
        }
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ResultsError(f"{path} is damaged ({error!r}): {remedy}") from error
    return {**content, **made, **counts, "folders": folders}


def load_decided(folder: Path) -> Decided:
    """Return a comparison as `decide` left it, without what other shards ran.

    Raises:
        ResultsError: it, or the results of one of the two, is missing or damaged.
    """
    found = load_decision(folder)
    first, second = (load_results(found["folders"][name]) for name in (BASELINE, EVALUATED))
    return Decided(found["rule"], found["verdict"], first, second, found["planned"], found["ran"])


def _place(folder: Path, out: Path) -> str:
    """Return where results are: from `out` if they are in it, so that both may be moved."""
    folder, out = folder.resolve(), out.resolve()
    return str(folder.relative_to(out) if folder.is_relative_to(out) else folder)


def _find(decision: Path, name: str, place: Path, typed: bool) -> Path:
    """Return where one side's results are, of a place that `_place` gave or that was typed.

    A typed place of the side's own name is taken for what was run into the decision's folder.
    """
    if not typed:
        return decision / place
    own = decision / name
    return own if place.name == name and (own / CONFIG).exists() else place


def decision_text(rule: DecisionRule, verdict: Verdict, planned: int, ran: int) -> str:
    """Return what a comparison came to and what it took, in a few sentences.

    Args:
        rule: what was asked.
        verdict: where it stands.
        planned: rollouts of the design that is not sequential; 0 where nothing was to be run.
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
        f"({ends}, a {100 * rule.confidence:.3g}% interval that holds at every look), after "
        f"{verdict.rounds} episode(s) of each task. Only the evaluated succeeds at "
        f"{verdict.only_evaluated} of {verdict.n} pairs, only the baseline at "
        f"{verdict.only_baseline}."
    )
    if not planned:
        return f"{text} All results were there already: nothing was run."
    text = f"{text} {ran} of {planned} planned rollouts were run"
    if verdict.outcome == "undecided":
        return f"{text}."
    return f"{text}, and {planned - ran} were saved."
