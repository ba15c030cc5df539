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
from eval_harness.seeds import compare_pairs, count_starts, episodes_a_seed, starts_text
from eval_harness.sequential.stopped import load_counted
from eval_harness.statistics import Difference, McNemar

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
    baseline_successes: int
    """Successes of the baseline among the pairs."""
    evaluated_successes: int
    """Successes of the evaluated policy among the pairs."""
    test: McNemar | None
    """McNemar's exact test, with p of starts where they come again; None unless every planned
    episode is a pair."""
    difference: Difference | None
    """The evaluated policy's success rate less the baseline's, with its bootstrap interval; None as
    `test` is."""

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
    """An evaluation compared with another, its baseline."""

    baseline: Results
    """The evaluation that is compared with."""
    evaluated: Results
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
        """The pairs of which just one succeeds: (baseline's, evaluated's), in the plan's order."""
        keys = shared_plan(self.baseline, self.evaluated)
        pairs = _pairs(self.baseline, self.evaluated, keys)
        return [(x, y) for x, y in pairs.values() if x.success != y.success]

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        return {
            "baseline": _described(self.baseline),
            "evaluated": _described(self.evaluated),
            "warnings": list(self.warnings),
            "notes": list(self.notes),
            "confidence": self.confidence,
            "all": self.all.as_dict(),
            "suites": {contrast.name: contrast.as_dict() for contrast in self.suites},
            "tasks": {contrast.name: contrast.as_dict() for contrast in self.tasks},
        }


def compare_folders(
    baseline: Path,
    evaluated: Path,
    allow_different: bool = False,
    resample_tasks: bool = False,
    confidence: float = 0.95,
) -> Comparison:
    """Compare the evaluation in folder `evaluated` with that in `baseline`; see `compare`.

    Print the outcome with `tables.print_comparison` and keep its `as_dict()` as JSON;
    `report.write_report(evaluated, baseline)` makes a page of it.

    Raises:
        ResultsError: a folder is missing or damaged.
        ComparisonError: they cannot be compared.
    """
    (first, stop_a), (second, stop_b) = load_counted(baseline), load_counted(evaluated)
    found = compare(first, second, allow_different, resample_tasks, confidence)
    stopped = tuple(
        f"The {name} stopped early, by a rule that looked at its successes; its first "
        f"{stop.rounds} episodes of each task are compared, and p and intervals do not allow for "
        "the rule."
        for name, stop in (("baseline", stop_a), ("evaluated policy", stop_b))
        if stop is not None
    )
    return dataclasses.replace(found, notes=found.notes + stopped)


def compare(
    baseline: Results,
    evaluated: Results,
    allow_different: bool = False,
    resample_tasks: bool = False,
    confidence: float = 0.95,
) -> Comparison:
    """Compare two evaluations on the episodes that both have planned.

    A pair is an episode of a task that starts from the same init state in both. Where a planned
    episode has not ended, or is an error, in either, there is no difference to report: those that
    have ended are not a fair sample, since successes end sooner.

    Args:
        baseline: the evaluation to compare with.
        evaluated: the evaluation in question.
        allow_different: compare although protocol, assets, simulator, seed or starts differ; what
            differs is then a warning of the outcome.
        resample_tasks: let the intervals of suites say what other tasks would give, too.
        confidence: coverage of the intervals.

    Raises:
        ComparisonError: they share no episode, or differ in more than the policy.
    """
    a, b = baseline, evaluated
    keys = shared_plan(a, b)
    if not keys:
        raise ComparisonError(
            f"{a.folder} and {b.folder} have no episode in common: evaluate the same tasks"
        )
    warnings = find_mismatches(a, b)
    layouts = [_layout(results.config) for results in (a, b)]
    if layouts[0] != layouts[1]:
        raise ComparisonError(
            f"{a.folder} and {b.folder} are of {' and '.join(layouts)}: of merged seeds, as many "
            "are compared, of as many episodes"
        )
    if warnings and not allow_different:
        raise ComparisonError(
            f"{a.folder} and {b.folder} differ in more than the policy: {'; '.join(warnings)}. "
            "Run one of them again as the other, or allow it to be compared all the same, with "
            "a warning (--allow-different)."
        )
    pairs = _pairs(a, b, keys)

    each = episodes_a_seed(baseline.config)

    def contrast(name: str, chosen: Sequence[Key], draw_tasks: bool = False) -> Contrast:
        return _contrast(name, chosen, pairs, draw_tasks, confidence, each)

    tasks = list(dict.fromkeys(task for task, _ in keys))
    suites = list(dict.fromkeys(task.split("/")[0] for task in tasks))
    return Comparison(
        a,
        b,
        tuple(warnings),
        (*_left_out(a, b, keys), *_repeats(a, [x for x, _ in pairs.values()])),
        contrast("all", keys, resample_tasks),
        tuple(
            contrast(s, [k for k in keys if k[0].startswith(f"{s}/")], resample_tasks)
            for s in suites
        ),
        tuple(contrast(task, [k for k in keys if k[0] == task]) for task in tasks),
        confidence,
    )


