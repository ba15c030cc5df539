"""Successes and episodes of each pattern: counted, added, and as rates."""

from __future__ import annotations

from collections.abc import Sequence

from generator.rollout import Rollout

Counts = list[list[int]]
"""Successes and episodes of each pattern."""


def no_episodes(groups: int) -> Counts:
    """Return the counts of no episode."""
    return [[0, 0] for _ in range(groups)]


def counted(episodes: Sequence[Rollout], groups: int) -> Counts:
    """Return the counts of episodes; without patterns all are of the one group."""
    counts = no_episodes(groups)
    for episode in episodes:
        mine = counts[max(episode.spec.pattern, 0)]
        mine[0], mine[1] = mine[0] + int(episode.success), mine[1] + 1
    return counts


def added(some: Counts, others: Counts) -> Counts:
    """Return the counts of both."""
    return [[a + c, b + d] for (a, b), (c, d) in zip(some, others, strict=True)]


def shares(counts: Counts) -> list[float]:
    """Return each pattern's success, 0 without episodes."""
    return [successes / episodes if episodes else 0.0 for successes, episodes in counts]
