"""How differently a recipe solves a task: the paper's four metrics, DTW and the Vendi score.

Recipes are compared on successes from the same initial states (`match_initial_states`), since
otherwise the spread of the initial states would pass for diversity of behaviour. Each recipe gets
the same starts, as often as the other.

Every metric but the Vendi score is a mean over pairs of trajectories: a variance is half the mean
squared distance of two (the trace of the unbiased covariance). So one bootstrap serves all. It
resamples starts, because trajectories from one start are not independent, uses the same draws for
both recipes, so that their ratio has an interval too, and leaves out the pairs that a trajectory
forms with its own copies, whose zero distance would bias a resample towards less diversity.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from dtaidistance import dtw_ndim
from scipy.spatial.distance import cdist, squareform
from scipy.spatial.transform import Rotation
from vendi_score import vendi

from analysis.trajectories import DiversityError, Trajectory

FloatArray = npt.NDArray[np.float64]

FEATURE_POINTS = 32
"""Equally spaced moments at which a trajectory's embedding is read for its feature."""
CONFIDENCE = 0.95
"""Level of every interval."""
_TOOL_DOWN = Rotation.from_rotvec([np.pi, 0.0, 0.0])
"""Orientation of a gripper that points straight down, where Panda's axis-angle changes sign."""


@dataclass(frozen=True)
class Metric:
    """What a diversity metric is called and what it measures."""

    key: str
    label: str
    unit: str
    meaning: str


TABLE_1 = (
    Metric(
        "mean_pairwise_distance",
        "Mean pairwise distance",
        "",
        "RMS distance over normalised time between two trajectories' embeddings",
    ),
    Metric(
        "endpoint_variance",
        "Endpoint variance",
        "",
        "trace of the covariance of the final proprioceptive state (m² + rad²)",
    ),
    Metric(
        "direction_variance",
        "Direction variance",
        "",
        "trace of the covariance of the unit vector from first to final proprioceptive state",
    ),
    Metric(
        "path_length_variance",
        "Path length variance",
        "",
        "variance of the length of the proprioceptive path (metres and radians together)",
    ),
)
"""The four metrics of Table 1, as Appendix C.1 defines them."""

SUPPLEMENT = (
    Metric("mean_dtw", "Mean DTW", "m", "dynamic time warping between end-effector paths"),
    Metric("vendi_score", "Vendi score", "", "effective number of distinct trajectories"),
    Metric(
        "embedding_endpoint_variance",
        "Endpoint variance, embedding",
        "",
        "endpoint variance of the encoder's embeddings",
    ),
    Metric(
        "embedding_direction_variance",
        "Direction variance, embedding",
        "",
        "direction variance of the encoder's embeddings",
    ),
    Metric(
        "embedding_path_length_variance",
        "Path length variance, embedding",
        "",
        "path length variance of the encoder's embeddings",
    ),
)
"""What is reported beside Table 1."""


@dataclass(frozen=True)
class Estimate:
    """A metric with its bootstrap interval."""

    value: float
    low: float | None
    """Lower end of the 95% interval; None where resampling cannot give one."""
    high: float | None
    """Upper end of it."""


@dataclass(frozen=True)
class Contrast:
    """One metric of two recipes, on the same initial states."""

    baseline: Estimate
    candidate: Estimate
    ratio: Estimate | None
    """Candidate divided by baseline; None where the baseline is zero."""


def state_path(proprio: FloatArray) -> FloatArray:
    """Return proprioceptive states in coordinates without a jump; (T, 8) -> (T, 8).

    Axis-angle changes sign at a half turn, which is where a gripper that points down works. The
    orientation is therefore given as the rotation vector [rad] from pointing straight down, in the
    world frame; position and fingers [m] stay.
    """
    rotation = Rotation.from_rotvec(proprio[:, 3:6]) * _TOOL_DOWN.inv()
    return np.concatenate([proprio[:, :3], rotation.as_rotvec(), proprio[:, 6:]], axis=1)


def trajectory_features(trajectories: Sequence[Trajectory]) -> FloatArray:
    """Return one vector per trajectory, whatever its length; (N, FEATURE_POINTS * D).

    The embedding is interpolated linearly at FEATURE_POINTS equally spaced fractions of the
    trajectory's duration and flattened. Division by sqrt(FEATURE_POINTS) makes the Euclidean
    distance of two features the RMS over time of their embeddings' distance, whose scale does not
    depend on the number of points.
    """
    grid = np.linspace(0.0, 1.0, FEATURE_POINTS)

    def feature(embedding: FloatArray) -> FloatArray:
        time = np.linspace(0.0, 1.0, len(embedding))
        return np.stack([np.interp(grid, time, column) for column in embedding.T], axis=1).ravel()

    features = np.stack([feature(t.embedding) for t in trajectories])
    return features / math.sqrt(FEATURE_POINTS)


def distance_matrix(features: FloatArray) -> FloatArray:
    """Return the Euclidean distances between features; (N, F) -> (N, N)."""
    return np.asarray(cdist(features, features))


def endpoints(paths: Sequence[FloatArray]) -> FloatArray:
    """Return the final state s_T of each path; N of (T, D) -> (N, D)."""
    return np.stack([path[-1] for path in paths])


def directions(paths: Sequence[FloatArray]) -> FloatArray:
    """Return (s_T - s_0) / |s_T - s_0| of each path; N of (T, D) -> (N, D).

    A path that ends exactly where it began has no direction and counts as the zero vector.
    """
    difference = np.stack([path[-1] - path[0] for path in paths])
    norm = np.linalg.norm(difference, axis=1, keepdims=True)
    return difference / np.where(norm > 0, norm, 1.0)


