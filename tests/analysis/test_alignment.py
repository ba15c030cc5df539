"""Time-aligned distances against textbook recursions and a library's."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from dtaidistance import dtw_ndim

from analysis.alignment import dtw_matrix, gak_bandwidth, gak_distances
from analysis.poses import SPACES, Space, moments
from analysis.trajectories import DiversityError
from tests.analysis.paths import arc, line, path


@pytest.fixture
def arcs() -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [arc(side, 3 * side, rng) for side in (-0.1, -0.05, 0.1, 0.2)]


def test_dtw_equals_a_library(arcs: list[np.ndarray]) -> None:
    found = dtw_matrix(arcs, "positions", 20)
    read = moments(arcs, "positions", 20)
    for i, j in itertools.product(range(4), repeat=2):
        assert found[i, j] * np.sqrt(20) == pytest.approx(dtw_ndim.distance(read[i], read[j]))


def test_dtw_of_paths_side_by_side_is_their_distance() -> None:
    aside = line([0.5, 0, 0]) + np.array([0, 0.2, 0, 0, 0, 0, 0, 0])
    assert dtw_matrix([line([0.5, 0, 0]), aside], "positions")[0, 1] == pytest.approx(0.2)
    turned = [path(np.zeros((9, 3)), np.full(9, yaw)) for yaw in (0.0, 0.4)]
    assert dtw_matrix(turned, "rotations")[0, 1] == pytest.approx(0.4)


def test_pace_is_forgiven_and_recording_rate_too(arcs: list[np.ndarray]) -> None:
    time = np.linspace(0, 1, 200)
    even, hurried = time[:, None] * [0.5, 0, 0], time[:, None] ** 2 * [0.5, 0, 0]
    pair = [path(even, time), path(hurried, time**2)]
    for space, far in zip(SPACES, (0.5, 1.0), strict=True):
        apart = np.sqrt(np.mean((far * (time - time**2)) ** 2))
        assert dtw_matrix(pair, space)[0, 1] < 0.2 * apart
    assert dtw_matrix([arcs[0], arcs[0].repeat(2, axis=0)], "positions")[0, 1] < 2e-3


def test_kernel_equals_the_textbook_recursion(arcs: list[np.ndarray]) -> None:
    width, count = 0.3, 6
    read = moments(arcs, "positions", count)

    def kernel(a: np.ndarray, b: np.ndarray) -> float:
        table = np.zeros((count + 1, count + 1))
        table[0, 0] = 1
        for i, j in itertools.product(range(count), repeat=2):
            k = np.exp(-((a[i] - b[j]) ** 2).sum() / (2 * width**2))
            before = table[i, j + 1] + table[i + 1, j] + table[i, j]
            table[i + 1, j + 1] = k / (2 - k) * before
        return float(table[-1, -1])

    found = gak_distances(arcs, arcs[1:], "positions", width, count)
    assert found.shape == (4, 3)
    for i, j in itertools.product(range(4), range(3)):
        a, b = read[i], read[j + 1]
        expected = -np.log(kernel(a, b) / np.sqrt(kernel(a, a) * kernel(b, b)))
        assert found[i, j] == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("space", SPACES)
def test_order_changes_no_distance(arcs: list[np.ndarray], space: Space) -> None:
    turned = arcs[::-1]
    forth, back = dtw_matrix(arcs, space), dtw_matrix(turned, space)
    np.testing.assert_allclose(back, forth[::-1, ::-1])
    width = gak_bandwidth(arcs, space)
    forth, back = (gak_distances(a, a, space, width) for a in (arcs, turned))
    np.testing.assert_allclose(back, forth[::-1, ::-1], atol=1e-12)
    np.testing.assert_allclose(np.diag(forth), 0, atol=1e-9)


@pytest.mark.parametrize("count", [120, 256, 512, 1024])
def test_the_bandwidth_is_of_all_moments(arcs: list[np.ndarray], count: int) -> None:
    """All paths begin in one place, and go apart from there."""
    many = [arcs[i % len(arcs)] for i in range(count)]
    whole = gak_bandwidth(arcs * 4, "positions")
    assert gak_bandwidth(many, "positions") == pytest.approx(whole, rel=0.1)


def test_degenerate_paths() -> None:
    still = path(np.zeros((5, 3)))
    assert dtw_matrix([still], "positions").tolist() == [[0]]
    assert dtw_matrix([still, still], "rotations")[0, 1] == 0
    assert gak_distances([still, still], [still], "positions").max() == 0
    with pytest.raises(DiversityError, match="must be positive"):
        gak_distances([still], [still], "positions", 0.0)
    with pytest.raises(DiversityError, match="NaN"):
        dtw_matrix([still, still * np.nan], "positions")
