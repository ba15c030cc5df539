"""What the stages of a run share: the task, its demonstrations, and what was made so far."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from demonstrations.demonstration import Demonstration
from generator.config import GeneratorConfig
from simulation.tasks import Task

if TYPE_CHECKING:
    from generator.discover import PatternEncoder
    from generator.rollout import Environments


@dataclass(frozen=True)
class Context:
    """What the stages of a run share."""

    task: Task
    environments: Environments
    demonstrations: Sequence[Demonstration]
    config: GeneratorConfig
    results: dict[str, Any] = field(default_factory=dict)
    """Name of a finished stage -> what its `load` returned."""
    reports: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Name of a finished stage -> what it reported."""

    @property
    def encoder(self) -> PatternEncoder | None:
        """The frozen q(z|s); None in a recipe without discovery."""
        return self.results.get("discover")

    @property
    def patterns(self) -> int:
        """K; 0 in a recipe without discovery."""
        return self.encoder.patterns if self.encoder else 0

    def labels(self, shuffled: bool = False) -> list[np.ndarray] | None:
        """Return the pattern of each state of each demonstration; None without discovery.

        Args:
            shuffled: give each demonstration the one pattern of another.
        """
        if self.encoder is None:
            return None
        if not shuffled:
            return [self.encoder.label(d.proprio) for d in self.demonstrations]
        found = np.random.default_rng([self.config.seed, 1]).permutation(self.trajectory_patterns())
        return [np.full(len(d.actions), z) for d, z in zip(self.demonstrations, found, strict=True)]

    def trajectory_patterns(self) -> list[int]:
        """Return the pattern of each demonstration as a whole; 0 without discovery."""
        if self.encoder is None:
            return [0] * len(self.demonstrations)
        return [self.encoder.classify_trajectory(d.proprio) for d in self.demonstrations]

    @property
    def horizon(self) -> int:
        """Control steps of a training episode at most."""
        lengths = [len(d.actions) for d in self.demonstrations]
        longest = float(np.quantile(lengths, 0.95))
        return min(self.task.horizon, math.ceil(longest * self.config.horizon_factor))
