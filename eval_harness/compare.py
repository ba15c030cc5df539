"""Two evaluations side by side: the difference in success on the episodes that they share."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from common.errors import DlrError
from eval_harness.results import EpisodeResult, Results, planned
from eval_harness.statistics import Difference, McNemar, mcnemar_test, paired_bootstrap
from eval_harness.stopped import load_counted

Key = tuple[str, int]
"""Task and episode."""
START_TOLERANCE = 1e-6
"""Largest difference between the first states of two episodes of the same start, m and rad."""


class ComparisonError(DlrError, ValueError):
    """Two evaluations differ in more than the policy, or have no episode in common."""


@dataclass(frozen=True)
class Contrast:
    """Both policies on the episodes of one task, of a suite, or of all tasks."""

    name: str
    """Key of the task, name of the suite, or `all`."""
    planned: int
    """Episodes that both evaluations have in their plan."""
    pairs: int
    """Those that ended in both without an error."""
    successes_a: int
    """Successes of A among the pairs."""
    successes_b: int
    """Successes of B among the pairs."""
    test: McNemar | None
    """McNemar's exact test; None unless every planned episode is a pair."""
    difference: Difference | None
    """B's success rate less A's, with its bootstrap interval; None as `test` is."""

    @property
    def of_task(self) -> bool:
        """Whether it is of a single task."""
        return "/" in self.name

    @property
    def complete(self) -> bool:
        """Whether every planned episode is a pair; the difference would mislead otherwise."""
        return self.pairs == self.planned

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        return asdict(self)


@dataclass(frozen=True)
class Comparison:
    """Evaluation B compared with evaluation A."""

    a: Results
    """The evaluation that is compared with."""
    b: Results
    """The evaluation in question."""
    warnings: tuple[str, ...]
    """In what they differ beside the policy; empty unless that was allowed."""
    notes: tuple[str, ...]
    """What was left out of the comparison."""
    all: Contrast
    """All shared tasks together."""
    suites: tuple[Contrast, ...]
    """Each suite's shared tasks together."""
    tasks: tuple[Contrast, ...]
    """Each shared task."""
    confidence: float
    """Coverage of the intervals."""

    @property
    def contrasts(self) -> tuple[Contrast, ...]:
        """All of them: in all, where there are several suites; each suite, and then its tasks."""
        found = [self.all] if len(self.suites) > 1 else []
        for suite in self.suites:
            tasks = (task for task in self.tasks if task.name.startswith(f"{suite.name}/"))
            found += [suite, *tasks]
        return tuple(found)

    @cached_property
    def discordant(self) -> list[tuple[EpisodeResult, EpisodeResult]]:
        """The pairs of which just one succeeds: (A's, B's), in the order of A's plan."""
        pairs = _pairs(self.a, self.b, shared_plan(self.a, self.b))
        return [(x, y) for x, y in pairs.values() if x.success != y.success]

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        return {
            "a": {"folder": str(self.a.folder), "policy": self.a.config["policy"]},
            "b": {"folder": str(self.b.folder), "policy": self.b.config["policy"]},
            "warnings": list(self.warnings),
            "notes": list(self.notes),
            "confidence": self.confidence,
            "all": self.all.as_dict(),
            "suites": {contrast.name: contrast.as_dict() for contrast in self.suites},
            "tasks": {contrast.name: contrast.as_dict() for contrast in self.tasks},
        }


def compare_folders(
    a: Path,
    b: Path,
    allow_different: bool = False,
    resample_tasks: bool = False,
    confidence: float = 0.95,
) -> Comparison:
    """Compare the evaluation in folder `b` with that in folder `a`; see `compare`.

    Print the outcome with `tables.print_comparison` and keep its `as_dict()` as JSON;
    `report.write_report(b, baseline=a)` makes a page of it.

    Raises:
        ResultsError: a folder is missing or damaged.
        ComparisonError: they cannot be compared.
    """
    (first, stop_a), (second, stop_b) = load_counted(a), load_counted(b)
    found = compare(first, second, allow_different, resample_tasks, confidence)
    stopped = tuple(
        f"{name} stopped early, by a rule that looked at its successes; its first {stop.rounds} "
        "episodes of each task are compared, and p and intervals do not allow for the rule."
        for name, stop in (("A", stop_a), ("B", stop_b))
        if stop is not None
    )
    return dataclasses.replace(found, notes=found.notes + stopped)


def compare(
    a: Results,
    b: Results,
    allow_different: bool = False,
    resample_tasks: bool = False,
    confidence: float = 0.95,
) -> Comparison:
    """Compare two evaluations on the episodes that both have planned.

    A pair is an episode of a task that starts from the same init state in both. Where a planned
    episode has not ended, or is an error, in either, there is no difference to report: those that
    have ended are not a fair sample, since successes end sooner.

    Args:
        a: the evaluation to compare with.
        b: the evaluation in question.
        allow_different: compare although protocol, assets, simulator, seed or starts differ; what
            differs is then a warning of the outcome.
        resample_tasks: let the intervals of suites say what other tasks would give, too.
        confidence: coverage of the intervals.

    Raises:
        ComparisonError: they share no episode, or differ in more than the policy.
    """
    keys = shared_plan(a, b)
    if not keys:
        raise ComparisonError(
            f"{a.folder} and {b.folder} have no episode in common: evaluate the same tasks"
        )
    warnings = find_mismatches(a, b)
    if warnings and not allow_different:
        raise ComparisonError(
            f"{a.folder} and {b.folder} differ in more than the policy: {'; '.join(warnings)}. "
            "Run one of them again as the other, or allow it to be compared all the same, with "
            "a warning (--allow-different)."
        )
    pairs = _pairs(a, b, keys)

    def contrast(name: str, chosen: Sequence[Key], draw_tasks: bool = False) -> Contrast:
        return _contrast(name, chosen, pairs, draw_tasks, confidence)

    tasks = list(dict.fromkeys(task for task, _ in keys))
    suites = list(dict.fromkeys(task.split("/")[0] for task in tasks))
    return Comparison(
        a,
        b,
        tuple(warnings),
        tuple(_left_out(a, b, keys)),
        contrast("all", keys, resample_tasks),
        tuple(
            contrast(s, [k for k in keys if k[0].startswith(f"{s}/")], resample_tasks)
            for s in suites
        ),
        tuple(contrast(task, [k for k in keys if k[0] == task]) for task in tasks),
        confidence,
    )


