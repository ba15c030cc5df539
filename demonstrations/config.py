"""Every setting of how demonstrations are made: from which source, and in which style.

The range of each number is in `demonstrations.ranges`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

SCRIPTED, AMPLIFIED = "scripted", "amplified"
"""Methods of new demonstrations."""


@dataclass(frozen=True)
class Style:
    """How a scripted demonstrator moves."""

    speed: tuple[float, float] = (0.8, 1.15)
    """Range of each episode's largest translation, where 1 is 0.05 m a control step; people's, by
    LIBERO's recordings, lies between 0.69 and 1.2."""
    tremor: float = 0.06
    """Standard deviation of the correlated action noise."""
    aim: float = 0.006
    """Standard deviation of each waypoint's position, m."""
    pushes: float = 0.0
    """Chance, at each control step in which the hand moves freely, that something pushes it off its
    path; what is meant all the while leads back, so that clones learn to recover."""
    push: float = 0.8
    """How hard, where 1 is 0.05 m a control step; in any direction."""
    push_steps: int = 5
    """Control steps that a push takes."""
    max_steps: int = 260
    """Control steps, for each predicate of the goal, after which an attempt is given up."""


@dataclass(frozen=True)
class DemonstrationConfig:
    """Where a task's demonstrations come from."""

    episodes_per_way: int = 80
    """New demonstrations of each way; 0 for none."""
    source: Literal["auto", "scripted", "amplified"] = "auto"
    """Where new ones come from: `scripted` by skills, `amplified` from the recordings in the folder
    of human demonstrations, or `auto`: by skills where the task has them, else amplified. `dlr
    demos make` and `dlr generate`, whose options begin with `--demonstrations.`, take `auto` for
    the best source that is here: what `dlr demos download` has fetched of a task, alone; amplified
    ones where that folder has a recording of it; else by skills."""
    human_demos: str = ""
    """A folder of human demonstrations to mix in or to amplify: `<task>.json` or LIBERO's
    `<task>_demo.hdf5`, or `official` for what `dlr demos download` fetched; where
    `sha256sum * > SHA256SUMS` has been run beside them, a damaged one is refused."""
    drop_noops: bool = True
    """Drop the steps in which a person did nothing; a demonstration that then fails keeps them."""
    fresh_share: float = 0.5
    """Share of new demonstrations from a fresh reset instead of an official init state."""
    maximum_attempts: int = 20
    """Attempts after which a new demonstration is given up; at a way's first one, the way is."""
    seed: int = 0
    """Seed of starts, speeds and noise."""
    style: Style = field(default_factory=Style)
    """How the new ones move."""
