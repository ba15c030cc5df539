"""What the recipes gave on a task, and the diversity of both where they share initial states."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from analysis.diversity import Contrast, compare, trajectory_features
from analysis.profile import Profile, Repertoire, profile
from analysis.trajectories import DiversityError, Trajectory, match_initial_states
from common.intervals import wilson_interval

FloatArray = npt.NDArray[np.float64]
DEMONSTRATIONS = "Demonstrations"
"""Name of the source that the others are held against."""
Matched = tuple[list[Trajectory], list[Trajectory]]


@dataclass(frozen=True)
class Count:
    """Successes among trials."""

    successes: int
    n: int

    @property
    def rate(self) -> float:
        """Fraction of successes; 0 without trials."""
        return self.successes / self.n if self.n else 0.0

    @property
    def interval(self) -> tuple[float, float]:
        """95% Wilson interval of the rate."""
        return wilson_interval(self.successes, self.n)

    def as_json(self) -> dict[str, float | None]:
        """Return counts, rate and interval; without trials the last are None."""
        known = (self.rate, *self.interval) if self.n else (None, None, None)
        return {**asdict(self), **dict(zip(("rate", "low", "high"), known, strict=True))}


@dataclass(frozen=True)
class LearningCurve:
    """Held-out success while a policy is reinforced."""

    pattern: int | None
    """Pattern that was evaluated; None for all of a recipe's rollouts together."""
    steps: npt.ArrayLike
    """(M,) environment steps taken before each evaluation."""
    success: npt.ArrayLike
    """(M,) fraction of successes, 0..1."""


@dataclass(frozen=True)
class Filmstrip:
    """A few frames of one rollout, in order of time."""

    pattern: int
    frames: Sequence[npt.NDArray[np.uint8]]
    """Upright RGB pictures (H, W, 3), such as the first, the middle and the last."""


@dataclass(frozen=True)
class RecipeOutcome:
    """What one recipe gave on one task; the pattern of a policy without patterns is -1."""

    name: str
    """Name to show, such as `DLR`."""
    trajectories: Sequence[Trajectory]
    """Collected rollouts; the report takes the successes that both recipes' starts allow."""
    learned: Mapping[int, Count]
    """Held-out success per pattern of the cloned policy."""
    reinforced: Mapping[int, Count]
    """Held-out success per pattern of the final policy."""
    recognised: Mapping[int, Count] = field(default_factory=dict)
    """Rollouts of pattern z that the frozen encoder recognises as z, per pattern."""
    discovery_nmi: float | None = None
    """Normalised mutual information of discovered patterns and the demonstrator's ways."""
    curves: Sequence[LearningCurve] = ()
    training: Mapping[str, Any] = field(default_factory=dict)
    """`budget`, `stopped` and `environment_steps` of the record of `reinforce`."""
    theorem: Sequence[Mapping[str, Any]] = ()
    """What Theorem 1 says, a row per pattern; empty without patterns."""
    collection: Mapping[str, Any] = field(default_factory=dict)
    """Statistics of the collection, JSON values by name."""
    filmstrips: Sequence[Filmstrip] = ()


@dataclass(frozen=True)
class Source:
    """Where episodes of a task come from."""

    name: str
    """Name to show, such as `DLR`, or `DLR, after learn`."""
    trajectories: Sequence[Trajectory]
    """Its episodes; their successes are measured."""


