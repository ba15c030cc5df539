"""Rotations as matrices: about the vertical, from and to rotation vectors, and mixed."""

from __future__ import annotations

import mujoco
import numpy as np

from simulation.environment import axis_angle


def about_vertical(angle: float) -> np.ndarray:
    """Return the rotation (3, 3) by an angle, rad, about the vertical."""
    cosine, sine = np.cos(angle), np.sin(angle)
    return np.array([[cosine, -sine, 0.0], [sine, cosine, 0.0], [0.0, 0.0, 1.0]])


def yaw_between(source: np.ndarray, new: np.ndarray) -> float:
    """Return the angle about the vertical, rad in (-pi, pi], that turns `source` best to `new`."""
    turn = new @ source.T
    return float(np.arctan2(turn[1, 0] - turn[0, 1], turn[0, 0] + turn[1, 1]))


def to_vector(matrix: np.ndarray) -> np.ndarray:
    """Return the shortest rotation vector, rad (3,), of a rotation (3, 3)."""
    quaternion = np.zeros(4)
    mujoco.mju_mat2Quat(quaternion, np.ascontiguousarray(matrix).ravel())
    return axis_angle(quaternion if quaternion[0] >= 0 else -quaternion)


def from_vector(vector: np.ndarray) -> np.ndarray:
    """Return the rotation (3, 3) of a rotation vector, rad (3,)."""
    angle = float(np.linalg.norm(vector))
    if angle < 1e-12:
        return np.eye(3)
    quaternion, matrix = np.zeros(4), np.zeros(9)
    mujoco.mju_axisAngle2Quat(quaternion, vector / angle, angle)
    mujoco.mju_quat2Mat(matrix, quaternion)
    return matrix.reshape(3, 3)


def mix(first: np.ndarray, second: np.ndarray, share: float) -> np.ndarray:
    """Return the rotation (3, 3) a `share` of the shortest way from `first` to `second`."""
    if share <= 0.0:
        return first
    if share >= 1.0:
        return second
    return from_vector(share * to_vector(second @ first.T)) @ first


def at_most(matrix: np.ndarray, angle: float) -> np.ndarray:
    """Return a rotation (3, 3), shortened to an angle, rad."""
    vector = to_vector(matrix)
    length = float(np.linalg.norm(vector))
    return matrix if length <= angle else from_vector(vector * (angle / length))
