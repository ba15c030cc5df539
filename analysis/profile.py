"""All that is measured of one source's episodes by themselves, demonstrations' included."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from analysis.alignment import gak_bandwidth, gak_distances
from analysis.coverage import coverage_at_k, own_coverage_at_k
from analysis.diversity import metric_key, pairwise_terms
from analysis.modes import ModeFinder, entropy, entropy_estimate, spread
from analysis.poses import SPACES, Space, path_lengths, straightness
from analysis.quality import mean_action_variance, mean_squared_jerk, no_ops
from analysis.recognition import Confusion, confusion
from analysis.statistics import Estimate, bootstrap_weights, estimate, pair_means
from analysis.trajectories import DiversityError, Trajectory
from analysis.ways import WayClassifier, name_held_out

FloatArray = npt.NDArray[np.float64]

COVERING = 10
"""Episodes K that are drawn for Coverage@K."""
_LEAST_EPISODES = 3
"""Demonstrations of a way from which it is learnt."""


@dataclass(frozen=True)
class Profile:
    """What was measured of one source's episodes."""

    episodes: int
    """Successes that it was measured on."""
    figures: Mapping[str, Estimate]
    """By name, with `_positions` or `_rotations` where those differ; what cannot be measured, such
    as the spread of one episode, is not there."""
    confusion: Confusion | None = None
    """Known ways or patterns against recognised ways, without episodes of ways that were shown too
    rarely to be recognised."""
    modes: Mapping[int, int] = field(default_factory=dict)
    """Episodes of each mode of the demonstrations."""
    ways: Mapping[str, int] = field(default_factory=dict)
    """Episodes of each recognised way."""


class Repertoire:
    """Demonstrations, as what any source's episodes are held against.

    Args:
        demonstrations: successes with the names of their ways, where they have names.
        seed: of the clusterer and of held-out parts.

    Raises:
        DiversityError: there are fewer than two.
    """

    def __init__(self, demonstrations: Sequence[Trajectory], seed: int = 0) -> None:
        self.demonstrations = list(demonstrations)
        self._paths = [t.proprio for t in demonstrations]
        self._seed = seed
        self.finder = ModeFinder(self._paths, seed)
        self.modes = self.finder.assign(self._paths)
        self.ways = [t.way for t in demonstrations]
        self.classifier: WayClassifier | None = None
        """None where the demonstrations have not two ways with three episodes each."""
        shown = Counter(filter(None, self.ways))
        self.known = {way for way, episodes in shown.items() if episodes >= _LEAST_EPISODES}
        """The ways that it tells apart."""
        self.rare = set(shown) - self.known
        """The ways that were shown too rarely to be told apart from others."""
        self._learnt = [place for place, way in enumerate(self.ways) if way in self.known]
        if len(self.known) > 1:
            self.classifier = WayClassifier(*self._learnable())

    def named(self, trajectories: Sequence[Trajectory]) -> list[str]:
        """Return the recognised way of each episode, of the demonstrations' own held out."""
        if self.classifier is None:
            return []
        names = self.classifier.name([t.proprio for t in trajectories])
        if not self._is_own(trajectories):
            return names
        held_out = name_held_out(*self._learnable(), seed=self._seed)
        for place, name in zip(self._learnt, held_out, strict=True):
            names[place] = name
        return names

    def _learnable(self) -> tuple[list[FloatArray], list[str]]:
        return [self._paths[p] for p in self._learnt], [self.ways[p] for p in self._learnt]

    def coverage(self, trajectories: Sequence[Trajectory]) -> dict[str, float]:
        """Return Coverage@COVERING by space; empty where there are too few episodes for that."""
        found: dict[str, float] = {}
        own_episodes = self._is_own(trajectories)
        if len(trajectories) - own_episodes < COVERING:
            return found
        for space in SPACES:
            width, own = self._own_distances[space]
            if own_episodes:
                found[space] = own_coverage_at_k(own, COVERING)
            else:
                paths = [t.proprio for t in trajectories]
                cross = gak_distances(self._paths, paths, space, width)
                found[space] = coverage_at_k(own, cross, COVERING)
        return found

    @functools.cached_property
    def _own_distances(self) -> dict[Space, tuple[float, FloatArray]]:
        """Bandwidth and the demonstrations' distances from each other, by space."""
        found: dict[Space, tuple[float, FloatArray]] = {}
        for space in SPACES:
            width = gak_bandwidth(self._paths, space)
            found[space] = width, gak_distances(self._paths, self._paths, space, width)
        return found

    def _is_own(self, trajectories: Sequence[Trajectory]) -> bool:
        return len(trajectories) == len(self.demonstrations) and all(
            one is other for one, other in zip(trajectories, self.demonstrations, strict=True)
        )


