"""Results side by side: which of them can be compared, and in what the others differ."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from eval_harness.compare import protocol_difference
from eval_harness.perturbations.arms import CONTROL_ARM, Arm, is_arms, load_arms
from eval_harness.perturbations.retained import Robustness, measure_retained
from eval_harness.perturbations.table import read_condition
from eval_harness.results import EpisodeResult, Results
from eval_harness.sequential.rules import Stop
from eval_harness.sequential.stopped import load_counted


@dataclass(frozen=True)
class Entry:
    """One policy's results: an evaluation, or all arms of one under perturbation."""

    folder: Path
    """Where it is."""
    title: str
    """What tells it from the other entries."""
    results: Results
    """The evaluation, or the control arm."""
    stop: Stop | None = None
    """Where the evaluation stopped early, if it did."""
    robustness: Robustness | None = None
    """What became of the control's success; None for an evaluation without arms."""
    arms: Mapping[str, Results] = dataclasses.field(default_factory=dict)
    """Name of each condition's arm -> its results."""

    @property
    def tasks(self) -> tuple[str, ...]:
        """Keys of the tasks."""
        return tuple(self.results.config["plan"]["tasks"])

    def lost(self, arm: str) -> list[tuple[EpisodeResult, EpisodeResult]]:
        """Return the episodes that fail in an arm and succeed in the control: (control's, arm's).

        Args:
            arm: the arm's name.
        """
        control = {r.key: r for r in self.results.episodes if r.error is None and r.success}
        return [
            (control[r.key], r)
            for r in self.arms[arm].episodes
            if r.error is None and not r.success and r.key in control
        ]


@dataclass(frozen=True)
class Group:
    """Entries that can be compared: of one protocol, assets, simulator, definition and starts."""

    entries: tuple[Entry, ...]
    """The best control first, those that are not complete last."""

    @cached_property
    def config(self) -> dict[str, Any]:
        """The configuration of its first entry, which all share but for policy, seed and plan."""
        return self.entries[0].results.config

    @cached_property
    def definitions(self) -> dict[str, str]:
        """Key of each published task -> digest of its definition."""
        return {task: digest for entry in self.entries for task, digest in _defined(entry).items()}

    @cached_property
    def boards(self) -> tuple[tuple[Entry, ...], ...]:
        """The entries under perturbation, those of the same tasks together."""
        found: dict[tuple[str, ...], list[Entry]] = {}
        for entry in self.entries:
            if entry.robustness is not None:
                found.setdefault(entry.tasks, []).append(entry)
        return tuple(map(tuple, found.values()))


def load_entries(folders: Sequence[Path]) -> list[Entry]:
    """Read results folders, and folders of arms.

    Raises:
        ResultsError: one is missing or damaged, or its arms cannot be paired.
    """
    unique = list(dict.fromkeys(folder.resolve() for folder in folders))
    titles = dict(zip(unique, _titles(unique), strict=True))
    return [_load(folder, titles[folder]) for folder in unique]


def _load(folder: Path, title: str) -> Entry:
    if not is_arms(folder):
        results, stop = load_counted(folder)
        return Entry(folder, title, results, stop)
    arms: dict[Arm, Results] = load_arms(folder)
    found = measure_retained(arms)
    others = {arm.name: results for arm, results in arms.items() if arm.name != CONTROL_ARM}
    return Entry(folder, title, found.control, None, found, others)


def group_entries(entries: Sequence[Entry]) -> list[Group]:
    """Return entries that can be compared together, in the order in which they were given."""
    found: list[list[Entry]] = []
    for entry in entries:
        alone = Group((entry,))
        alike = (members for members in found if _are_alike(Group(tuple(members)), alone))
        if (members := next(alike, None)) is None:
            found.append([entry])
        else:
            members.append(entry)
    return [Group(tuple(sorted(members, key=_by_success))) for members in found]


def _are_alike(one: Group, other: Group) -> bool:
    """Return whether all entries of two groups can be compared."""
    return _kind(one.config) == _kind(other.config) and not _defined_otherwise(one, other)


def _defined_otherwise(one: Group, other: Group) -> list[str]:
    """Return keys of the published tasks that both have, with other definitions."""
    a, b = one.definitions, other.definitions
    return [task for task in a if b.get(task, a[task]) != a[task]]


def _defined(entry: Entry) -> dict[str, str]:
    return dict(entry.results.config["assets"].get("definitions", {}))


def _kind(config: Mapping[str, Any]) -> str:
    """Return what must agree between results that are compared."""
    assets = config["assets"]["digest"]
    parts = (config["protocol_digest"], assets, config["simulator"], config.get("starts"))
    return json.dumps(parts, sort_keys=True)


def _by_success(entry: Entry) -> float:
    ended = [r.success for r in entry.results.episodes if r.error is None]
    whole = len(ended) == entry.results.config["plan"]["episodes"] * len(entry.tasks)
    return -sum(ended) / len(ended) if whole and ended else 1.0


def differences(one: Group, other: Group) -> list[str]:
    """Return why two groups cannot be compared, a phrase each."""
    a, b = one.config, other.config
    found = []
    if a["protocol_digest"] != b["protocol_digest"]:
        conditions = [condition_text(config) for config in (a, b)]
        changed = f" ({' and '.join(conditions)})" if conditions[0] != conditions[1] else ""
        found.append(f"the protocol ({protocol_difference(a, b)}){changed}")
    if a["assets"]["digest"] != b["assets"]["digest"]:
        packs = (f"{c['assets']['name']} {c['assets']['digest'][:12]}" for c in (a, b))
        found.append(f"the assets ({' and '.join(packs)})")
    if tasks := _defined_otherwise(one, other):
        found.append(f"definitions of a published suite ({len(tasks)}, such as {tasks[0]})")
    for package, version in a["simulator"].items():
        if version != (now := b["simulator"].get(package)):
            found.append(f"the version of {package} ({version} and {now})")
    if a.get("starts") != b.get("starts"):
        found.append("where the episodes start (recorded starts)")
    return found


def condition_text(config: Mapping[str, Any]) -> str:
    """Return what a configuration's protocol perturbs, such as `camera 3`, or `unperturbed`."""
    found = read_condition(config["protocol"])
    return " + ".join(f"{one.axis} {one.level}" for one in found) or "unperturbed"


def _titles(folders: Sequence[Path]) -> list[str]:
    """Return the shortest ends of paths that tell them apart."""
    for count in range(1, max(len(folder.parts) for folder in folders) + 1):
        titles = ["/".join(folder.parts[-count:]) for folder in folders]
        if len(set(titles)) == len(titles):
            return titles
    return [str(folder) for folder in folders]
