"""What a source is like: ways kept, ways lost, and wandering that is no way."""

from __future__ import annotations

import numpy as np
import pytest

from analysis.profile import Repertoire, profile
from analysis.trajectories import DiversityError, Trajectory
from tests.analysis.paths import line, three_ways, trajectory


@pytest.fixture(scope="module")
def repertoire() -> Repertoire:
    return Repertoire(three_ways(10))


def measured(trajectories: list[Trajectory], repertoire: Repertoire | None = None) -> dict:
    return {
        key: found.value
        for key, found in profile(trajectories, repertoire, resamples=20).figures.items()
    }


def test_episodes_of_one_start_are_drawn_together() -> None:
    """Three copies from each start tell no more than one, so the interval is as wide."""
    lone = [trajectory(t.proprio, seed) for seed, t in enumerate(three_ways(4))]
    thrice = [one for one in lone for _ in range(3)]
    once, three = (profile(episodes, resamples=500).figures for episodes in (lone, thrice))
    for key in ("path_length_positions", "straightness", "mean_squared_jerk"):
        assert three[key].low == pytest.approx(once[key].low)
        assert three[key].high == pytest.approx(once[key].high)


def test_all_ways_are_kept(repertoire: Repertoire) -> None:
    found = profile(three_ways(5, seed=1, named=False), repertoire, resamples=20)
    figures = {key: value.value for key, value in found.figures.items()}
    assert figures["mode_entropy"] == pytest.approx(1) == figures["way_entropy"]
    assert found.ways == {"left": 5, "middle": 5, "right": 5}
    assert sorted(found.modes.values()) == [5, 5, 5]
    assert found.confusion is None and "way_agreement" not in figures


def test_a_way_that_was_shown_once_hides_no_others() -> None:
    shown = [t for t in three_ways(6) if t.way != "right"] + three_ways(2, seed=7)[2:6:3]
    assert [t.way for t in shown].count("right") == 2
    repertoire = Repertoire(shown)
    assert repertoire.known == {"left", "middle"}
    made = [t for t in three_ways(4, seed=1) if t.way != "right"]
    found = profile(made, repertoire, resamples=20)
    assert found.ways == {"left": 4, "middle": 4}
    assert found.figures["way_entropy"].value == pytest.approx(1)
    assert found.figures["way_agreement"].value == 1
    own = profile(shown, repertoire, resamples=20)
    assert own.confusion is not None and own.confusion.known == ("left", "middle")
    assert own.figures["way_agreement"].value == 1 and own.episodes == 14
    assert Repertoire(shown[-2:] + shown[:1]).classifier is None


def test_one_way_is_seen(repertoire: Repertoire) -> None:
    lone = [t for t in three_ways(12, seed=2) if t.way == "left"]
    whole = measured(three_ways(4, seed=2), repertoire)
    figures = measured(lone, repertoire)
    assert figures["mode_entropy"] == figures["way_entropy"] == 0
    assert figures["way_agreement"] == 1
    for space in ("positions", "rotations"):
        assert 0 < figures[f"coverage_{space}"] <= 1 / 3 < whole[f"coverage_{space}"]
        distance, spread = f"mean_pairwise_distance_{space}", f"spread_within_mode_{space}"
        assert figures[distance] == pytest.approx(figures[spread])
        assert whole[distance] > 3 * whole[spread]


def test_wandering_is_not_taken_for_ways(repertoire: Repertoire) -> None:
    """Loops of drawn size on one way raise the variance of lengths, but no entropy."""
    rng, wandering = np.random.default_rng(0), []
    for seed, given in enumerate(t for t in three_ways(12, seed=3) if t.way == "middle"):
        states, time = given.proprio.copy(), np.linspace(0, 1, len(given.proprio))
        states[:, 0] += rng.uniform(0.01, 0.06) * np.sin(6 * np.pi * time)
        wandering.append(trajectory(states, seed))
    figures, usual = measured(wandering, repertoire), measured(three_ways(4, seed=3), repertoire)
    assert figures["path_length_variance_positions"] > usual["path_length_variance_positions"]
    assert figures["mode_entropy"] == 0
    assert figures["straightness"] < usual["straightness"]
    assert figures["path_length_positions"] > usual["path_length_positions"]
    assert figures["spread_within_mode_positions"] > 2 * usual["spread_within_mode_positions"]


def test_demonstrations_are_held_against_each_other(repertoire: Repertoire) -> None:
    found = profile(repertoire.demonstrations, repertoire, resamples=20)
    assert found.figures["mode_entropy"].value == 1
    assert found.figures["way_agreement"].value == 1
    assert found.figures["way_agreement"].low == pytest.approx(0.886, abs=1e-3)
    assert found.confusion is not None
    assert found.confusion.counts.tolist() == (10 * np.eye(3)).tolist()
    # Five of the 29 others match, and ten of them are drawn.
    missed = np.prod([(24 - i) / (29 - i) for i in range(10)])
    assert found.figures["coverage_positions"].value == pytest.approx(1 - missed, abs=0.01)


def test_patterns_are_matched_with_ways(repertoire: Repertoire) -> None:
    patterns = {"left": 2, "middle": 0, "right": 1}
    made = [
        trajectory(t.proprio, t.seed, patterns[t.way]) for t in three_ways(4, seed=4)
    ]  # fmt: skip
    found = profile(made, repertoire, resamples=20)
    assert found.figures["way_agreement"].value == 1
    assert found.confusion is not None
    assert found.confusion.known == ("pattern 0", "pattern 1", "pattern 2")


def test_people_need_no_names() -> None:
    nameless = three_ways(6, named=False)
    figures = measured(nameless, Repertoire(nameless))
    assert figures["mode_entropy"] == 1
    assert "way_entropy" not in figures


def test_order_of_episodes_does_not_count(repertoire: Repertoire) -> None:
    made = three_ways(4, seed=5, named=False)
    assert measured(made[::-1], repertoire) == pytest.approx(measured(made, repertoire))


def test_one_episode_and_identical_ones(repertoire: Repertoire) -> None:
    alone = trajectory(line([0.5, 0, 0]))
    figures = measured([alone], repertoire)
    assert figures["straightness"] == pytest.approx(1)
    assert "endpoint_variance_positions" not in figures and "coverage_positions" not in figures
    same = measured([trajectory(line([0.5, 0, 0]), seed) for seed in range(4)])
    for key, value in same.items():
        if "variance" in key or "distance" in key or "dtw" in key:
            assert value == pytest.approx(0, abs=1e-12), key
    with pytest.raises(DiversityError, match="no successful episode"):
        profile([], repertoire)
    with pytest.raises(DiversityError, match="NaN"):
        trajectory(line([np.nan, 0, 0]))
