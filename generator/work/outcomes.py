"""Which attempts of a collection come next, given what became of those before."""

from __future__ import annotations

import math
from collections.abc import Mapping, Set
from dataclasses import asdict, replace
from typing import Any

from common.errors import DlrError
from generator.config import CollectConfig, NoiseConfig
from simulation.recordings.earlier import Relation


class CollectionError(DlrError, RuntimeError):
    """The settings do not fit the policy, or it succeeds too seldom for the wanted episodes."""


REPETITIONS = 3
"""Episodes from one start of a policy without patterns, unless another number is asked for."""
_LIMITS = {"episodes", "maximum_attempts"}
"""Settings that say how many attempts are made, not which."""
_FREE = {"wave", "require_all"}
"""Settings that change no attempt either."""


def grouped(config: CollectConfig, patterns: int) -> CollectConfig:
    """Return the settings with a number of groups, for a policy of so many patterns or of none.

    Raises:
        CollectionError: groups differ from the patterns or do not divide the episodes.
    """
    wanted = patterns or config.groups or REPETITIONS
    groups = config.groups or wanted
    if groups != wanted or config.episodes % groups:
        raise CollectionError(
            f"{config.episodes} episodes in {groups} groups do not fit a policy with "
            f"{patterns} patterns: ask for {wanted} groups and a multiple of {wanted} episodes"
        )
    return replace(config, groups=groups)


def describe_collection(
    policy_hash: str,
    method: str,
    config: CollectConfig,
    noise: NoiseConfig,
    provenance: Mapping[str, Any],
) -> dict[str, Any]:
    """Return what a trajectory file, or who publishes a collection, says of its making.

    What changes no episode is not said: how many are attempted together and, where all wanted ones
    are required, after how many attempts a group is given up.
    """
    return {
        "collect": _deciding(asdict(config)),
        "noise": asdict(noise),
        "policy_hash": policy_hash,
        "method": method,
        "provenance": dict(provenance),
    }


def _deciding(collect: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of a collection that decide what its file holds."""
    free = {"wave", "maximum_attempts"} if collect["require_all"] else {"wave"}
    return _without(collect, free)


def _without(settings: Mapping[str, Any], names: Set[str]) -> dict[str, Any]:
    return {name: value for name, value in settings.items() if name not in names}


def compare_collections(before: Mapping[str, Any], now: Mapping[str, Any]) -> Relation:
    """Compare what `describe_collection` says of two collections.

    Attempts are the same whatever number of episodes is wanted, so a collection of more begins
    with all that one of fewer has.
    """
    if not same_attempts(before, now):
        return Relation.OTHER
    made, asked = (_deciding(described["collect"]) for described in (before, now))
    if made == asked:
        return Relation.SAME
    if made["require_all"] != asked["require_all"]:
        return Relation.OTHER
    more = all(asked.get(name, 0) >= made.get(name, 0) for name in _LIMITS)
    return Relation.SOME if more else Relation.OTHER


def same_attempts(before: Mapping[str, Any], now: Mapping[str, Any]) -> bool:
    """Return whether two collections make the same attempts, though not as many."""
    one, other = (
        {**described, "collect": _without(described.get("collect", {}), _LIMITS | _FREE)}
        for described in (before, now)
    )
    return one == other


class Attempts:
    """Which attempts of a collection were made and which succeeded."""

    def __init__(self, config: CollectConfig) -> None:
        self.config = config
        self.outcomes: dict[int, bool] = {}
        """Attempt -> success."""
        self.unreleased: set[int] = set()
        """Attempts that reached the goal and did not let go."""

    def _of(self, group: int) -> list[bool]:
        groups = self.config.groups
        return [ok for attempt, ok in self.outcomes.items() if attempt % groups == group]

    def attempts(self) -> list[int]:
        """Return the attempts of each group."""
        return [len(self._of(group)) for group in range(self.config.groups)]

    def successes(self) -> list[int]:
        """Return the successes of each group."""
        return [sum(self._of(group)) for group in range(self.config.groups)]

    def wanted(self, outcomes: Mapping[int, bool]) -> dict[int, bool]:
        """Return the outcomes that this collection needs: each group's up to its last success."""
        groups, wanted = self.config.groups, self.config.episodes // self.config.groups
        most = math.inf if self.config.require_all else wanted * self.config.maximum_attempts
        missing, needed = [wanted] * groups, {}
        for attempt in sorted(outcomes):
            number, group = divmod(attempt, groups)
            if missing[group] and number < most:
                needed[attempt] = outcomes[attempt]
                missing[group] -= outcomes[attempt]
        return needed

    def next_wave(self, wave: int | None = None) -> list[int]:
        """Return the next attempts, none when every group is complete.

        A wave never asks for more than is missing, so which attempts are made in the end, and
        which episodes are kept, does not depend on its size.

        Args:
            wave: attempts at most, over all groups; by default all that are missing.

        Raises:
            CollectionError: a group is hopeless.
        """
        groups, wanted = self.config.groups, self.config.episodes // self.config.groups
        most = wanted * self.config.maximum_attempts
        found: list[int] = []
        for group in range(groups):
            made, succeeded = len(self._of(group)), sum(self._of(group))
            missing = wanted - succeeded
            if wave is not None:
                missing = min(missing, max(1, wave // groups))
            if not self.config.require_all:
                missing = min(missing, most - made)
            if missing > 0 and made + missing > most:
                raise CollectionError(
                    f"pattern {group} succeeded in {succeeded} of {made} attempts, and {wanted} "
                    "successes are wanted: train it longer, or ask for fewer episodes"
                )
            unused = (n for n in range(made + missing) if n * groups + group not in self.outcomes)
            found += [n * groups + group for n, _ in zip(unused, range(missing), strict=False)]
        return sorted(found)
