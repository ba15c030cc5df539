"""How differently a recipe solves a task: the paper's four metrics, DTW and the Vendi score.

Each is computed for the hand's positions, in metres, and for its rotations, in radians, and never
for both together: on a state of both, three ways that turn the hand by -90, 0 and 90 degrees have
an endpoint variance of 1.64 wherever they go. The paper's own space, an encoder's embedding, is
beside them; where DLR's encoder made it, it was trained to separate DLR's patterns.

Recipes are compared on successes from the same initial states (`match_initial_states`), since
otherwise the spread of the initial states would pass for diversity of behaviour. Each recipe gets
the same starts, as often as the other.

Every metric but the Vendi score is a mean over pairs of trajectories: a variance is half the mean
squared distance of two (the trace of the unbiased covariance). So one bootstrap serves all. It
resamples starts, because trajectories from one start are not independent, uses the same draws for
both recipes, so that their ratio has an interval too, and leaves out the pairs that a start's
trajectories form with their own copies (`analysis.statistics.pair_means`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.spatial.distance import cdist
from vendi_score import vendi

from analysis.alignment import dtw_matrix
from analysis.poses import MOMENTS, SPACES, half_squares, moments, rms_distances
from analysis.statistics import Estimate, bootstrap_weights, estimate, pair_means
from analysis.trajectories import DiversityError, Trajectory

FloatArray = npt.NDArray[np.float64]

ENCODER = "encoder"
"""Space of the embedding, beside `positions` and `rotations`."""


@dataclass(frozen=True)
class Metric:
    """What a diversity metric is called and what it measures."""

    key: str
    label: str
    units: Mapping[str, str]
    """Unit in each space."""
    meaning: str
    """What it means, in a sentence."""


def _units(positions: str, rotations: str) -> dict[str, str]:
    return {"positions": positions, "rotations": rotations, ENCODER: ""}


TABLE_1 = (
    Metric(
        "mean_pairwise_distance",
        "Mean pairwise distance",
        _units("m", "rad"),
        "How far apart two episodes are on average (RMS over moments of equal progress).",
    ),
    Metric(
        "endpoint_variance",
        "Endpoint variance",
        _units("m²", "rad²"),
        "How differently episodes end: the variance of the hand's last pose.",
    ),
    Metric(
        "direction_variance",
        "Direction variance",
        _units("", ""),
        "How differently episodes lead from start to end: the variance of the net motion's unit "
        "vector, of rotations that of their axis.",
    ),
    Metric(
        "path_length_variance",
        "Path length variance",
        _units("m²", "rad²"),
        "How unequal the lengths of paths are; a few that wander raise it as ways do.",
    ),
)
"""The four metrics of Table 1, as Appendix C.1 defines them."""

SUPPLEMENT = (
    Metric(
        "mean_dtw",
        "Mean DTW",
        _units("m", "rad"),
        "How far apart two episodes are once their pace is aligned (dynamic time warping).",
    ),
    Metric(
        "vendi_score",
        "Vendi score",
        _units("", ""),
        "How many different episodes there are in effect, by both recipes' median distance.",
    ),
)
"""What is reported beside Table 1, of positions and rotations alone."""


@dataclass(frozen=True)
class Contrast:
    """One metric of two recipes, on the same initial states."""

    baseline: Estimate
    candidate: Estimate
    ratio: Estimate | None
    """Candidate divided by baseline; None where the baseline is zero."""


def metric_key(metric: str, space: str) -> str:
    """Return the key of a metric in a space, such as `endpoint_variance_rotations`."""
    return f"{metric}_{space}"


def trajectory_features(trajectories: Sequence[Trajectory]) -> FloatArray:
    """Return the hand's positions as one vector per trajectory; (N, 3 * MOMENTS).

    Division by sqrt(MOMENTS) makes the Euclidean distance of two features the RMS distance [m]
    over moments of equal progress.
    """
    read = moments([t.proprio for t in trajectories], "positions")
    return read.reshape(len(read), -1) / math.sqrt(MOMENTS)


def distance_matrix(features: FloatArray) -> FloatArray:
    """Return the Euclidean distances between features; (N, F) -> (N, N)."""
    return np.asarray(cdist(features, features))


def vendi_score(distances: FloatArray, bandwidth: float) -> float:
    """Return the effective number of distinct trajectories (Friedman and Dieng, 2023), 1..N.

    Args:
        distances: (N, N) distances between trajectories, of any unit.
        bandwidth: scale h of the kernel exp(-d² / 2h²), of the same unit; where it is zero, all
            are the same.

    Raises:
        DiversityError: a distance is NaN or infinite.
    """
    if not np.isfinite(distances).all():
        raise DiversityError("a distance between trajectories is NaN or infinite")
    if bandwidth == 0:
        return 1.0
    return float(vendi.score_K(np.exp(-0.5 * (distances / bandwidth) ** 2)))


def pairwise_terms(trajectories: Sequence[Trajectory]) -> dict[str, FloatArray]:
    """Return, per metric and space, the (N, N) matrix whose mean over pairs is the metric.

    The encoder's space is there where every trajectory has an embedding.
    """
    paths = [t.proprio for t in trajectories]
    terms: dict[str, FloatArray] = {}
    for space in SPACES:
        found = {f"{name}_variance": term for name, term in half_squares(paths, space).items()}
        found["mean_pairwise_distance"] = rms_distances(moments(paths, space))
        found["mean_dtw"] = dtw_matrix(paths, space)
        terms |= {metric_key(name, space): term for name, term in found.items()}
    embeddings = [t.embedding for t in trajectories if t.embedding is not None]
    if len(embeddings) == len(trajectories):
        terms |= {metric_key(n, ENCODER): term for n, term in _encoder_terms(embeddings).items()}
    return terms


def _encoder_terms(embeddings: Sequence[FloatArray]) -> dict[str, FloatArray]:
    """Return the terms of Table 1 in an encoder's space, whose numbers have no unit."""
    grid = np.linspace(0.0, 1.0, MOMENTS)

    def feature(embedding: FloatArray) -> FloatArray:
        time = np.linspace(0.0, 1.0, len(embedding))
        return np.stack([np.interp(grid, time, column) for column in embedding.T], axis=1).ravel()

    net = np.stack([e[-1] - e[0] for e in embeddings])
    norm = np.linalg.norm(net, axis=1, keepdims=True)
    vectors = {
        "endpoint_variance": np.stack([e[-1] for e in embeddings]),
        "direction_variance": net / np.where(norm > 0, norm, 1.0),
        "path_length_variance": np.array(
            [[np.linalg.norm(np.diff(e, axis=0), axis=1).sum()] for e in embeddings]
        ),
    }
    features = np.stack([feature(e) for e in embeddings]) / math.sqrt(MOMENTS)
    terms = {"mean_pairwise_distance": distance_matrix(features)}
    return terms | {name: cdist(v, v, "sqeuclidean") / 2 for name, v in vectors.items()}


