"""Paths compared in step with each other, whatever their pace: DTW and the alignment kernel.

Dynamic time warping takes the best alignment (Sakoe and Chiba, 1978), the global alignment kernel
sums over all of them (Cuturi, 2011). Both go through the same table, for many pairs at once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
from scipy.spatial.distance import squareform

from analysis.poses import MOMENTS, Space, distances, moments
from analysis.trajectories import DiversityError

FloatArray = npt.NDArray[np.float64]

_PAIRS_AT_ONCE = 1024
_POSES = 512
"""Poses, about, of which the bandwidth is taken."""


def dtw_matrix(paths: Sequence[FloatArray], space: Space, count: int = MOMENTS) -> FloatArray:
    """Return the time-aligned distances of N paths, [m] of positions or [rad] of rotations; (N, N).

    The least root of the summed squared distances along an alignment of the paths' moments,
    divided by the root of their number. So it is the RMS distance where pacing is equal, less
    where only the pace differs, and does not depend on how often a path was recorded.

    Args:
        paths: N of (T, 6 or more), as `analysis.poses.moments` takes them.
        space: what of the poses is compared.
        count: moments at which paths are read.

    Raises:
        DiversityError: a path is malformed or not finite.
    """
    read = moments(paths, space, count)
    rows, columns = np.triu_indices(len(read), 1)
    found = np.concatenate(
        [
            np.sqrt(_accumulate(distances(read[i][:, :, None], read[j][:, None]) ** 2, _least))
            for i, j in _chunks(rows, columns)
        ]
        or [np.zeros(0)]
    )
    return np.asarray(squareform(found / np.sqrt(count))) if len(read) > 1 else np.zeros((1, 1))


def gak_distances(
    first: Sequence[FloatArray],
    second: Sequence[FloatArray],
    space: Space,
    bandwidth: float | None = None,
    count: int = MOMENTS,
) -> FloatArray:
    """Return -log of the normalised global alignment kernel of each two paths; (N, M), >= 0.

    The kernel, as DRIVE compares rollouts (Li et al., "Many Ways to Succeed", Eq. 3 to 5), on the
    hand's poses rather than a model's features; so the local kernel is Cuturi's k / (2 - k) with
    k = exp(-d² / 2h²), which keeps the whole positive definite, rather than a cosine.

    Args:
        first: N paths.
        second: M paths.
        space: what of the poses is compared.
        bandwidth: h, [m] or [rad]; by default `gak_bandwidth` of `first`.
        count: moments at which paths are read.

    Raises:
        DiversityError: a path is malformed or not finite, or the bandwidth is not positive.
    """
    width = gak_bandwidth(first, space, count) if bandwidth is None else bandwidth
    if not width > 0:
        raise DiversityError(f"the kernel's bandwidth must be positive, got {width}")
    one, other = moments(first, space, count), moments(second, space, count)

    def log_kernels(a: FloatArray, b: FloatArray) -> FloatArray:
        falling = distances(a[:, :, None], b[:, None]) ** 2 / (2 * width**2)
        return _accumulate(-falling - np.log(2 - np.exp(-falling)), _log_sum)

    rows, columns = np.indices((len(one), len(other))).reshape(2, -1)
    cross = [log_kernels(one[i], other[j]) for i, j in _chunks(rows, columns)]
    own = log_kernels(one, one)[:, None] + log_kernels(other, other)[None]
    return np.maximum(own / 2 - np.concatenate(cross).reshape(len(one), len(other)), 0.0)


def gak_bandwidth(paths: Sequence[FloatArray], space: Space, count: int = MOMENTS) -> float:
    """Return Cuturi's bandwidth: the median distance of poses times the root of the length.

    The median is over the moments of all paths, [m] or [rad]; where all poses are one, 1.
    """
    read = moments(paths, space, count)
    poses = read.reshape(-1, read.shape[-1])
    # An odd stride meets all moments of the paths, whose number is a power of 2.
    poses = poses[:: max(1, len(poses) // _POSES) | 1]
    apart = distances(poses[:, None], poses[None])[np.triu_indices(len(poses), 1)]
    return float(np.median(apart)) * float(np.sqrt(count)) or 1.0


def _chunks(
    rows: npt.NDArray[np.int64], columns: npt.NDArray[np.int64]
) -> list[tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]]:
    """Return pairs of paths in parts that fit memory."""
    starts = range(0, len(rows), _PAIRS_AT_ONCE)
    return [(rows[s : s + _PAIRS_AT_ONCE], columns[s : s + _PAIRS_AT_ONCE]) for s in starts]


def _accumulate(
    local: FloatArray, combine: Callable[[FloatArray, FloatArray, FloatArray], FloatArray]
) -> FloatArray:
    """Return what each pair's table of local terms (M, P, Q) sums to along alignments; (M,).

    An alignment begins with both first moments, ends with both last ones, and advances either
    path or both by one; `combine` joins what the three predecessors of a cell have.
    """
    table = np.moveaxis(local, 0, -1).copy()
    rows, columns, _ = table.shape
    table[0] = np.cumsum(table[0], axis=0)
    for i in range(1, rows):
        table[i, 0] += table[i - 1, 0]
        for j in range(1, columns):
            table[i, j] += combine(table[i - 1, j], table[i, j - 1], table[i - 1, j - 1])
    return np.asarray(table[-1, -1])


def _least(up: FloatArray, left: FloatArray, both: FloatArray) -> FloatArray:
    return np.minimum(np.minimum(up, left), both)


def _log_sum(up: FloatArray, left: FloatArray, both: FloatArray) -> FloatArray:
    highest = np.maximum(np.maximum(up, left), both)
    terms = np.exp(up - highest) + np.exp(left - highest) + np.exp(both - highest)
    return np.asarray(highest + np.log(terms))
