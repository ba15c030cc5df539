"""How efficiently, smoothly and consistently episodes solve a task, whatever made them.

The measures of section V of "Beyond Human Demonstrations: Diffusion-Based Reinforcement Learning
to Generate Data for VLA Training" (Yang, Wei, Zhang et al., 2025): no-ops, length, mean squared
jerk, variance of actions over time.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy.spatial.transform import Rotation

from analysis.poses import MOMENTS, distances
from analysis.trajectories import DiversityError, check_path

FloatArray = npt.NDArray[np.float64]

PERIOD = 0.05
"""Seconds of a control step: LIBERO acts at 20 Hz."""
STILL = 0.01
"""Speed of the hand [m/s] below which it stands."""
STILL_TURN = 0.05
"""Speed of its turn [rad/s] below which it stands."""
STILL_FINGERS = 0.001
"""Speed of a finger [m/s] below which the gripper is unchanged."""
ACTION_PARTS = {"translation": slice(0, 3), "rotation": slice(3, 6), "gripper": slice(6, 7)}
"""Where an action's parts lie."""


def no_ops(path: FloatArray, period: float = PERIOD) -> int:
    """Return how many steps moved neither the hand nor a finger.

    The paper counts steps with "near-zero" velocity of the arm and an unchanged gripper, and
    prints no threshold; ours are `STILL`, `STILL_TURN` and `STILL_FINGERS`.

    Args:
        path: (T, 8) position [m], axis-angle [rad], finger positions [m].
        period: seconds of a step.

    Raises:
        DiversityError: the path is malformed or not finite.
    """
    check_path(path)
    if path.shape[1] != 8:
        raise DiversityError(f"no-ops need the fingers: a path of (T, 8), got {path.shape}")
    turned = Rotation.from_rotvec(path[:, 3:6]).as_quat()
    still = np.linalg.norm(np.diff(path[:, :3], axis=0), axis=1) < STILL * period
    still &= distances(turned[1:], turned[:-1]) < STILL_TURN * period
    still &= (np.abs(np.diff(path[:, 6:], axis=0)) < STILL_FINGERS * period).all(axis=1)
    return int(still.sum())


def mean_squared_jerk(path: FloatArray, period: float = PERIOD) -> float:
    """Return the mean over time of the squared jerk of the hand's positions, [m²/s⁶].

    Third differences of positions over the period's cube; of a rollout at another rate the same
    motion gives the same value, but for what lies between its samples.

    Args:
        path: (T >= 4, 6 or more) positions [m] first.
        period: seconds between states.

    Raises:
        DiversityError: the path is malformed, not finite, or has fewer than four states.
    """
    if check_path(path) < 4:
        raise DiversityError("jerk needs a path of four states or more")
    jerk = np.diff(path[:, :3], n=3, axis=0) / period**3
    return float(np.mean(np.sum(jerk**2, axis=1)))


def read_actions(actions: Sequence[FloatArray], count: int = MOMENTS) -> FloatArray:
    """Return N episodes' actions at moments of equal progress; (N, count, 7).

    Args:
        actions: N of (T, 7) in [-1, 1], without a unit.
        count: number of moments, equally spaced fractions of each episode's duration.

    Raises:
        DiversityError: there is no episode, or one is malformed or not finite.
    """
    if not actions:
        raise DiversityError("there is no episode whose actions could be read")
    grid, read = np.linspace(0.0, 1.0, count), []
    for episode in actions:
        if np.ndim(episode) != 2 or episode.shape[1] != 7 or not len(episode):
            raise DiversityError(f"actions must have shape (T >= 1, 7), got {np.shape(episode)}")
        if not np.isfinite(episode).all():
            raise DiversityError("an episode's actions have a NaN or infinite number")
        time = np.linspace(0.0, 1.0, len(episode))
        read.append(np.stack([np.interp(grid, time, axis) for axis in episode.T], axis=1))
    return np.stack(read)


def action_variance(actions: Sequence[FloatArray], count: int = MOMENTS) -> FloatArray:
    """Return the variance between N episodes' actions at moments of equal progress; (count, 7).

    As the paper's figure 7 shades it: unbiased, of each dimension apart. Low is consistent; several
    ways raise it as noise does.

    Args:
        actions: N of (T, 7) in [-1, 1], without a unit.
        count: number of moments.

    Raises:
        DiversityError: there are fewer than two episodes, or one is malformed or not finite.
    """
    if len(actions) < 2:
        raise DiversityError("a variance between episodes needs two or more")
    return np.asarray(np.var(read_actions(actions, count), axis=0, ddof=1))


def mean_action_variance(actions: Sequence[FloatArray], count: int = MOMENTS) -> dict[str, float]:
    """Return `action_variance` summed over each part's dimensions and averaged over time."""
    variance = action_variance(actions, count)
    return {
        part: float(variance[:, where].sum(axis=1).mean()) for part, where in ACTION_PARTS.items()
    }