def profile(
    trajectories: Sequence[Trajectory],
    repertoire: Repertoire | None = None,
    resamples: int = 2000,
    seed: int = 0,
) -> Profile:
    """Return what is measured of a source's episodes.

    Args:
        trajectories: successes; the repertoire's own demonstrations are held against each other,
            none against itself.
        repertoire: the task's demonstrations; without them modes, ways and coverage are left out.
        resamples: bootstrap draws of episodes, those of one start together.
        seed: of the draws.

    Raises:
        DiversityError: there is no episode.
    """
    if not trajectories:
        raise DiversityError("there is no successful episode to measure")
    figures = _motion(trajectories, resamples, seed)
    if repertoire is None:
        return Profile(len(trajectories), figures | _pairs(trajectories, None, resamples, seed))
    modes = repertoire.finder.assign([t.proprio for t in trajectories])
    figures |= _pairs(trajectories, modes, resamples, seed)
    named = repertoire.named(trajectories)
    figures |= _repertoire_figures(trajectories, repertoire, modes, named)
    known = [t.way or (f"pattern {t.pattern}" if t.pattern >= 0 else "") for t in trajectories]
    pairs = zip(known, named, strict=bool(named))
    judged = [(kind, name) for kind, name in pairs if kind and kind not in repertoire.rare]
    table = confusion(*zip(*judged, strict=True)) if judged else None
    if table is not None:
        names = set(repertoire.ways)
        right = table.named_alike if names.issuperset(table.known) else table.matched
        figures["way_agreement"] = Estimate(right.rate, *right.interval)
    return Profile(
        len(trajectories),
        figures,
        table,
        {mode: modes.count(mode) for mode in range(repertoire.finder.count)},
        {way: named.count(way) for way in sorted(set(named))},
    )


def _motion(trajectories: Sequence[Trajectory], resamples: int, seed: int) -> dict[str, Estimate]:
    """Return what single episodes have, as means with intervals over starts."""
    paths = [t.proprio for t in trajectories]
    values: dict[str, Sequence[float] | FloatArray] = {
        metric_key("path_length", space): path_lengths(paths, space) for space in SPACES
    }
    values |= {
        "straightness": straightness(paths),
        "episode_length": [len(path) - 1 for path in paths],
        "no_ops": [no_ops(path) for path in paths],
    }
    if all(len(path) >= 4 for path in paths):
        values["mean_squared_jerk"] = [mean_squared_jerk(path) for path in paths]
    weights = bootstrap_weights([t.start for t in trajectories], resamples, seed, False)
    weights /= weights.sum(axis=1, keepdims=True)
    return {key: estimate(weights @ np.asarray(v, float)) for key, v in values.items()}


def _pairs(
    trajectories: Sequence[Trajectory],
    modes: Sequence[int] | None,
    resamples: int,
    seed: int,
) -> dict[str, Estimate]:
    """Return what pairs of episodes have: diversity, spread within a mode, actions' variance."""
    if len(trajectories) < 2:
        return {}
    starts = [t.start for t in trajectories]
    weights = bootstrap_weights(starts, resamples, seed)
    terms = pairwise_terms(trajectories)
    figures = {key: estimate(pair_means(term, weights, starts)) for key, term in terms.items()}
    if modes is not None:
        for space in SPACES:
            within, _ = spread(terms[metric_key("mean_pairwise_distance", space)], modes)
            if within is not None:
                figures[metric_key("spread_within_mode", space)] = Estimate(within)
    actions = [t.actions for t in trajectories if t.actions is not None]
    if len(actions) == len(trajectories):
        figures |= {
            f"action_variance_{part}": Estimate(value)
            for part, value in mean_action_variance(actions).items()
        }
    return figures


def _repertoire_figures(
    trajectories: Sequence[Trajectory],
    repertoire: Repertoire,
    modes: Sequence[int],
    named: Sequence[str],
) -> dict[str, Estimate]:
    """Return entropies, relative to the demonstrations' own, and Coverage@K."""
    figures = {
        metric_key("coverage", space): Estimate(value)
        for space, value in repertoire.coverage(trajectories).items()
    }
    starts = [t.start for t in trajectories]
    ways = [way for way in repertoire.ways if way in repertoire.known]
    for key, labels, shown in (
        ("mode_entropy", modes, repertoire.modes),
        ("way_entropy", named, ways),
    ):
        if labels and entropy(shown) > 0:
            figures[key] = entropy_estimate(labels, shown, starts)
    return figures
