"""Modes of behaviour that a clusterer finds in demonstrations, knowing neither names nor patterns.

It shares nothing with the encoder that `discover` trains to separate patterns, which would judge
its own work. A mixture of Gaussians (Fraley and Raftery, 2002) is fitted to the demonstrations'
hand paths; BIC chooses how many there are, one included. Episodes of any source are then assigned.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence

import numpy as np
import numpy.typing as npt
from scipy.spatial.transform import Rotation
from scipy.special import entr
from sklearn.mixture import GaussianMixture

from analysis.poses import MOMENTS, moments
from analysis.statistics import Estimate, jackknife, jackknife_weights
from analysis.trajectories import DiversityError
from analysis.ways import features

FloatArray = npt.NDArray[np.float64]

LEVER = 0.1
"""Metres from Panda's flange to its fingertips: by this a rotation moves them, so that positions
and rotations weigh in a cluster as they move the fingers. No reported figure has this scale."""
TREMOR = 0.01
"""Spread [m] below which episodes are alike: no mode is narrower."""
MOST_MODES = 8
EPISODES_A_MODE = 5
"""Episodes that a mode needs on average."""
_DIMENSIONS = 3
"""Principal components that modes are found in."""


class ModeFinder:
    """Finds modes in N episodes, and assigns any others to them.

    Args:
        paths: N of (T, 6 or more): position [m] and axis-angle [rad] of the hand, world frame.
        seed: of the mixture's starts.

    Raises:
        DiversityError: there are fewer than two paths, or one is malformed or not finite.
    """

    def __init__(self, paths: Sequence[FloatArray], seed: int = 0) -> None:
        if len(paths) < 2:
            raise DiversityError("modes are found in two episodes or more")
        turned = moments(paths, "rotations")
        self._upright = Rotation.from_quat(turned.reshape(-1, 4)).mean()
        seen = _seen(paths, self._upright)
        # In an order of their own, so that the order of episodes decides nothing.
        seen = seen[np.lexsort(seen.T)]
        self._centre = seen.mean(axis=0)
        self._axes = np.linalg.svd(seen - self._centre, full_matrices=False)[2][:_DIMENSIONS]
        points = (seen - self._centre) @ self._axes.T
        different = len(np.unique(points.round(6), axis=0))
        most = max(1, min(MOST_MODES, len(paths) // EPISODES_A_MODE, different))
        fits = [
            GaussianMixture(k, covariance_type="diag", reg_covar=TREMOR**2, n_init=5,
                            random_state=seed).fit(points)
            for k in range(1, most + 1)
        ]  # fmt: skip
        self._mixture = min(fits, key=lambda fit: fit.bic(points))

    @property
    def count(self) -> int:
        """Number of modes."""
        return int(self._mixture.n_components)

    def assign(self, paths: Sequence[FloatArray]) -> list[int]:
        """Return the likeliest mode of each path, 0..count-1; one is taken whatever its fit.

        Raises:
            DiversityError: a path is malformed or not finite.
        """
        points = (_seen(paths, self._upright) - self._centre) @ self._axes.T
        return [int(mode) for mode in self._mixture.predict(points)]


def _seen(paths: Sequence[FloatArray], upright: Rotation) -> FloatArray:
    """Return what is clustered: positions by length, rotations by time, on one scale; (N, F).

    The Euclidean distance of two rows is about the RMS distance [m] between their fingertips.
    """
    turned = moments(paths, "rotations")
    rotations = (Rotation.from_quat(turned.reshape(-1, 4)) * upright.inv()).as_rotvec()
    levered = LEVER * rotations.reshape(len(paths), -1)
    return np.concatenate((features(paths, "positions"), levered), axis=1) / np.sqrt(MOMENTS)


def entropy(labels: Sequence[Hashable]) -> float:
    """Return the entropy [nats] of how often labels occur: 0 for one label, log n for n alike.

    Raises:
        DiversityError: there is no label.
    """
    return float(_entropies(labels, np.ones((1, len(labels))))[0])


def normalised_entropy(
    labels: Sequence[Hashable],
    reference: Sequence[Hashable],
    weights: FloatArray | None = None,
) -> FloatArray:
    """Return the entropy of labels divided by that of the demonstrations' labels; (B,).

    1 where an agent spreads over modes as the demonstrations do, 0 where it keeps one, above 1
    where it spreads more evenly than they.

    Args:
        labels: N episodes' modes or ways.
        reference: the demonstrations'.
        weights: (B, N) how often each episode counts, such as a bootstrap's; by default once.

    Raises:
        DiversityError: there is no label, or the demonstrations have one mode only.
    """
    whole = entropy(reference)
    if whole == 0:
        raise DiversityError("the demonstrations show one mode: no entropy to compare with")
    return _entropies(labels, np.ones((1, len(labels))) if weights is None else weights) / whole


def entropy_estimate(
    labels: Sequence[Hashable], reference: Sequence[Hashable], starts: Sequence[Hashable]
) -> Estimate:
    """Return `normalised_entropy` with its interval over starts, by the jackknife.

    There is no interval where no start makes a difference, as where all show one mode.

    Args:
        labels: N episodes' modes or ways.
        reference: the demonstrations'.
        starts: the N starts; episodes of one are left out together.

    Raises:
        DiversityError: there is no label, or the demonstrations have one mode only.
    """
    values = normalised_entropy(labels, reference, jackknife_weights(starts))
    most = math.log(len({*labels, *reference})) / entropy(reference)
    return jackknife(values, 0.0, most)


def _entropies(labels: Sequence[Hashable], weights: FloatArray) -> FloatArray:
    if not len(labels):
        raise DiversityError("the entropy of no episode is not defined")
    members = [[label == name for label in labels] for name in sorted(set(labels), key=repr)]
    counts = weights @ np.array(members, float).T
    return np.asarray(entr(counts / counts.sum(axis=1, keepdims=True)).sum(axis=1))


def spread(distances: FloatArray, labels: Sequence[Hashable]) -> tuple[float | None, float | None]:
    """Return the mean distance of episodes of one label, and of different ones.

    What grows within a label is wandering or noise, what grows between labels is distinctness.

    Args:
        distances: (N, N), [m] or [rad].
        labels: N modes, ways or patterns.

    Returns:
        Within and between; None where there is no such pair.

    Raises:
        DiversityError: their numbers differ, or a distance is NaN or infinite.
    """
    if np.shape(distances) != (len(labels),) * 2 or not np.isfinite(distances).all():
        raise DiversityError(f"{len(labels)} labels need as many rows and columns of distances")
    names = {label: place for place, label in enumerate(dict.fromkeys(labels))}
    known = np.array([names[label] for label in labels])
    same = known[:, None] == known
    pairs = ~np.eye(len(labels), dtype=bool)
    within, between = (
        float(np.mean(distances[chosen])) if chosen.any() else None
        for chosen in (same & pairs, ~same)
    )
    return within, between
