"""The hand's positions and its rotations along paths, always apart: metres are no radians."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy.spatial.distance import cdist
from scipy.spatial.transform import Rotation, Slerp

from analysis.trajectories import DiversityError, check_path

FloatArray = npt.NDArray[np.float64]
Space = Literal["positions", "rotations"]
"""What of the hand's pose is measured: where it is [m], or how it is turned [rad]."""
SPACES: tuple[Space, Space] = ("positions", "rotations")
MOMENTS = 32
"""Equally spaced fractions of a path's duration at which it is read, whatever its length."""
LEAST_TURN = 0.05
"""A hand whose last orientation is less than this [rad] from its first has turned nowhere."""


def moments(paths: Sequence[FloatArray], space: Space, count: int = MOMENTS) -> FloatArray:
    """Return the poses of N paths at `count` equally spaced fractions of their durations.

    So neither the number of states nor the speed of the whole counts.

    Args:
        paths: N of (T, 6 or more): position [m] and axis-angle [rad] of the hand, world frame.
        space: `positions` are interpolated linearly, `rotations` along great circles (slerp).
        count: number of moments.

    Returns:
        (N, count, 3) positions [m], or (N, count, 4) unit quaternions (x, y, z, w).

    Raises:
        DiversityError: there is no path, or one is malformed or not finite.
    """
    if not len(paths):
        raise DiversityError("there is no path to measure")
    grid = np.linspace(0.0, 1.0, count)
    read = []
    for path in paths:
        time = np.linspace(0.0, 1.0, check_path(path))
        if space == "positions":
            read.append(np.stack([np.interp(grid, time, axis) for axis in path[:, :3].T], axis=1))
        else:
            read.append(Slerp(time, Rotation.from_rotvec(path[:, 3:6]))(grid).as_quat())
    return np.stack(read)


def distances(first: FloatArray, second: FloatArray) -> FloatArray:
    """Return the distance of poses, elementwise: metres of positions, radians of quaternions.

    Args:
        first: (..., 3) positions [m] or (..., 4) unit quaternions.
        second: as many, or what broadcasts with them.

    Returns:
        (...) Euclidean distance [m], or the angle [rad] of the rotation between two orientations.
    """
    apart = first - second
    square = np.einsum("...i,...i->...", apart, apart)
    if first.shape[-1] == 3:
        return np.asarray(np.sqrt(square))
    # A quaternion and its negative are one orientation; of unit ones, |q + p|² = 4 - |q - p|².
    chord = np.sqrt(np.maximum(np.minimum(square, 4.0 - square), 0.0))
    return np.asarray(4.0 * np.arcsin(np.minimum(chord / 2.0, 1.0)))


def rms_distances(read: FloatArray) -> FloatArray:
    """Return the RMS over moments of the distance of each two of N paths; [m] or [rad].

    Args:
        read: (N, P, 3) or (N, P, 4), as `moments` gives them.

    Returns:
        (N, N).
    """
    square = np.zeros((len(read), len(read)))
    for poses in read.swapaxes(0, 1):
        square += distances(poses[:, None], poses[None]) ** 2
    return np.sqrt(square / read.shape[1])


def half_squares(paths: Sequence[FloatArray], space: Space) -> dict[str, FloatArray]:
    """Return half the squared differences of each two of N paths, whose means are variances.

    The mean over pairs of half the squared distance is the trace of the unbiased covariance; for
    rotations the distance is the angle between two orientations, so that no chart's seam counts.

    Returns:
        (N, N) by name: `endpoint` of the last pose [m² or rad²], `direction` of the unit vector
        of the net motion (for rotations, its axis), `path_length` of the length [m² or rad²].
    """
    ends = moments(paths, space, 2)
    last, lengths = ends[:, -1], path_lengths(paths, space)[:, None]
    towards = directions(paths, space)
    return {
        "endpoint": distances(last[:, None], last[None]) ** 2 / 2,
        "direction": cdist(towards, towards, "sqeuclidean") / 2,
        "path_length": cdist(lengths, lengths, "sqeuclidean") / 2,
    }


def directions(paths: Sequence[FloatArray], space: Space) -> FloatArray:
    """Return the unit vector of each path's net motion; N of (T, 6 or more) -> (N, 3).

    Of positions from the first to the last; of rotations the axis, in the world frame, of the
    rotation from the first to the last orientation. A path without net motion (rotations: of less
    than `LEAST_TURN`) counts as the zero vector.
    """
    for path in paths:
        check_path(path)
    if space == "positions":
        net = np.stack([path[-1, :3] - path[0, :3] for path in paths])
        least = 0.0
    else:
        turns = [Rotation.from_rotvec(path[[0, -1], 3:6]) for path in paths]
        net = np.stack([(turn[1] * turn[0].inv()).as_rotvec() for turn in turns])
        least = LEAST_TURN
    norm = np.linalg.norm(net, axis=1, keepdims=True)
    return np.asarray(np.where(norm > least, net / np.where(norm > 0, norm, 1.0), 0.0))


def path_lengths(paths: Sequence[FloatArray], space: Space) -> FloatArray:
    """Return how far the hand went [m], or turned [rad], along each path; N -> (N,).

    The sum over steps of the distance, or of the angle, between successive poses.
    """
    lengths = []
    for path in paths:
        check_path(path)
        if space == "positions":
            lengths.append(np.linalg.norm(np.diff(path[:, :3], axis=0), axis=1).sum())
        else:
            turned = Rotation.from_rotvec(path[:, 3:6]).as_quat()
            lengths.append(distances(turned[1:], turned[:-1]).sum())
    return np.array(lengths)


def straightness(paths: Sequence[FloatArray]) -> FloatArray:
    """Return net displacement over path length of the hand's positions, 0 to 1; N -> (N,).

    1 is a straight line. A detour and a wandering hand lower it alike, a pause does not. A hand
    that never moved counts as 1.
    """
    net = np.array([np.linalg.norm(path[-1, :3] - path[0, :3]) for path in paths])
    length = path_lengths(paths, "positions")
    return np.where(length > 0, net / np.where(length > 0, length, 1.0), 1.0)
