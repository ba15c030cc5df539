"""Whole paths as features, and their mixture, with which discovery begins."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.spatial.transform import Rotation
from sklearn.decomposition import PCA
from sklearn.mixture import GaussianMixture

from common.errors import DlrError
from generator.config import DiscoverConfig

FEATURES = 10
FLOORS = np.array([0.01] * 3 + [0.1] * 6 + [0.02])
"""Least spread of each feature that counts: 1 cm, about 6 degrees, 2 cm of gripper opening."""
_POSITION, _ROTATION = slice(0, 3), slice(3, 9)
PATH_POINTS = 24
_FLAT = 0.05
"""A view of the paths that spreads less than this, in units of `FLOORS`, holds no ways."""
_PATH_NOISE = 0.25
"""Least variance within a cluster of paths, in units of `FLOORS` squared."""
DISTINCT = 4.5
"""Distance of two clusters' centres, in standard deviations within, from which they are two ways:
halves of one normal spread lie 2.7 apart, and halves of a uniform one 3.5."""
_PRICE = 0.25
"""Nats per path that a further way must explain, beyond what BIC asks: the best of many views is
compared."""
_SHARE = 0.1
_CHOICE_RESTARTS = 2


class DiscoveryError(DlrError, ValueError):
    """The demonstrations cannot be clustered."""


def features(proprio: np.ndarray) -> np.ndarray:
    """Return continuous features of proprioceptive states.

    The axis-angle of a gripper that points down has a length near pi and flips its sign, so
    rotations become the first two columns of their matrix.

    Args:
        proprio: (T, 8): position 3 (m), axis-angle 3 (rad), gripper finger positions 2 (m).

    Returns:
        (T, 10): position 3, rotation 6, gripper opening 1.
    """
    rotation = Rotation.from_rotvec(proprio[:, 3:6]).as_matrix()[:, :, :2].reshape(-1, 6)
    opening = proprio[:, 6:7] - proprio[:, 7:8]
    return np.concatenate([proprio[:, :3], rotation, opening], axis=1)


def resample(path: np.ndarray, points: int = PATH_POINTS) -> np.ndarray:
    """Return a path at equal steps of arc length, so that speed and pauses do not matter.

    Arc length counts metres of translation, and 0.1 m per unit of the rotation features.

    Args:
        path: features (T, 10).
        points: number of points to return.
    """
    scaled = np.concatenate([path[:, _POSITION], 0.1 * path[:, _ROTATION]], axis=1)
    steps = np.linalg.norm(np.diff(scaled, axis=0), axis=1)
    length = np.concatenate([[0.0], np.cumsum(steps + 1e-6)])
    at = np.linspace(0, length[-1], points)
    return np.stack([np.interp(at, length, column) for column in path.T], axis=1)


def path_mixture(
    paths: Sequence[np.ndarray], config: DiscoverConfig, seed: int
) -> tuple[np.ndarray, float]:
    """Cluster whole paths to initialise responsibilities.

    Ways may differ in position or in rotation, along the whole path or a part of it, seen
    absolutely or beside the straight line from start to end. Each such view gets a Gaussian
    mixture with tied covariance (so that the spread of objects, however large, is no cluster);
    the view whose mixture explains the most beyond a single Gaussian, per trajectory, wins.

    Returns:
        responsibilities (N, K) and the winner's score in nats.
    """
    views = _views(np.stack([resample(p) for p in paths]))
    found = [
        _tied_mixture(view, config.patterns, config.restarts, seed)
        for view in map(_project, views)
        if view is not None
    ]
    best = max((f for f in found if f is not None), key=lambda f: f.score, default=None)
    if best is None:
        raise DiscoveryError(
            f"no split of the demonstrations into {config.patterns} patterns was found: "
            "give demonstrations that solve the task in more ways, or ask for fewer patterns"
        )
    return best.responsibilities, best.score


def count_ways(
    paths: Sequence[np.ndarray], most: int, seed: int
) -> tuple[int, dict[str, dict[str, float]]]:
    """Return how many distinct ways paths show, and what speaks for each number K of them.

    The mixtures are those of `path_mixture`. Clusters count if each lies `DISTINCT` from each: a
    spread that is cut in two lies closer, and two ways in one cluster widen what all are measured
    by. Of the numbers of which this holds, one cluster more must explain `_PRICE` more, and a tenth
    of what fewer explain.

    Args:
        paths: features (T_i, 10).
        most: ways at most, of which each needs two paths.
        seed: of the mixtures.

    Returns:
        the number of ways, and for each K > 1 (as text) the best view's `gain`, nats per path
        beyond a single Gaussian, and how far `apart` its closest clusters lie; nothing where
        clusters that lie far enough apart are in no view.
    """
    views = [_project(v) for v in _views(np.stack([resample(p) for p in paths]))]
    evidence: dict[str, dict[str, float]] = {}
    chosen, explained = 1, 0.0
    for k in range(2, min(most, len(paths) // 2) + 1):
        found = [_tied_mixture(v, k, _CHOICE_RESTARTS, seed) for v in views if v is not None]
        distinct = [f for f in found if f is not None and f.apart >= DISTINCT]
        if distinct:
            winner = max(distinct, key=lambda f: f.gain)
            evidence[str(k)] = {"gain": winner.gain, "apart": winner.apart}
            if winner.gain - explained >= max(_PRICE * (k - chosen), _SHARE * explained):
                chosen, explained = k, winner.gain
    return chosen, evidence


def _views(paths: np.ndarray) -> list[np.ndarray]:
    """Return views (N, features) of resampled paths (N, points, 10), in units of `FLOORS`."""
    scaled = paths / FLOORS
    line = np.linspace(0, 1, paths.shape[1])[:, None]
    chord = scaled[:, :1] * (1 - line) + scaled[:, -1:] * line
    half = paths.shape[1] // 2
    views = []
    for base in (scaled, scaled - chord):
        for window in (slice(None), slice(0, half), slice(half // 2, half + half // 2),
                       slice(half, None)):  # fmt: skip
            for part in (_POSITION, _ROTATION, slice(0, 9)):
                views.append(base[:, window, part].reshape(len(paths), -1))
    return views


def _project(view: np.ndarray) -> np.ndarray | None:
    """Return a view's principal components that spread by more than a unit; None if it is flat."""
    n, size = view.shape
    if view.std(axis=0).max() < _FLAT:
        return None
    components = PCA(min(6, n - 1, size), random_state=0).fit(view)
    kept = max(1, int((components.explained_variance_ > 1.0).sum()))
    return components.transform(view)[:, :kept]