def _layout(config: Mapping[str, Any]) -> str:
    """Return what must agree for an episode's number to say its seed and start."""
    each = episodes_a_seed(config)
    return "one seed" if each is None else f"{len(config['seed'])} seeds of {each} episodes"


def shared_plan(a: Results, b: Results) -> list[Key]:
    """Return (task, episode) of the episodes that both have planned, in the order of `a`'s plan."""
    others = set(planned(b.config["plan"]))
    return [key for key in planned(a.config["plan"]) if key in others]


def find_mismatches(a: Results, b: Results) -> list[str]:
    """Return what makes shared episodes of two evaluations different ones, a phrase each."""
    found = []
    if a.config["protocol_digest"] != b.config["protocol_digest"]:
        found.append(f"protocol ({protocol_difference(a.config, b.config)})")
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
    pairs = list(_pairs(a, b, shared_plan(a, b)).values())
    moved = [x for x, y in pairs if x.init_index != y.init_index]
    unseen: list[EpisodeResult] = []
    if not moved:
        unsure = [pair for pair in pairs if _must_look(a, b, pair[0])]
        unseen = [x for x, y in unsure if not (a.is_stored(x) and b.is_stored(y))]
        moved = [] if unseen else [x for x, y in unsure if not _same_start(a, b, x, y)]
    if a.config["seed"] != b.config["seed"] and (moved or unseen or _is_perturbed(a)):
        seeds = f"{a.config['seed']} and {b.config['seed']}"
        found.append(f"evaluation seed ({seeds}), which draws where the fixtures stand")
    elif moved:
        example = f"episode {moved[0].episode} of {moved[0].task}"
        found.append(f"init states ({len(moved)} episodes start elsewhere, such as {example})")
    elif unseen:
        found.append(f"starts, as far as can be seen ({len(unseen)} were not stored)")
    return found


def _must_look(a: Results, b: Results, x: EpisodeResult) -> bool:
    """Return whether only what was stored shows that an episode starts alike in both."""
    recorded = any(one.config.get("starts") or _is_replay(one) for one in (a, b))
    return recorded or x.init_index < 0 or a.config["seed"] != b.config["seed"]


def _is_replay(results: Results) -> bool:
    return bool(results.config["policy"].get("kind") == "replay")


def _is_perturbed(results: Results) -> bool:
    return "perturbations" in results.config["protocol"]


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
    each: int | None,
) -> Contrast:
    """Return the contrast of the planned episodes `keys`."""
    found = [pairs[key] for key in keys if key in pairs]
    outcomes = np.array([(x.success, y.success) for x, y in found], dtype=bool).reshape(-1, 2)
    baseline_successes, evaluated_successes = map(int, outcomes.sum(axis=0))
    test = difference = None
    if found and len(found) == len(keys):
        difference, test = compare_pairs(found, each, confidence, resample_tasks)
    return Contrast(
        name, len(keys), len(found), baseline_successes, evaluated_successes, test, difference
    )


def _left_out(a: Results, b: Results, keys: Sequence[Key]) -> list[str]:
    """Return sentences on the episodes that only one evaluation has planned."""
    notes = []
    for name, results in (("baseline", a), ("evaluated policy", b)):
        plan = planned(results.config["plan"])
        if len(plan) > len(keys):
            notes.append(
                f"{len(plan) - len(keys)} of {len(plan)} planned episodes of the {name} are not in "
                "the other's plan and are left out."
            )
    if a.config["seed"] != b.config["seed"]:
        notes.append(
            f"The evaluation seeds are {a.config['seed']} and {b.config['seed']}. Where that makes "
            "no warning, all shared episodes start alike, and only the policies' own draws differ."
        )
    return notes


def _repeats(results: Results, episodes: Sequence[EpisodeResult]) -> list[str]:
    """Return a sentence on starts that come again within one seed, if they do."""
    starts = count_starts(results.config, episodes)
    return [] if starts is None else [f"{starts_text(starts)} p is of a sign-flip test of starts."]


def _same_start(a: Results, b: Results, x: EpisodeResult, y: EpisodeResult) -> bool:
    """Return whether the first state and the fixtures that were stored are the same."""
    first, second = a.trajectory(x), b.trajectory(y)
    return first.states.shape[1:] == second.states.shape[1:] and all(
        np.allclose(one, other, rtol=0, atol=START_TOLERANCE)
        for one, other in (
            (first.states[0], second.states[0]),
            (first.fixtures.positions, second.fixtures.positions),
            (first.fixtures.quaternions, second.fixtures.quaternions),
        )
    )


def _described(results: Results) -> dict[str, Any]:
    return {"folder": str(results.folder), "policy": results.config["policy"]}


def protocol_difference(a: Mapping[str, Any], b: Mapping[str, Any]) -> str:
    """Return both protocols' names and in which fields they differ."""
    first, second = a["protocol"], b["protocol"]
    fields = sorted(
        key
        for key in first.keys() | second.keys()
        if key not in ("name", "source") and first.get(key) != second.get(key)
    )
    names = f"{first['name']} and {second['name']}"
    return f"{names}: {', '.join(fields)}" if fields else names
