"""Positions in metres and rotations in radians, against values worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from analysis.poses import (
    SPACES,
    Space,
    directions,
    distances,
    half_squares,
    moments,
    path_lengths,
    rms_distances,
    straightness,
)
from analysis.trajectories import DiversityError
from tests.analysis.paths import line, path


def mean_of_pairs(term: np.ndarray) -> float:
    return float(term[np.triu_indices(len(term), 1)].mean())


def test_yaws_count_in_radians_alone() -> None:
    """Three yaws of -90, 0 and 90 degrees to one place: (pi/2)² of three, 2/3 of that of many."""
    ways = [line([0.3, 0, 0], yaw=yaw) for yaw in (-np.pi / 2, 0, np.pi / 2)]
    assert mean_of_pairs(half_squares(ways, "positions")["endpoint"]) == pytest.approx(0)
    ends = half_squares(ways, "rotations")["endpoint"]
    assert mean_of_pairs(ends) == pytest.approx((np.pi / 2) ** 2)
    assert np.mean(ends) == pytest.approx(1.645, abs=1e-3)


def test_places_count_in_metres_alone() -> None:
    ends = [line([x, 0, 0], yaw=1.0) for x in (0.1, 0.2, 0.6)]
    expected = np.var([0.1, 0.2, 0.6], ddof=1)
    found = half_squares(ends, "positions")
    assert mean_of_pairs(found["endpoint"]) == pytest.approx(expected)
    assert mean_of_pairs(found["path_length"]) == pytest.approx(expected)
    assert mean_of_pairs(found["direction"]) == pytest.approx(0)
    for term in half_squares(ends, "rotations").values():
        assert np.abs(term).max() == pytest.approx(0, abs=1e-12)


def test_opposite_directions() -> None:
    there, back = line([0.2, 0, 0], yaw=0.5), line([-0.4, 0, 0], yaw=-1.0)
    for space in SPACES:
        assert half_squares([there, back], space)["direction"][0, 1] == pytest.approx(2)
    np.testing.assert_allclose(directions([there], "rotations"), [[0, 0, 1]], atol=1e-9)


def test_no_net_motion_has_no_direction() -> None:
    loop = path([[0.0, 0, 0], [0.1, 0, 0], [0.0, 0, 0]], [0.0, 1.0, 0.01])
    for space in SPACES:
        np.testing.assert_array_equal(directions([loop], space), [[0, 0, 0]])


def test_lengths_and_straightness() -> None:
    corner = path([[0.0, 0, 0], [0.3, 0, 0], [0.3, 0.4, 0]], [0.0, 1.0, 0.5])
    assert path_lengths([corner], "positions")[0] == pytest.approx(0.7)
    assert path_lengths([corner], "rotations")[0] == pytest.approx(1.5)
    np.testing.assert_allclose(straightness([corner, line([1, 0, 0])]), [0.5 / 0.7, 1.0])
    assert straightness([path([[0, 0, 0]] * 3)])[0] == 1


def test_distances_know_no_seam() -> None:
    """A tool that tilts through pointing down flips its axis-angle, but hardly turns."""
    tilted = [Rotation.from_rotvec([np.pi + angle, 0, 0]) for angle in (-0.02, -0.01, 0.01, 0.02)]
    states = np.zeros((4, 8))
    states[:, 3:6] = [rotation.as_rotvec() for rotation in tilted]
    assert np.abs(np.diff(states, axis=0)).max() > 6
    assert path_lengths([states], "rotations")[0] == pytest.approx(0.04)
    q = Rotation.from_rotvec([0, 0, 1e-9]).as_quat()
    same = np.array([0.0, 0.0, 0.0, 1.0])
    assert distances(q, same) == pytest.approx(1e-9, rel=1e-6)
    assert distances(same, -same) == 0


def test_rms_distance() -> None:
    """Two lines that part: d(t) = 0.3 t metres and 0.6 t radians."""
    pair = [line([0, 0, 0]), line([0.3, 0, 0], steps=25, yaw=0.6)]
    grid = np.sqrt(np.mean(np.linspace(0, 1, 32) ** 2))
    for space, far in zip(SPACES, (0.3, 0.6), strict=True):
        assert rms_distances(moments(pair, space))[0, 1] == pytest.approx(far * grid)


@pytest.mark.parametrize("space", SPACES)
def test_neither_recording_rate_nor_pace_counts(space: Space) -> None:
    slow, quick = line([0.3, 0.1, 0], 60, yaw=1.0), line([0.3, 0.1, 0], 6, yaw=1.0)
    assert rms_distances(moments([slow, quick], space))[0, 1] == pytest.approx(0, abs=1e-7)
    for term in half_squares([slow, quick], space).values():
        assert term[0, 1] == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("bad", [np.zeros((1, 8)), np.zeros((5, 3)), np.full((5, 8), np.nan)])
def test_bad_paths_are_one_clear_error(bad: np.ndarray) -> None:
    for space in SPACES:
        for measure in (moments, half_squares, path_lengths, directions):
            with pytest.raises(DiversityError, match=r"must have shape|NaN"):
                measure([bad], space)
    with pytest.raises(DiversityError, match="no path"):
        moments([], "positions")
