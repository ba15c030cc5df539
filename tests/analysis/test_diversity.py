"""Diversity metrics against brute-force formulas and values worked out by hand."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from analysis.diversity import (
    ENCODER,
    SUPPLEMENT,
    TABLE_1,
    compare,
    distance_matrix,
    metric_key,
    trajectory_features,
    vendi_score,
)
from analysis.poses import MOMENTS, SPACES, moments
from analysis.trajectories import DiversityError, Trajectory, match_initial_states
from tests.analysis.paths import line, trajectory


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
        read = moments([t.proprio for t in recipe], "positions")
        apart = [np.sqrt(np.mean(((read[a] - read[b]) ** 2).sum(axis=1))) for a, b in pairs]
        expected = {"mean_pairwise_distance_positions": np.mean(apart)}
        for space, paths in (
            ("positions", [t.proprio[:, :3] for t in recipe]),
            (ENCODER, [t.embedding for t in recipe if t.embedding is not None]),
        ):
            ends = np.array([p[-1] for p in paths])
            moves = np.array([p[-1] - p[0] for p in paths])
            moves /= np.linalg.norm(moves, axis=1, keepdims=True)
            lengths = [
                sum(float(np.linalg.norm(b - a)) for a, b in itertools.pairwise(p)) for p in paths
            ]
            expected |= {
                f"endpoint_variance_{space}": np.trace(np.cov(ends.T)),
                f"direction_variance_{space}": np.trace(np.cov(moves.T)),
                f"path_length_variance_{space}": np.var(lengths, ddof=1),
            }
        for key, value in expected.items():
            assert found[key] == pytest.approx(value, rel=1e-9), key


def test_every_metric_is_reported(pair: tuple[list[Trajectory], list[Trajectory]]) -> None:
    poses = [metric_key(m.key, space) for space in SPACES for m in TABLE_1 + SUPPLEMENT]
    encoder = [metric_key(m.key, ENCODER) for m in TABLE_1]
    assert list(compare(*pair, resamples=5)) == poses + encoder
    first, second = ([trajectory(t.proprio, t.seed) for t in recipe] for recipe in pair)
    assert list(compare(first, second, resamples=5)) == poses


def test_metres_and_radians_are_never_added() -> None:
    """Three yaws to one place have no variance of positions, three places none of rotations."""
    yaws = [trajectory(line([0.3, 0, 0], yaw=y), i) for i, y in enumerate((-1.5, 0.0, 1.5))]
    places = [trajectory(line([x, 0, 0], yaw=1.0), i) for i, x in enumerate((0.1, 0.3, 0.5))]
    contrasts = compare(yaws, places, resamples=5)
    for metric in ("mean_pairwise_distance", "endpoint_variance", "mean_dtw"):
        positions, rotations = (contrasts[metric_key(metric, space)] for space in SPACES)
        assert positions.baseline.value < 1e-12 and positions.candidate.value > 0.01
        assert rotations.candidate.value < 1e-7 and rotations.baseline.value > 0.5
    assert contrasts["endpoint_variance_positions"].candidate.value == pytest.approx(0.04)
    assert contrasts["endpoint_variance_rotations"].baseline.value == pytest.approx(2.25)


def test_values_by_hand() -> None:
    """Two straight paths of length 1 and 3 that end 4 apart and point oppositely."""
    first, second = np.zeros((3, 1)), np.zeros((4, 1))
    first[:, 0], second[:, 0] = [0, 0.5, 1], [0, -1, -2, -3]
    proprio = [np.zeros((3, 8)), np.zeros((4, 8))]
    for states, positions in zip(proprio, (first, second), strict=True):
        states[:, 0], states[:, 3] = positions[:, 0], np.pi
    recipe = [
        Trajectory(states, embedding, -1, seed, -1, True)
        for seed, (states, embedding) in enumerate(zip(proprio, (first, second), strict=True))
    ]
    contrasts = compare(recipe, recipe, resamples=5)
    # The paths are t and -3t, 4t apart at each of the moments t in [0, 1].
    rms = 4 * np.sqrt(np.mean(np.linspace(0, 1, MOMENTS) ** 2))
    for space in ("positions", ENCODER):
        assert contrasts[f"endpoint_variance_{space}"].baseline.value == pytest.approx(8)
        assert contrasts[f"direction_variance_{space}"].baseline.value == pytest.approx(2)
        assert contrasts[f"path_length_variance_{space}"].baseline.value == pytest.approx(2)
        distance = contrasts[f"mean_pairwise_distance_{space}"]
        assert distance.baseline.value == pytest.approx(rms)
        assert distance.ratio is not None and distance.ratio.value == pytest.approx(1)
    assert contrasts["endpoint_variance_rotations"].baseline.value == 0


def test_features_are_positions_in_metres() -> None:
    recipe = [trajectory(line([0.3, 0, 0])), trajectory(line([0.3, 0.4, 0], 50, yaw=2.0))]
    features = trajectory_features(recipe)
    assert features.shape == (2, 3 * MOMENTS)
    expected = 0.4 * np.sqrt(np.mean(np.linspace(0, 1, MOMENTS) ** 2))
    assert distance_matrix(features)[0, 1] == pytest.approx(expected)


def test_order_of_starts_does_not_count(
    pair: tuple[list[Trajectory], list[Trajectory]],
) -> None:
    forth, back = compare(*pair, resamples=50), compare(pair[0][::-1], pair[1][::-1], resamples=50)
    for key, contrast in forth.items():
        for one, other in (
            (contrast.ratio, back[key].ratio),
            (contrast.baseline, back[key].baseline),
        ):
            if one is None or other is None:
                assert one is other and "rotations" in key
                continue
            found, expected = (
                [x for x in (e.value, e.low, e.high) if x is not None] for e in (one, other)
            )
            assert found == pytest.approx(expected, rel=1e-6, abs=1e-9), key


def test_vendi_score_counts_clusters() -> None:
    points = np.repeat(np.eye(3) * 100, 5, axis=0)
    assert vendi_score(distance_matrix(points), bandwidth=1.0) == pytest.approx(3)
    assert vendi_score(np.zeros((4, 4)), bandwidth=0.0) == 1


def test_bootstrap_does_not_favour_less_diversity(rng: np.random.Generator) -> None:
    """Copies within a resample form no pairs: its centre stays at the estimate."""
    recipe = [make(rng, seed=s, offset=float(rng.normal(0, 3))) for s in range(6)]
    estimate = compare(recipe, recipe)["mean_pairwise_distance_encoder"].baseline
    assert estimate.low is not None and estimate.high is not None
    biased = estimate.value * (1 - 1 / len(recipe))
    centre = (estimate.low + estimate.high) / 2
    assert abs(centre - estimate.value) < abs(centre - biased)


def test_bootstrap_is_seeded(pair: tuple[list[Trajectory], list[Trajectory]]) -> None:
    assert compare(*pair, resamples=50, seed=3) == compare(*pair, resamples=50, seed=3)
    assert compare(*pair, resamples=50, seed=3) != compare(*pair, resamples=50, seed=4)


def test_one_start_has_no_interval(rng: np.random.Generator) -> None:
    recipe = [make(rng, seed=5) for _ in range(4)]
    estimate = compare(recipe, recipe)["mean_pairwise_distance_encoder"].baseline
    assert estimate.value > 0 and estimate.low is None and estimate.high is None


def test_ratio_of_nothing_is_left_out(rng: np.random.Generator) -> None:
    still = [
        Trajectory(np.zeros((4, 8)), np.zeros((4, 3)), -1, seed, -1, True) for seed in range(3)
    ]
    contrasts = compare(still, [make(rng, seed=s, length=4) for s in range(3)])
    assert contrasts["mean_pairwise_distance_encoder"].ratio is None
    assert contrasts["mean_pairwise_distance_encoder"].baseline.value == 0


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
        (np.zeros((1, 8)), np.zeros((1, 2)), "path must have shape"),
        (np.zeros((3, 8)), np.zeros((4, 2)), "embedding must have shape"),
        (np.full((3, 8), np.nan), np.zeros((3, 2)), "NaN"),
        (np.zeros((3, 8)), np.full((3, 2), np.inf), "embedding has a NaN"),
    ],
)
def test_malformed_trajectories(proprio: np.ndarray, embedding: np.ndarray, message: str) -> None:
    with pytest.raises(DiversityError, match=message):
        Trajectory(proprio, embedding, 0, 0, 0, True)


def test_malformed_actions() -> None:
    for actions, message in ((np.zeros((3, 7)), r"\(2, 7\)"), (np.full((2, 7), np.nan), "NaN")):
        with pytest.raises(DiversityError, match=message):
            Trajectory(np.zeros((3, 8)), None, 0, 0, 0, True, actions)
