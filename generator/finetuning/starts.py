"""Training starts along demonstrations: near the end, further back as success rises (RFCL)."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from common.errors import SettingError
from demonstrations.demonstration import Demonstration
from generator.rollout import EpisodeSpec, Rollout, Start

FIRST_REACH = 0.25
"""Share of a demonstration, from its end, that starts lie in at first."""
MASTERED = 0.8
"""Success from these starts at which they move back by `FIRST_REACH`."""


class Curriculum:
    """How far back the starts of each pattern lie.

    Args:
        demonstrations: to start from, with their moments.
        patterns: each demonstration's pattern; all 0 for a policy without.
        groups: number of patterns, at least 1.
        share: of a pattern's episodes that start there.
        horizon: control steps of an episode at most. Steps before a start count, so that a longer
            demonstration's end would leave none: such a demonstration is not started from.

    Raises:
        SettingError: starts are asked for, and a pattern has no demonstration with its moments
            that fits the horizon.
    """

    def __init__(
        self,
        demonstrations: Sequence[Demonstration],
        patterns: Sequence[int],
        groups: int,
        share: float,
        horizon: int,
    ) -> None:
        self.share = share
        self.reach = [FIRST_REACH] * groups
        self._demonstrations: list[list[Demonstration]] = [[] for _ in range(groups)]
        for demonstration, pattern in zip(demonstrations, patterns, strict=True):
            if demonstration.moments is not None and len(demonstration.actions) <= horizon:
                self._demonstrations[pattern].append(demonstration)
        if share and not all(self._demonstrations):
            raise SettingError(
                "demonstration_starts wants demonstrations of every pattern with the simulator's "
                f"states, of {horizon} steps at most: set it to 0"
            )

    def place(self, specs: Sequence[EpisodeSpec], seed: Sequence[int]) -> list[EpisodeSpec]:
        """Return the specs, of which each pattern's share starts from a demonstration.

        Args:
            specs: training episodes.
            seed: what the choice derives from.
        """
        if not self.share:
            return list(specs)
        rng, placed = np.random.default_rng(list(seed)), list(specs)
        for group in range(len(self.reach)):
            mine = [i for i, s in enumerate(specs) if max(s.pattern, 0) == group]
            for i in rng.permutation(mine)[: round(self.share * len(mine))]:
                placed[i] = dataclasses.replace(specs[i], start=self._start(group, rng))
        return placed

    def _start(self, group: int, rng: np.random.Generator) -> Start:
        mine = self._demonstrations[group]
        chosen = mine[rng.integers(len(mine))]
        moments, steps = chosen.moments, len(chosen.actions)
        assert moments is not None
        back = rng.uniform(0.05, self.reach[group])
        at = min(int((1 - back) * steps), steps - 1)
        grips = chosen.actions[:at, -1]
        return Start(moments.states[at], moments.seed, moments.fixtures, grips)

    def note(self, episodes: Sequence[Rollout]) -> dict[str, float]:
        """Move the starts of patterns that master theirs; return success from them, and reach."""
        measures = {}
        for group in range(len(self.reach)):
            mine = [
                e.success
                for e in episodes
                if e.spec.start is not None and max(e.spec.pattern, 0) == group
            ]
            if mine:
                success = float(np.mean(mine))
                measures[f"success_from_demonstrations/{group}"] = success
                measures[f"reach/{group}"] = self.reach[group]
                if success >= MASTERED:
                    self.reach[group] = min(self.reach[group] + FIRST_REACH, 1.0)
        return measures
