"""Paths of the hand whose metrics are known."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy.spatial.transform import Rotation

from analysis.trajectories import Trajectory


def path(positions: npt.ArrayLike, yaws: npt.ArrayLike | None = None) -> np.ndarray:
    """Return a path (T, 8) through positions [m], pointing down, turned by yaws [rad]."""
    given = np.asarray(positions, float)
    angles = np.zeros(len(given)) if yaws is None else np.asarray(yaws, float)
    turned = Rotation.from_euler("z", angles[:, None])
    down = Rotation.from_euler("x", np.pi)
    rotations = (turned * down).as_rotvec()
    return np.concatenate((given, rotations, np.zeros((len(given), 2))), axis=1)


def line(end: Sequence[float], steps: int = 10, yaw: float = 0.0) -> np.ndarray:
    """Return a straight path (steps + 1, 8) from the origin to `end`, turning by `yaw`."""
    time = np.linspace(0.0, 1.0, steps + 1)
    return path(time[:, None] * np.asarray(end, float), time * yaw)


def arc(side: float, yaw: float, rng: np.random.Generator, noise: float = 0.003) -> np.ndarray:
    """Return a path half a metre forward, aside by `side` m, turning by `yaw`; start drawn."""
    time = np.linspace(0.0, 1.0, int(rng.integers(40, 80)))
    positions = np.stack((0.5 * time, side * np.sin(np.pi * time), 1 - 0.2 * time), axis=1)
    return path(positions + rng.normal(0, noise, 3), time * (yaw + rng.normal(0, 0.02)))


def trajectory(
    states: np.ndarray, seed: int = 0, pattern: int = -1, way: str = "", success: bool = True
) -> Trajectory:
    """Return a trajectory without an embedding, with its positions' steps as actions."""
    actions = np.zeros((len(states) - 1, 7))
    actions[:, :3] = np.diff(states[:, :3], axis=0)
    return Trajectory(states, None, pattern, seed, -1, success, actions, way)


def three_ways(count: int, seed: int = 0, named: bool = True) -> list[Trajectory]:
    """Return `count` episodes of each of three ways, named `left`, `middle` and `right`."""
    rng, made = np.random.default_rng(seed), []
    for number in range(count):
        for way, side in (("left", -0.15), ("middle", 0.0), ("right", 0.15)):
            states = arc(side, 4 * side, rng)
            made.append(trajectory(states, number, way=way if named else ""))
    return made