@dataclass(frozen=True)
class _Mixture:
    """A balanced mixture of paths."""

    gain: float
    """What it explains beyond a single Gaussian by BIC, nats per path."""
    balance: float
    """Entropy of the clusters' shares, 1 where they are equal."""
    apart: float
    """Least distance of two centres, in standard deviations within."""
    responsibilities: np.ndarray
    """Shape: (N, K)."""

    @property
    def score(self) -> float:
        """By which mixtures of the same number of clusters are compared."""
        return self.gain * self.balance


def _tied_mixture(points: np.ndarray, k: int, restarts: int, seed: int) -> _Mixture | None:
    """Return the mixture of K Gaussians of one covariance; None if one has hardly a share."""
    single = GaussianMixture(1, covariance_type="tied", reg_covar=_PATH_NOISE).fit(points)
    mixture = GaussianMixture(
        k,
        covariance_type="tied",
        reg_covar=_PATH_NOISE,
        n_init=restarts,
        random_state=seed,
    ).fit(points)
    responsibilities = mixture.predict_proba(points)
    shares = responsibilities.mean(axis=0)
    if shares.min() < 0.3 / k:
        return None
    balance = float(-(shares * np.log(shares)).sum() / np.log(k)) if k > 1 else 1.0
    gain = float(single.bic(points) - mixture.bic(points)) / (2 * len(points))
    offsets = mixture.means_[:, None] - mixture.means_
    squared = np.einsum("abi,ij,abj->ab", offsets, mixture.precisions_, offsets)
    apart = float(np.sqrt(squared[~np.eye(k, dtype=bool)].min())) if k > 1 else 0.0
    return _Mixture(gain, balance, apart, responsibilities)