def compare(
    baseline: Sequence[Trajectory],
    candidate: Sequence[Trajectory],
    resamples: int = 2000,
    seed: int = 0,
) -> dict[str, Contrast]:
    """Return every metric of TABLE_1 and SUPPLEMENT for two recipes on the same initial states.

    The Vendi score, which is no mean over pairs, has no interval: its kernel exp(-d² / 2h²) takes
    h = the median distance over the pairs of either recipe.

    Args:
        baseline: N successes, aligned with `candidate` by `match_initial_states`.
        candidate: N successes of the other recipe.
        resamples: bootstrap draws of the starts.
        seed: seed of these draws.

    Returns:
        Contrasts by `metric_key`, spaces in turn; the encoder's where both recipes have it.

    Raises:
        DiversityError: fewer than two trajectories, or the recipes' starts differ.
    """
    starts = [t.start for t in baseline]
    if len(starts) < 2 or starts != [t.start for t in candidate]:
        raise DiversityError("compare() needs the two lists that match_initial_states() returns")
    weights = bootstrap_weights(starts, resamples, seed)
    first, second = (pairwise_terms(recipe) for recipe in (baseline, candidate))
    contrasts = {
        k: _contrast(first[k], second[k], weights, starts) for k in first.keys() & second.keys()
    }
    for space in SPACES:
        key = metric_key("mean_pairwise_distance", space)
        contrasts[metric_key("vendi_score", space)] = _vendi_contrast(first[key], second[key])
    keys = [metric_key(m.key, s) for s in (*SPACES, ENCODER) for m in TABLE_1 + SUPPLEMENT]
    return {key: contrasts[key] for key in keys if key in contrasts}


def _vendi_contrast(baseline: FloatArray, candidate: FloatArray) -> Contrast:
    upper = np.triu_indices(len(baseline), 1)
    bandwidth = float(np.median(np.concatenate([baseline[upper], candidate[upper]])))
    first, second = (vendi_score(term, bandwidth) for term in (baseline, candidate))
    return Contrast(Estimate(first), Estimate(second), Estimate(second / first))


def _contrast(
    baseline: FloatArray,
    candidate: FloatArray,
    weights: FloatArray,
    starts: Sequence[tuple[int, int]],
) -> Contrast:
    """Return two recipes' weighted means over pairs, and their ratio, with intervals."""
    first, second = (pair_means(term, weights, starts) for term in (baseline, candidate))
    defined = first > 0
    ratio = estimate(second[defined] / first[defined]) if defined[0] else None
    return Contrast(estimate(first), estimate(second), ratio)
