"""Coverage@K: how much of a reference repertoire K episodes are expected to reach.

DRIVE ("Many Ways to Succeed: Diversity-Driven RL Fine-Tuning for VLA Generalization", section 3)
takes the successes of a reference policy, matches rollouts to them by the normalised global
alignment kernel, each of its own episodes without itself, and reports the share that K rollouts
cover. What counts as a match is not printed there. Here an episode matches a reference episode
that is no farther than that one's `NEIGHBOURS`-th nearest other reference (Naeem et al., 2020),
so that the repertoire itself says how near is near.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from analysis.trajectories import DiversityError

FloatArray = npt.NDArray[np.float64]

NEIGHBOURS = 5
"""Other reference episodes that lie within a reference episode's reach, where there are as many."""


def reaches(reference: FloatArray, neighbours: int = NEIGHBOURS) -> FloatArray:
    """Return how far each of R reference episodes reaches: to its n-th nearest other; (R,).

    Args:
        reference: (R, R) distances between them, of any unit.
        neighbours: n; the farthest other where there are fewer.

    Raises:
        DiversityError: there are fewer than two, or distances are malformed.
    """
    _check(reference)
    if len(reference) < 2 or reference.shape != (len(reference),) * 2 or neighbours < 1:
        raise DiversityError("a repertoire needs the distances of two reference episodes or more")
    others = np.sort(np.where(np.eye(len(reference), dtype=bool), np.inf, reference), axis=1)
    return np.asarray(others[:, min(neighbours, len(reference) - 1) - 1])


def coverage_at_k(reference: FloatArray, cross: FloatArray, k: int) -> float:
    """Return the share of a repertoire that K of Q episodes cover, expected over draws; 0 to 1.

    A reference episode that m of the Q match is covered by K drawn without replacement with
    probability 1 - C(Q - m, K) / C(Q, K), so no draw is made and the order does not matter.

    Args:
        reference: (R, R) distances between the reference episodes.
        cross: (R, Q) distances to the episodes in question; infinite where two may not match.
        k: episodes drawn, 1..Q.

    Raises:
        DiversityError: distances are malformed, or K is not in 1..Q.
    """
    _check(cross)
    if len(cross) != len(reference):
        raise DiversityError(f"{len(cross)} rows of distances to {len(reference)} references")
    return _expected(cross <= reaches(reference)[:, None], k)


def own_coverage_at_k(reference: FloatArray, k: int) -> float:
    """Return what K of the reference's own episodes cover, each matched to the others alone.

    Raises:
        DiversityError: as `coverage_at_k`; K is in 1..R-1.
    """
    matches = reference <= reaches(reference)[:, None]
    others = matches[~np.eye(len(reference), dtype=bool)].reshape(len(reference), -1)
    return _expected(others, k)


def _expected(matches: npt.NDArray[np.bool_], k: int) -> float:
    total = matches.shape[1]
    if not 1 <= k <= total:
        raise DiversityError(f"Coverage@K of {total} episodes needs K in 1..{total}, got {k}")
    missing = total - matches.sum(axis=1)
    # C(missing, k) / C(total, k) as a product, which stays in floating point's range.
    steps = np.arange(k)
    missed = np.prod(np.maximum(missing[:, None] - steps, 0) / (total - steps), axis=1)
    return float(np.mean(1.0 - missed))


def _check(distances: FloatArray) -> None:
    if np.ndim(distances) != 2 or np.isnan(distances).any() or (np.asarray(distances) < 0).any():
        raise DiversityError("distances must be a table without NaN or negative numbers")
