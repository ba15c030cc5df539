"""The Panda's hand: where it is, what it sweeps, and which yaw lays its fingers along a line."""

from __future__ import annotations

import itertools

import mujoco
import numpy as np

from simulation.environment import Environment

OPENING = 0.08
"""Width between the open fingers, m."""
FINGER_TIP = 0.013
"""Distance of the finger tips below the grip site, m."""
PALM = 0.048
"""Distance of the palm above the grip site, m."""
_YAW_RANGE = (-1.7, 1.7)
"""Yaws, from the arm's initial pose, at which its wrist joint is far from its limits, rad."""
_FINGERS = np.array(list(itertools.product((-0.062, -0.043, 0.043, 0.062), (0.0,), (-0.012, 0.03))))
_BODY = np.array(
    list(itertools.product((-0.1, -0.05, 0.0, 0.05, 0.1), (-0.033, 0.033), (0.05, 0.09, 0.12)))
)
_POINTS = np.concatenate((_FINGERS, _BODY))
"""Points of the open hand along its closing axis, across it and above the grip site, m."""


def position(env: Environment) -> np.ndarray:
    """Return the grip site's position, world frame, m, (3,)."""
    return env.data.site_xpos[env.scene.robot.site].copy()


def opening(env: Environment) -> float:
    """Return the width between the fingers, m."""
    return float(np.abs(env.data.qpos[env.scene.gripper_qpos]).sum())


def closing_axis(yaw: float) -> np.ndarray:
    """Return the horizontal direction along which the fingers close, world frame, (3,)."""
    return np.array([np.sin(yaw), -np.cos(yaw), 0.0])


def yaws_along(angle: float) -> list[float]:
    """Return the yaws within reach whose closing axis lies along a horizontal direction, rad.

    A parallel gripper has two of them, half a turn apart; the smaller comes first.
    """
    first = angle + 0.5 * np.pi
    turned = [first + turn * np.pi for turn in range(-3, 4)]
    return sorted((y for y in turned if _YAW_RANGE[0] <= y <= _YAW_RANGE[1]), key=abs)


def points(at: np.ndarray, yaw: float) -> np.ndarray:
    """Return points (N, 3) of the open, upright hand whose grip site is at a position (3,)."""
    axis = closing_axis(yaw)
    across = np.array([-axis[1], axis[0], 0.0])
    return at + _POINTS @ np.stack((axis, across, np.array([0.0, 0.0, 1.0])))


def leaning(toward: np.ndarray, yaw: float, angle: float) -> tuple[float, tuple[float, float]]:
    """Return a waypoint's yaw and tilt, rad, of a hand whose back leans in a horizontal direction.

    Args:
        toward: the direction, world frame, (3,).
        yaw: the upright hand's, rad.
        angle: by which it then leans, rad.
    """
    quaternion, matrix = np.zeros(4), np.zeros(9)
    mujoco.mju_axisAngle2Quat(quaternion, np.array([-toward[1], toward[0], 0.0]), angle)
    mujoco.mju_quat2Mat(matrix, quaternion)
    c, s = np.cos(yaw), np.sin(yaw)
    turned = matrix.reshape(3, 3) @ np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])
    tilt = float(-np.arcsin(turned[1, 2])), float(np.arctan2(turned[0, 2], turned[2, 2]))
    return float(np.arctan2(turned[1, 0], turned[1, 1])), tilt