@dataclass(frozen=True)
class TaskOutcome:
    """Both recipes on one task."""

    task: str
    """Key of the task, such as `libero_90/NAME`."""
    language: str
    """Instruction of the task."""
    baseline: RecipeOutcome
    """Standard RL with a single pattern (O2O-RL)."""
    candidate: RecipeOutcome
    """What is compared with it (DLR)."""
    provenance: Mapping[str, Any] = field(default_factory=dict)
    """Configurations, versions and asset pack, JSON values by name."""
    demonstrations: Sequence[Trajectory] = ()
    """What the recipes learned from, with the names of their ways."""
    others: Sequence[Source] = ()
    """Further stages' episodes, to be measured beside them."""
    further: Sequence[RecipeOutcome] = ()
    """More recipes, each compared with the baseline as the candidate is, in tables alone."""

    def __post_init__(self) -> None:
        """Refuse two sources of one name, which would hide each other."""
        names = [source.name for source in self.sources]
        if len(set(names)) < len(names):
            raise ValueError(f"sources are named {names}; name them apart")

    @property
    def recipes(self) -> tuple[RecipeOutcome, RecipeOutcome]:
        """Baseline and candidate, the order of every table and figure."""
        return self.baseline, self.candidate

    @property
    def everyone(self) -> tuple[RecipeOutcome, ...]:
        """All recipes, those two first."""
        return *self.recipes, *self.further

    @property
    def sources(self) -> list[Source]:
        """Demonstrations, the recipes, and the others, in the order of the tables."""
        own = [Source(DEMONSTRATIONS, self.demonstrations)] if self.demonstrations else []
        return [*own, *(Source(r.name, r.trajectories) for r in self.everyone), *self.others]


@dataclass(frozen=True)
class Analysis:
    """A task's results with the diversity of both recipes on the initial states they share."""

    result: TaskOutcome
    matched: Matched | None
    """Successes of both recipes from the same initial states; None if they share too few."""
    contrasts: Mapping[str, Contrast]
    """Every diversity metric by its key; empty if they share too few."""
    note: str
    """On what diversity was measured, or why it was not."""
    profiles: Mapping[str, Profile] = field(default_factory=dict)
    """What was measured of each source's own successes, by the source's name."""
    further: Mapping[str, Mapping[str, Contrast]] = field(default_factory=dict)
    """The same metrics of each further recipe that shares enough starts with the baseline."""

    @cached_property
    def features(self) -> tuple[FloatArray, FloatArray]:
        """The hand's positions (N, F) along the matched trajectories of both recipes."""
        assert self.matched is not None
        return trajectory_features(self.matched[0]), trajectory_features(self.matched[1])


def analyse(result: TaskOutcome, resamples: int = 2000, seed: int = 0) -> Analysis:
    """Match the recipes' initial states, compare them on these, and measure every source.

    Recipes that share too few successes have no diversity to compare; the report then says so and
    shows the rest.
    """
    profiles = profile_sources(result, resamples, seed)
    further = _further(result, resamples, seed)
    try:
        matched = match_initial_states(result.baseline.trajectories, result.candidate.trajectories)
    except DiversityError as error:
        note = f"Diversity was not measured: {error}."
        return Analysis(result, None, {}, note, profiles, further)
    starts = len({t.start for t in matched[0]})
    note = f"{len(matched[0])} successes of each recipe, from the same {starts} initial states."
    contrasts = compare(*matched, resamples=resamples, seed=seed)
    return Analysis(result, matched, contrasts, note, profiles, further)


def _further(result: TaskOutcome, resamples: int, seed: int) -> dict[str, Mapping[str, Contrast]]:
    """Compare further recipes with the baseline; those that share too few starts are left out."""
    found: dict[str, Mapping[str, Contrast]] = {}
    for recipe in result.further:
        try:
            pair = match_initial_states(result.baseline.trajectories, recipe.trajectories)
        except DiversityError:
            continue
        found[recipe.name] = compare(*pair, resamples=resamples, seed=seed)
    return found


def profile_sources(
    result: TaskOutcome, resamples: int = 2000, seed: int = 0
) -> dict[str, Profile]:
    """Return what is measured of each source's successes; sources without any are left out.

    Modes, ways and coverage are held against the demonstrations, where there are two or more.
    """
    shown = [t for t in result.demonstrations if t.success]
    repertoire = Repertoire(shown, seed) if len(shown) > 1 else None
    found = {}
    for source in result.sources:
        solved = [t for t in source.trajectories if t.success]
        if solved:
            found[source.name] = profile(solved, repertoire, resamples, seed)
    return found