def path_lengths(paths: Sequence[FloatArray]) -> FloatArray:
    """Return the sum of |s_{t+1} - s_t| of each path; N of (T, D) -> (N, 1)."""
    return np.array([[np.linalg.norm(np.diff(path, axis=0), axis=1).sum()] for path in paths])


def dtw_matrix(trajectories: Sequence[Trajectory]) -> FloatArray:
    """Return the dynamic time warping distances [m] between end-effector paths; (N, N).

    The root of the summed squared distances along the best alignment (dependent DTW).
    """
    paths = [np.ascontiguousarray(t.proprio[:, :3], dtype=np.float64) for t in trajectories]
    upper = dtw_ndim.distance_matrix_fast(paths, ndim=3, compact=True)
    return np.asarray(squareform(np.asarray(upper, dtype=np.float64)))


def vendi_score(distances: FloatArray, bandwidth: float) -> float:
    """Return the effective number of distinct trajectories (Friedman and Dieng, 2023), 1..N.

    Args:
        distances: (N, N) distances between trajectories.
        bandwidth: scale h of the kernel exp(-d² / 2h²); where it is zero, all are the same.
    """
    if bandwidth == 0:
        return 1.0
    return float(vendi.score_K(np.exp(-0.5 * (distances / bandwidth) ** 2)))


def pairwise_terms(trajectories: Sequence[Trajectory]) -> dict[str, FloatArray]:
    """Return, per metric, the (N, N) matrix whose mean over pairs is the metric."""
    terms = {
        "mean_pairwise_distance": distance_matrix(trajectory_features(trajectories)),
        "mean_dtw": dtw_matrix(trajectories),
    }
    spaces = {
        "": [state_path(t.proprio) for t in trajectories],
        "embedding_": [t.embedding for t in trajectories],
    }
    for space, paths in spaces.items():
        vectors = {
            "endpoint": endpoints(paths),
            "direction": directions(paths),
            "path_length": path_lengths(paths),
        }
        for name, vector in vectors.items():
            terms[f"{space}{name}_variance"] = cdist(vector, vector, "sqeuclidean") / 2
    return terms


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

    Raises:
        DiversityError: fewer than two trajectories, or the recipes' starts differ.
    """
    starts = [t.start for t in baseline]
    if len(starts) < 2 or starts != [t.start for t in candidate]:
        raise DiversityError("compare() needs the two lists that match_initial_states() returns")
    weights = _bootstrap_weights(starts, resamples, np.random.default_rng(seed))
    terms = [pairwise_terms(recipe) for recipe in (baseline, candidate)]
    contrasts = {key: _contrast(terms[0][key], terms[1][key], weights) for key in terms[0]}

    distances = [term["mean_pairwise_distance"] for term in terms]
    upper = np.triu_indices(len(starts), 1)
    bandwidth = float(np.median(np.concatenate([d[upper] for d in distances])))
    scores = [vendi_score(d, bandwidth) for d in distances]
    contrasts["vendi_score"] = Contrast(
        Estimate(scores[0], None, None),
        Estimate(scores[1], None, None),
        Estimate(scores[1] / scores[0], None, None),
    )
    return {metric.key: contrasts[metric.key] for metric in TABLE_1 + SUPPLEMENT}


def _bootstrap_weights(
    starts: Sequence[tuple[int, int]], resamples: int, rng: np.random.Generator
) -> FloatArray:
    """Return how often each trajectory is drawn when starts are resampled; (resamples + 1, N).

    Row 0 is the sample itself. Draws of a single start with a single trajectory hold no pair and
    are left out.
    """
    _, group = np.unique(np.array(starts), axis=0, return_inverse=True)
    count = int(group.max()) + 1
    draws = rng.multinomial(count, np.full(count, 1 / count), size=resamples)[:, group.ravel()]
    draws = draws[(draws > 0).sum(axis=1) > 1]
    return np.concatenate([np.ones((1, len(starts))), draws])


def _contrast(baseline: FloatArray, candidate: FloatArray, weights: FloatArray) -> Contrast:
    """Return two recipes' weighted means over pairs, and their ratio, with intervals."""
    first, second = _pair_means(baseline, weights), _pair_means(candidate, weights)
    distinct_starts = len(np.unique(weights, axis=0)) > 1
    defined = first > 0
    ratio = None
    if defined[0]:
        ratio = _estimate(second[defined] / first[defined], distinct_starts)
    return Contrast(_estimate(first, distinct_starts), _estimate(second, distinct_starts), ratio)


def _pair_means(term: FloatArray, weights: FloatArray) -> FloatArray:
    """Return the mean of `term` over pairs of different trajectories, per row of weights; (B,).

    A pair counts as often as the product of how often its two trajectories were drawn.
    """
    total = ((weights @ term) * weights).sum(axis=1)
    pairs = weights.sum(axis=1) ** 2 - (weights**2).sum(axis=1)
    return np.asarray(total / pairs)


def _estimate(values: FloatArray, interval: bool) -> Estimate:
    """Return values[0] with the percentile interval of the others, where there is one."""
    if not interval:
        return Estimate(float(values[0]), None, None)
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(values[1:], [tail, 1 - tail])
    return Estimate(float(values[0]), float(low), float(high))
