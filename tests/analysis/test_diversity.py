"""Diversity metrics against brute-force formulas and values worked out by hand."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from analysis.diversity import (
    FEATURE_POINTS,
    SUPPLEMENT,
    TABLE_1,
    compare,
    directions,
    distance_matrix,
    dtw_matrix,
    path_lengths,
    state_path,
    trajectory_features,
    vendi_score,
)
from analysis.trajectories import DiversityError, Trajectory, match_initial_states


def make(
    rng: np.random.Generator,
    pattern: int = -1,
    seed: int = 0,
    init_index: int = -1,
    success: bool = True,
    offset: float = 0.0,
    length: int | None = None,
) -> Trajectory:
    """A random walk whose embedding is shifted by `offset`."""
    steps = int(rng.integers(8, 20)) if length is None else length
    proprio = np.zeros((steps, 8))
    proprio[:, :3] = rng.normal(0, 0.02, (steps, 3)).cumsum(0)
    proprio[:, 3:6] = [np.pi - 0.1, 0.05, 0.0]
    embedding = rng.normal(0, 1, (steps, 3)) + offset
    return Trajectory(proprio, embedding, pattern, seed, init_index, success)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.fixture
def pair(rng: np.random.Generator) -> tuple[list[Trajectory], list[Trajectory]]:
    starts = range(7)
    return (
        [make(rng, seed=s) for s in starts],
        [make(rng, seed=s, pattern=s % 3, offset=4.0 * (s % 3)) for s in starts],
    )


def test_metrics_equal_appendix_c(pair: tuple[list[Trajectory], list[Trajectory]]) -> None:
    contrasts = compare(*pair, resamples=10)
    for i, recipe in enumerate(pair):
        found = {k: (c.baseline, c.candidate)[i].value for k, c in contrasts.items()}
        pairs = list(itertools.combinations(range(len(recipe)), 2))
        feature = trajectory_features(recipe)
        expected = {
            "mean_pairwise_distance": np.mean(
                [np.linalg.norm(feature[a] - feature[b]) for a, b in pairs]
            )
        }
        for space, paths in (
            ("", [state_path(t.proprio) for t in recipe]),
            ("embedding_", [t.embedding for t in recipe]),
        ):
            ends = np.array([p[-1] for p in paths])
            moves = np.array([p[-1] - p[0] for p in paths])
            moves /= np.linalg.norm(moves, axis=1, keepdims=True)
            lengths = [
                sum(float(np.linalg.norm(b - a)) for a, b in itertools.pairwise(p)) for p in paths
            ]
            expected |= {
                f"{space}endpoint_variance": np.trace(np.cov(ends.T)),
                f"{space}direction_variance": np.trace(np.cov(moves.T)),
                f"{space}path_length_variance": np.var(lengths, ddof=1),
            }
        for key, value in expected.items():
            assert found[key] == pytest.approx(value, rel=1e-9), key


def test_every_metric_is_reported(pair: tuple[list[Trajectory], list[Trajectory]]) -> None:
    assert list(compare(*pair, resamples=5)) == [m.key for m in TABLE_1 + SUPPLEMENT]


def test_values_by_hand() -> None:
    """Two straight paths of length 1 and 3 that end 4 apart and point oppositely."""
    first, second = np.zeros((3, 1)), np.zeros((4, 1))
    first[:, 0], second[:, 0] = [0, 0.5, 1], [0, -1, -2, -3]
    proprio = [np.zeros((len(p), 8)) for p in (first, second)]
    for states, positions in zip(proprio, (first, second), strict=True):
        states[:, 0], states[:, 3] = positions[:, 0], np.pi
    recipe = [
        Trajectory(states, embedding, -1, seed, -1, True)
        for seed, (states, embedding) in enumerate(zip(proprio, (first, second), strict=True))
    ]
    contrasts = compare(recipe, recipe, resamples=5)
    for prefix in ("", "embedding_"):
        assert contrasts[f"{prefix}endpoint_variance"].baseline.value == pytest.approx(8)
        assert contrasts[f"{prefix}direction_variance"].baseline.value == pytest.approx(2)
        assert contrasts[f"{prefix}path_length_variance"].baseline.value == pytest.approx(2)
    # The embeddings are t and -3t, 4t apart at each of the moments t in [0, 1].
    rms = 4 * np.sqrt(np.mean(np.linspace(0, 1, FEATURE_POINTS) ** 2))
    distance = contrasts["mean_pairwise_distance"]
    assert distance.baseline.value == pytest.approx(rms)
    assert distance.ratio is not None and distance.ratio.value == pytest.approx(1)


def test_features_do_not_depend_on_speed(rng: np.random.Generator) -> None:
    line = np.linspace(0, 1, 5)[:, None] * np.array([1.0, -2.0])
    slow = np.linspace(0, 1, 50)[:, None] * np.array([1.0, -2.0])
    states = np.zeros((50, 8))
    recipe = [
        Trajectory(states[:5], line, -1, 0, -1, True),
        Trajectory(states, slow, -1, 1, -1, True),
    ]
    features = trajectory_features(recipe)
    assert features.shape == (2, 2 * FEATURE_POINTS)
    np.testing.assert_allclose(features[0], features[1], atol=1e-12)


def test_dtw_equals_the_textbook_recursion(rng: np.random.Generator) -> None:
    recipe = [make(rng, seed=s) for s in range(4)]
    found = dtw_matrix(recipe)

    def dtw(a: np.ndarray, b: np.ndarray) -> float:
        cost = np.full((len(a) + 1, len(b) + 1), np.inf)
        cost[0, 0] = 0
        for i, j in itertools.product(range(len(a)), range(len(b))):
            step = min(cost[i, j], cost[i, j + 1], cost[i + 1, j])
            cost[i + 1, j + 1] = ((a[i] - b[j]) ** 2).sum() + step
        return float(np.sqrt(cost[-1, -1]))

    for i, j in itertools.product(range(4), range(4)):
        expected = dtw(recipe[i].proprio[:, :3], recipe[j].proprio[:, :3])
        assert found[i, j] == pytest.approx(expected, abs=1e-9)


def test_state_path_has_no_jump_where_axis_angle_has() -> None:
    """A tool that tilts through pointing down flips its axis-angle, but hardly moves."""
    tilt = [Rotation.from_rotvec([np.pi + angle, 0, 0]) for angle in (-0.02, -0.01, 0.01, 0.02)]
    proprio = np.zeros((4, 8))
    proprio[:, 3:6] = [r.as_rotvec() for r in tilt]
    assert np.abs(np.diff(proprio, axis=0)).max() > 6
    np.testing.assert_allclose(state_path(proprio)[:, 3], [-0.02, -0.01, 0.01, 0.02], atol=1e-9)
    assert path_lengths([state_path(proprio)])[0, 0] == pytest.approx(0.04)


def test_a_path_that_returns_has_no_direction() -> None:
    path = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 0.0]])
    np.testing.assert_array_equal(directions([path]), [[0.0, 0.0]])


def test_vendi_score_counts_clusters() -> None:
    points = np.repeat(np.eye(3) * 100, 5, axis=0)
    assert vendi_score(distance_matrix(points), bandwidth=1.0) == pytest.approx(3)
    assert vendi_score(np.zeros((4, 4)), bandwidth=0.0) == 1


def test_interval_covers_the_truth() -> None:
    """The endpoint variance of a known Gaussian, over repeated samples of 30 starts."""
    covered, repeats = 0, 60
    for repeat in range(repeats):
        rng = np.random.default_rng(repeat)
        recipe = []
        for seed in range(30):
            embedding = np.zeros((3, 2))
            embedding[-1] = rng.normal(0, [1.0, 2.0])
            recipe.append(Trajectory(np.zeros((3, 8)), embedding, -1, seed, -1, True))
        contrast = compare(recipe, recipe, resamples=300, seed=repeat)
        estimate = contrast["embedding_endpoint_variance"].baseline
        assert estimate.low is not None and estimate.high is not None
        assert estimate.low < estimate.value < estimate.high
        covered += estimate.low <= 5.0 <= estimate.high
    assert covered / repeats > 0.8


def test_bootstrap_does_not_favour_less_diversity(rng: np.random.Generator) -> None:
    """Copies within a resample form no pairs: its centre stays at the estimate."""
    recipe = [make(rng, seed=s, offset=float(rng.normal(0, 3))) for s in range(6)]
    estimate = compare(recipe, recipe)["mean_pairwise_distance"].baseline
    assert estimate.low is not None and estimate.high is not None
    biased = estimate.value * (1 - 1 / len(recipe))
    centre = (estimate.low + estimate.high) / 2
    assert abs(centre - estimate.value) < abs(centre - biased)


def test_bootstrap_is_seeded(pair: tuple[list[Trajectory], list[Trajectory]]) -> None:
    assert compare(*pair, resamples=50, seed=3) == compare(*pair, resamples=50, seed=3)
    assert compare(*pair, resamples=50, seed=3) != compare(*pair, resamples=50, seed=4)


def test_one_start_has_no_interval(rng: np.random.Generator) -> None:
    recipe = [make(rng, seed=5) for _ in range(4)]
    estimate = compare(recipe, recipe)["mean_pairwise_distance"].baseline
    assert estimate.value > 0 and estimate.low is None and estimate.high is None


def test_ratio_of_nothing_is_left_out(rng: np.random.Generator) -> None:
    still = [
        Trajectory(np.zeros((4, 8)), np.zeros((4, 3)), -1, seed, -1, True) for seed in range(3)
    ]
    contrasts = compare(still, [make(rng, seed=s, length=4) for s in range(3)])
    assert contrasts["mean_pairwise_distance"].ratio is None
    assert contrasts["mean_pairwise_distance"].baseline.value == 0


def test_match_keeps_common_successes(rng: np.random.Generator) -> None:
    baseline = [
        make(rng, seed=0),
        make(rng, seed=1, success=False),
        make(rng, seed=2),
        make(rng, seed=2),
        make(rng, seed=3, init_index=40),
        make(rng, seed=4),
    ]
    candidate = [
        make(rng, seed=s, init_index=i, pattern=z)
        for s, i, z in ((2, -1, 0), (0, -1, 0), (1, -1, 0), (3, 41, 0), (2, -1, 1), (2, -1, 2))
    ]
    first, second = match_initial_states(baseline, candidate)
    assert [t.start for t in first] == [t.start for t in second] == [(0, -1), (2, -1), (2, -1)]
    assert all(t.success for t in first + second)
    assert sorted(t.pattern for t in second) == [0, 1, 2]


def test_match_is_even_over_patterns(rng: np.random.Generator) -> None:
    """Three patterns from each start beside one baseline: each pattern is taken as often."""
    baseline = [make(rng, seed=s) for s in range(30)]
    candidate = [make(rng, seed=s, pattern=z) for s in range(30) for z in range(3)]
    first, second = match_initial_states(baseline, candidate)
    assert len(first) == len(second) == 30
    assert np.bincount([t.pattern for t in second]).tolist() == [10, 10, 10]
    again = match_initial_states(baseline, list(candidate))[1]
    assert all(a is b for a, b in zip(second, again, strict=True))


def test_match_makes_up_for_starts_without_a_choice(rng: np.random.Generator) -> None:
    """Ten starts that pattern 0 alone solved are balanced by the others."""
    baseline = [make(rng, seed=s) for s in range(30)]
    candidate = [
        make(rng, seed=s, pattern=z, success=z == 0 or s < 20) for s in range(30) for z in range(3)
    ]
    second = match_initial_states(baseline, candidate)[1]
    assert np.bincount([t.pattern for t in second]).tolist() == [10, 10, 10]


def test_match_refuses_recipes_without_common_starts(rng: np.random.Generator) -> None:
    with pytest.raises(DiversityError, match="share an initial state"):
        match_initial_states([make(rng, seed=0)], [make(rng, seed=1)])


def test_compare_refuses_unmatched(rng: np.random.Generator) -> None:
    with pytest.raises(DiversityError, match="match_initial_states"):
        compare([make(rng, seed=0), make(rng, seed=1)], [make(rng, seed=0), make(rng, seed=2)])


@pytest.mark.parametrize(
    ("proprio", "embedding", "message"),
    [
        (np.zeros((3, 7)), np.zeros((3, 2)), "proprio must have shape"),
        (np.zeros((1, 8)), np.zeros((1, 2)), "proprio must have shape"),
        (np.zeros((3, 8)), np.zeros((4, 2)), "embedding must have shape"),
        (np.full((3, 8), np.nan), np.zeros((3, 2)), "NaN"),
    ],
)
def test_malformed_trajectories(proprio: np.ndarray, embedding: np.ndarray, message: str) -> None:
    with pytest.raises(DiversityError, match=message):
        Trajectory(proprio, embedding, 0, 0, 0, True)
