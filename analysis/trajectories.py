"""Trajectories that are compared, and the choice of those that start alike."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from common.errors import DlrError

FloatArray = npt.NDArray[np.float64]


class DiversityError(DlrError, ValueError):
    """Trajectories cannot be compared: malformed, too few, or without common initial states."""


@dataclass(frozen=True)
class Trajectory:
    """One episode of any source, a person's included, as the metrics see it."""

    proprio: FloatArray
    """(T, 8) end-effector position [m], axis-angle [rad], finger positions [m]; the state reached
    last is part of it."""
    embedding: FloatArray | None
    """(T, D) DLR's frozen encoder's embedding of the same T states; None where there is none."""
    pattern: int
    """Pattern z that the policy was given; -1 for a policy without patterns."""
    seed: int
    """Seed of the reset."""
    init_index: int
    """Index of the official init state; -1 for a fresh one, which the seed determines."""
    success: bool
    """Whether the task's predicate was reached."""
    actions: FloatArray | None = None
    """(T - 1, 7) actions in [-1, 1]: translation, rotation, gripper; None where unknown."""
    way: str = ""
    """Name of the way that a demonstrator went, or empty."""

    def __post_init__(self) -> None:
        """Check shapes and finiteness.

        Raises:
            DiversityError: a shape is wrong, lengths differ, or a value is NaN or infinite.
        """
        steps = check_path(self.proprio)
        if np.shape(self.proprio)[1] != 8:
            raise DiversityError(f"proprio must have shape (T, 8), got {np.shape(self.proprio)}")
        if self.embedding is not None:
            shape = np.shape(self.embedding)
            if len(shape) != 2 or shape[0] != steps or shape[1] < 1:
                raise DiversityError(f"embedding must have shape ({steps}, D), got {shape}")
            _check_finite(self.embedding, "embedding")
        if self.actions is not None:
            if np.shape(self.actions) != (steps - 1, 7):
                raise DiversityError(
                    f"actions must have shape ({steps - 1}, 7), got {np.shape(self.actions)}"
                )
            _check_finite(self.actions, "actions")

    @property
    def start(self) -> tuple[int, int]:
        """(seed, init_index), which determines the initial state."""
        return self.seed, self.init_index


def check_path(path: FloatArray) -> int:
    """Return the number of states of a path (T, 6 or more): position [m], axis-angle [rad].

    Raises:
        DiversityError: it has another shape, fewer than two states, or a NaN or infinite number.
    """
    shape = np.shape(path)
    if len(shape) != 2 or shape[0] < 2 or shape[1] < 6:
        raise DiversityError(f"a path must have shape (T >= 2, >= 6), got {shape}")
    _check_finite(path, "path")
    return shape[0]


def _check_finite(values: FloatArray, name: str) -> None:
    if not np.isfinite(values).all():
        raise DiversityError(
            f"a trajectory's {name} has a NaN or infinite number: leave that trajectory out"
        )


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
