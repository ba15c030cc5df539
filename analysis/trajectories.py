"""Trajectories that are compared, and the choice of those that start alike."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.spatial.transform import Rotation

from common.errors import DlrError

FloatArray = npt.NDArray[np.float64]

FEATURE_POINTS = 32
"""Equally spaced moments at which a trajectory's embedding is read for its feature."""
CONFIDENCE = 0.95
"""Level of every interval."""
_TOOL_DOWN = Rotation.from_rotvec([np.pi, 0.0, 0.0])
"""Orientation of a gripper that points straight down, where Panda's axis-angle changes sign."""


class DiversityError(DlrError, ValueError):
    """Trajectories cannot be compared: malformed, too few, or without common initial states."""


@dataclass(frozen=True)
class Trajectory:
    """One rollout, as the diversity metrics see it."""

    proprio: FloatArray
    """(T, 8) end-effector position [m], axis-angle [rad], finger positions [m]; the state reached
    last is part of it."""
    embedding: FloatArray
    """(T, D) the frozen encoder's embedding of the same T states."""
    pattern: int
    """Pattern z that the policy was given; -1 for a policy without patterns."""
    seed: int
    """Seed of the reset."""
    init_index: int
    """Index of the official init state; -1 for a fresh one, which the seed determines."""
    success: bool
    """Whether the task's predicate was reached."""

    def __post_init__(self) -> None:
        """Check shapes and finiteness.

        Raises:
            DiversityError: a shape is wrong, lengths differ, or a value is NaN or infinite.
        """
        proprio, embedding = np.shape(self.proprio), np.shape(self.embedding)
        if len(proprio) != 2 or proprio[1] != 8 or proprio[0] < 2:
            raise DiversityError(f"proprio must have shape (T >= 2, 8), got {proprio}")
        if len(embedding) != 2 or embedding[0] != proprio[0] or embedding[1] < 1:
            raise DiversityError(f"embedding must have shape ({proprio[0]}, D), got {embedding}")
        if not (np.isfinite(self.proprio).all() and np.isfinite(self.embedding).all()):
            raise DiversityError(f"trajectory of seed {self.seed} has a NaN or infinite state")

    @property
    def start(self) -> tuple[int, int]:
        """(seed, init_index), which determines the initial state."""
        return self.seed, self.init_index


def match_initial_states(
    baseline: Sequence[Trajectory], candidate: Sequence[Trajectory]
) -> tuple[list[Trajectory], list[Trajectory]]:
    """Return the successes of both recipes from the initial states that both solved.

    A start (seed, init_index) that one recipe solved m times and the other n times is kept
    min(m, n) times in each. Where a recipe has more than that, the trajectory taken next is one of
    the pattern that was taken least so far (then of the smaller pattern; within a pattern, the
    earlier one given), starts with the fewest patterns to choose from going first. So the choice
    is deterministic, blind to the trajectories themselves, and as even over patterns as the
    successes allow.

    Returns:
        Two lists of the same length, ordered by start; entry i of both has the same start.

    Raises:
        DiversityError: fewer than two trajectories are left.
    """
    solved = [_successes_by_start(recipe) for recipe in (baseline, candidate)]
    quota = {
        start: min(len(solved[0][start]), len(solved[1][start]))
        for start in solved[0].keys() & solved[1].keys()
    }
    if sum(quota.values()) < 2:
        raise DiversityError(
            "fewer than two successes of the two recipes share an initial state; collect both "
            "from the same seeds and init states, or raise their success rates"
        )
    first, second = (_take_evenly(recipe, quota) for recipe in solved)
    return first, second


def _successes_by_start(
    trajectories: Sequence[Trajectory],
) -> dict[tuple[int, int], list[Trajectory]]:
    """Return the successful trajectories of each (seed, init_index), in the order given."""
    by_start: dict[tuple[int, int], list[Trajectory]] = defaultdict(list)
    for trajectory in trajectories:
        if trajectory.success:
            by_start[trajectory.start].append(trajectory)
    return by_start


def _take_evenly(
    solved: dict[tuple[int, int], list[Trajectory]], quota: dict[tuple[int, int], int]
) -> list[Trajectory]:
    """Take `quota` trajectories of each start, always of the pattern taken least so far."""
    taken: Counter[int] = Counter()
    chosen: dict[tuple[int, int], list[Trajectory]] = {}
    for start in sorted(quota, key=lambda s: (len({t.pattern for t in solved[s]}), s)):
        left = list(solved[start])
        chosen[start] = []
        for _ in range(quota[start]):
            pick = min(left, key=lambda t: (taken[t.pattern], t.pattern))
            left = [t for t in left if t is not pick]
            taken[pick.pattern] += 1
            chosen[start].append(pick)
    return [trajectory for start in sorted(chosen) for trajectory in chosen[start]]