def shared_plan(a: Results, b: Results) -> list[Key]:
    """Return (task, episode) of the episodes that both have planned, in the order of A's plan."""
    others = set(planned(b.config["plan"]))
    return [key for key in planned(a.config["plan"]) if key in others]


def find_mismatches(a: Results, b: Results) -> list[str]:
    """Return what makes shared episodes of two evaluations different ones, a phrase each."""
    found = []
    if a.config["protocol_digest"] != b.config["protocol_digest"]:
        found.append(f"protocol ({_protocol_difference(a.config, b.config)})")
    first, second = a.config["assets"], b.config["assets"]
    if first["digest"] != second["digest"]:
        names = (f"{pack['name']} {pack['digest'][:12]}" for pack in (first, second))
        found.append(f"asset pack ({' and '.join(names)})")
    known = [pack.get("definitions", {}) for pack in (first, second)]
    if other := [task for task in known[0] if known[1].get(task, known[0][task]) != known[0][task]]:
        found.append(f"definitions of a published suite ({len(other)}, such as {other[0]})")
    for package, version in a.config["simulator"].items():
        if version != (other := b.config["simulator"].get(package)):
            found.append(f"version of {package} ({version} and {other})")
    if a.config["seed"] != b.config["seed"]:
        seeds = f"{a.config['seed']} and {b.config['seed']}"
        found.append(f"evaluation seed ({seeds}), which draws where the fixtures stand")
    others = [x for x, y in _pairs(a, b, shared_plan(a, b)).values() if not _same_start(a, b, x, y)]
    if others:
        example = f"episode {others[0].episode} of {others[0].task}"
        found.append(f"init states ({len(others)} episodes start elsewhere, such as {example})")
    return found


def _pairs(
    a: Results, b: Results, keys: Sequence[Key]
) -> dict[Key, tuple[EpisodeResult, EpisodeResult]]:
    """Return the episodes that ended in both without an error."""
    ended = [{r.key: r for r in results.episodes if r.error is None} for results in (a, b)]
    return {
        key: (ended[0][key], ended[1][key]) for key in keys if key in ended[0] and key in ended[1]
    }


def _contrast(
    name: str,
    keys: Sequence[Key],
    pairs: Mapping[Key, tuple[EpisodeResult, EpisodeResult]],
    resample_tasks: bool,
    confidence: float,
) -> Contrast:
    """Return the contrast of the planned episodes `keys`."""
    found = [pairs[key] for key in keys if key in pairs]
    outcomes = np.array([(x.success, y.success) for x, y in found], dtype=bool).reshape(-1, 2)
    successes_a, successes_b = map(int, outcomes.sum(axis=0))
    test = difference = None
    if len(found) == len(keys):
        test = mcnemar_test(outcomes[:, 0], outcomes[:, 1])
        of_task = np.array([task for task, _ in keys])
        grouped = [outcomes[of_task == task] for task in dict.fromkeys(of_task)]
        difference = paired_bootstrap(
            [group[:, 0] for group in grouped],
            [group[:, 1] for group in grouped],
            confidence,
            resample_tasks=resample_tasks,
        )
    return Contrast(name, len(keys), len(found), successes_a, successes_b, test, difference)


def _left_out(a: Results, b: Results, keys: Sequence[Key]) -> list[str]:
    """Return sentences on the episodes that only one evaluation has planned."""
    notes = []
    for name, results in (("A", a), ("B", b)):
        plan = planned(results.config["plan"])
        if len(plan) > len(keys):
            notes.append(
                f"{len(plan) - len(keys)} of {name}'s {len(plan)} planned episodes are not in the "
                "other's plan and are left out."
            )
    return notes


def _same_start(a: Results, b: Results, x: EpisodeResult, y: EpisodeResult) -> bool:
    """Return whether two episodes start alike; those of no official init state show it."""
    if x.init_index != y.init_index:
        return False
    if x.init_index >= 0:
        return True
    first, second = a.trajectory(x), b.trajectory(y)
    return first.states.shape[1:] == second.states.shape[1:] and all(
        np.allclose(one, other, rtol=0, atol=START_TOLERANCE)
        for one, other in (
            (first.states[0], second.states[0]),
            (first.fixtures.positions, second.fixtures.positions),
            (first.fixtures.quaternions, second.fixtures.quaternions),
        )
    )


def _protocol_difference(a: Mapping[str, Any], b: Mapping[str, Any]) -> str:
    """Return both protocols' names and in which fields they differ."""
    first, second = a["protocol"], b["protocol"]
    fields = sorted(
        key
        for key in first.keys() | second.keys()
        if key not in ("name", "source") and first.get(key) != second.get(key)
    )
    names = f"{first['name']} and {second['name']}"
    return f"{names}: {', '.join(fields)}" if fields else names
