"""Names the way of an episode from the hand's path, its positions and its yaw judged apart.

Ways that cannot be told apart in what the hand does are no ways. So a linear discriminant (Fisher,
1936; shrunk after Ledoit and Wolf, 2004) learns the ways' names from some episodes and names those
of others: from where the hand goes, from how it is turned about the vertical, and from both.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy.spatial.transform import Rotation
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.model_selection import StratifiedKFold

from analysis.trajectories import DiversityError
from common.intervals import wilson_interval

FloatArray = npt.NDArray[np.float64]
Sight = Literal["positions", "yaw", "both"]
"""What a classifier sees of a path."""
POINTS = 32
"""Points at which a path is read."""
FOLDS = 5
"""Parts that the episodes are divided into, each named by what was learnt from the others."""
_TOOL_DOWN = Rotation.from_rotvec([np.pi, 0.0, 0.0])
"""Orientation of a gripper that points straight down."""


@dataclass(frozen=True)
class Accuracy:
    """How many episodes were given the name of their way."""

    correct: int
    """Episodes named rightly."""
    total: int
    """Episodes named."""

    @property
    def rate(self) -> float:
        """Share of them that is right, 0 to 1."""
        return self.correct / self.total

    @property
    def interval(self) -> tuple[float, float]:
        """Wilson's interval of the share, at 95%."""
        return wilson_interval(self.correct, self.total)


@dataclass(frozen=True)
class Distinctness:
    """How well ways are told apart on episodes that the classifier has not learnt from."""

    positions: Accuracy
    """By where the hand goes alone."""
    yaw: Accuracy
    """By how it is turned about the vertical alone."""
    both: Accuracy
    """By both together."""


class WayClassifier:
    """Learns ways from episodes with known ones, and names those of any others.

    Args:
        paths: N paths of the hand, (T, 6 or more) each: position [m] and axis-angle [rad] of
            the gripper in the world frame, as the first six numbers of LIBERO's proprioceptive
            state are; T may differ.
        ways: N names.
        sight: what of a path is seen.

    Raises:
        DiversityError: a path is malformed, or there are not two ways with two episodes each.
    """

    def __init__(
        self, paths: Sequence[FloatArray], ways: Sequence[str], sight: Sight = "both"
    ) -> None:
        _check_ways(paths, ways)
        self.sight: Sight = sight
        self._model = _learn(features(paths, sight), np.array(ways))

    def name(self, paths: Sequence[FloatArray]) -> list[str]:
        """Return the name of each path's way.

        Raises:
            DiversityError: a path is malformed.
        """
        return [str(way) for way in self._model.predict(features(paths, self.sight))]

    def accuracy(self, paths: Sequence[FloatArray], ways: Sequence[str]) -> Accuracy:
        """Return how many of N paths are given the names that they have."""
        named = zip(self.name(paths), ways, strict=True)
        return Accuracy(sum(one == other for one, other in named), len(ways))


def tell_apart(paths: Sequence[FloatArray], ways: Sequence[str], seed: int = 0) -> Distinctness:
    """Return how well the ways of N episodes are told apart; see `name_held_out`."""
    found = {}
    for sight in ("positions", "yaw", "both"):
        named = name_held_out(paths, ways, sight, seed)
        right = sum(one == other for one, other in zip(named, ways, strict=True))
        found[sight] = Accuracy(right, len(ways))
    return Distinctness(**found)


def name_held_out(
    paths: Sequence[FloatArray], ways: Sequence[str], sight: Sight = "both", seed: int = 0
) -> list[str]:
    """Name each of N episodes by a classifier that has not seen it, `FOLDS` parts in turn.

    Args:
        paths: as `WayClassifier` takes them.
        ways: N names.
        sight: what of a path is seen.
        seed: draws the parts, each with its share of every way.

    Returns:
        N names; where all episodes are of the same form, these are guesses.

    Raises:
        DiversityError: as for `WayClassifier`.
    """
    fewest = _check_ways(paths, ways)
    seen, known = features(paths, sight), np.array(ways)
    named = known.copy()
    parts = StratifiedKFold(min(FOLDS, fewest), shuffle=True, random_state=seed)
    for learnt, held_out in parts.split(seen, known):
        named[held_out] = _learn(seen[learnt], known[learnt]).predict(seen[held_out])
    return [str(way) for way in named]


def features(paths: Sequence[FloatArray], sight: Sight = "both") -> FloatArray:
    """Return what is seen of N paths, one row each, whatever their lengths.

    Positions [m] are read at `POINTS` equal shares of the path's length, so that neither speed
    nor waiting counts, yaws [rad] at equal shares of its duration, as a hand may turn on the spot.

    Returns:
        (N, POINTS * 3) positions, (N, POINTS) yaws, or both beside each other.

    Raises:
        DiversityError: a path has another shape, fewer than two points, or a value that is NaN
            or infinite.
    """
    rows = []
    for path in paths:
        if np.ndim(path) != 2 or path.shape[0] < 2 or path.shape[1] < 6:
            raise DiversityError(f"a path must have shape (T >= 2, >= 6), got {np.shape(path)}")
        if not np.isfinite(path[:, :6]).all():
            raise DiversityError("a path has a NaN or infinite value")
        parts = []
        if sight != "yaw":
            parts.append(_resample(path[:, :3], path_shares(path[:, :3])))
        if sight != "positions":
            parts.append(_resample(yaws(path)[:, None], np.linspace(0.0, 1.0, len(path))))
        rows.append(np.concatenate([part.ravel() for part in parts]))
    return np.stack(rows)


def yaws(path: FloatArray) -> FloatArray:
    """Return the hand's turn about the vertical along a path, rad, without jumps; (T, 6) -> (T,).

    It is the twist about the world's z of the rotation from pointing straight down, and begins
    between -pi and pi.
    """
    rotation = Rotation.from_rotvec(path[:, 3:6]) * _TOOL_DOWN.inv()
    _, _, z, w = rotation.as_quat().T
    turns = np.unwrap(2 * np.arctan2(z, w))
    return np.asarray(turns - 2 * np.pi * np.round(turns[0] / (2 * np.pi)))


def path_shares(points: FloatArray) -> FloatArray:
    """Return the share of the path's length that lies before each point; (T, 3) -> (T,), 0 to 1."""
    steps = np.linalg.norm(np.diff(points, axis=0), axis=1)
    length = np.concatenate(([0.0], np.cumsum(steps)))
    return length / length[-1] if length[-1] > 0 else np.linspace(0.0, 1.0, len(points))


def _resample(values: FloatArray, shares: FloatArray) -> FloatArray:
    grid = np.linspace(0.0, 1.0, POINTS)
    return np.stack([np.interp(grid, shares, column) for column in values.T], axis=1)


def _learn(seen: FloatArray, ways: npt.NDArray[np.str_]) -> LinearDiscriminantAnalysis:
    model = LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto")
    return model.fit(seen, ways)


def _check_ways(paths: Sequence[FloatArray], ways: Sequence[str]) -> int:
    """Return how many episodes the rarest way has.

    Raises:
        DiversityError: there are fewer than two, or fewer than two ways.
    """
    counts = Counter(ways)
    if len(paths) != len(ways):
        raise DiversityError(f"{len(paths)} paths and {len(ways)} names of ways")
    if len(counts) < 2 or min(counts.values()) < 2:
        raise DiversityError(
            "ways are told apart with two or more of them, each with two or more episodes, but "
            f"there are {dict(counts)}: demonstrate more"
        )
    return min(counts.values())
