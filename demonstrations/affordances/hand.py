"""The Panda's hand: where it is, what it sweeps, and which yaw lays its fingers along a line."""

from __future__ import annotations

import itertools

import mujoco
import numpy as np

from simulation.environment import Environment

FINGER_TIP = 0.013
"""Distance of the finger tips below the grip site, m."""
PALM = 0.048
"""Distance of the palm above the grip site, m."""
_YAW_RANGE = (-1.7, 1.7)
"""Yaws, from the arm's initial pose, at which its wrist joint is far from its limits, rad."""
_REACH = 0.67
"""Distance of the wrist from the shoulder up to which the arm moves freely, m; 0.717 is its end."""
_WRIST_BACK, _WRIST_UP = 0.078, 0.208
"""Wrist from the grip site of an upright hand: toward the robot, and up, m."""
_LEANS = np.linspace(0.0, 0.5, 11)
"""Angles by which the hand may lean back to the robot, rad."""
_FINGERS = np.array(list(itertools.product((-0.062, -0.043, 0.043, 0.062), (0.0,), (-0.012, 0.03))))
_BODY = np.array(
    list(itertools.product((-0.1, -0.05, 0.0, 0.05, 0.1), (-0.033, 0.033), (0.05, 0.09, 0.12)))
)
_WRIST = np.array(list(itertools.product((-0.05, 0.05), (-0.05, 0.05), (0.17, 0.22, 0.27, 0.32))))
_POINTS = np.concatenate((_FINGERS, _BODY, _WRIST))
"""Points of the open hand along its closing axis, across it and above the grip site, m."""
_HULL = np.concatenate(
    (
        list(
            itertools.product((-0.02, 0.0, 0.02), (-0.101, -0.05, 0.0, 0.05, 0.101), (0.025, 0.05))
        ),
        list(itertools.product((-0.037, 0.037), (-0.101, 0.0, 0.101), (0.08, 0.12))),
    )
)
"""Points of the hand without its fingers, in its own axes: across, closing axis, upward, m."""


def position(env: Environment) -> np.ndarray:
    """Return the grip site's position, world frame, m, (3,)."""
    return env.data.site_xpos[env.scene.robot.site].copy()


def gap(env: Environment) -> float:
    """Return the distance between the fingers, m: 0 where they touch, 0.08 where they are open."""
    return float(np.ptp(env.data.qpos[env.scene.gripper_qpos]))


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


def fingers(at: np.ndarray, yaw: float) -> np.ndarray:
    """Return points (N, 3) of the open fingers of an upright hand, its grip site at (3,)."""
    return points(at, yaw)[: len(_FINGERS)]


def lean(env: Environment, at: np.ndarray) -> float:
    """Return how far the hand must lean back so that the arm reaches a position (3,), rad.

    0 if an upright hand does; half a radian if no hand does.
    """
    offset = at - env.data.xpos[env.model.body("robot0_link2").id]
    out, up = np.linalg.norm(offset[:2]), offset[2]
    cosine, sine = np.cos(_LEANS), np.sin(_LEANS)
    wrist_out = out - _WRIST_BACK * cosine - _WRIST_UP * sine
    wrist_up = up + _WRIST_UP * cosine - _WRIST_BACK * sine
    within = np.flatnonzero(np.hypot(wrist_out, wrist_up) <= _REACH)
    return float(_LEANS[within[0]] if len(within) else _LEANS[-1])


def highest(env: Environment, at: np.ndarray) -> float:
    """Return the greatest height at which a leaning hand reaches over a position (3,), m."""
    shoulder = env.data.xpos[env.model.body("robot0_link2").id]
    cosine, sine = np.cos(_LEANS[-1]), np.sin(_LEANS[-1])
    out = np.linalg.norm(at[:2] - shoulder[:2]) - _WRIST_BACK * cosine - _WRIST_UP * sine
    above = np.sqrt(max(_REACH**2 - out**2, 0.0))
    return float(shoulder[2] + above - _WRIST_UP * cosine + _WRIST_BACK * sine)


def rotation(yaw: float, tilt: tuple[float, float] = (0.0, 0.0)) -> np.ndarray:
    """Return the rotation (3, 3) of a hand from the arm's initial pose, world frame.

    Args:
        yaw: about the vertical, rad; comes first.
        tilt: then about world x and after it about world y, rad.
    """
    c, s = np.cos(yaw), np.sin(yaw)
    turn = np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])
    for axis, angle in zip(np.eye(3), tilt, strict=False):
        quaternion, matrix = np.zeros(4), np.zeros(9)
        mujoco.mju_axisAngle2Quat(quaternion, axis, angle)
        mujoco.mju_quat2Mat(matrix, quaternion)
        turn = matrix.reshape(3, 3) @ turn
    return turn


def yaw_and_tilt(turn: np.ndarray) -> tuple[float, tuple[float, float]]:
    """Return yaw and tilt, rad, whose `rotation` is a matrix (3, 3)."""
    about_x = -np.arcsin(np.clip(turn[1, 2], -1.0, 1.0))
    about_y = np.arctan2(turn[0, 2], turn[2, 2])
    yaw = np.arctan2(turn[1, 0], turn[1, 1])
    return float(yaw), (float(about_x), float(about_y))


def leaning(direction: np.ndarray, angle: float) -> tuple[float, float]:
    """Return the tilt by which the upright hand leans in one of the directions +-x and +-y."""
    return float(-direction[1] * angle), float(direction[0] * angle)


def hull(at: np.ndarray, turn: np.ndarray) -> np.ndarray:
    """Return points (N, 3) of the hand without its fingers, turned, its grip site at (3,)."""
    return at + _HULL @ turn.T


def open_fingers(at: np.ndarray, turn: np.ndarray) -> np.ndarray:
    """Return points (N, 3) of the open fingers of a turned hand, its grip site at (3,)."""
    return at + _FINGERS[:, [1, 0, 2]] @ turn.T


def leaned(toward: np.ndarray, yaw: float, angle: float) -> tuple[float, tuple[float, float]]:
    """Return a waypoint's yaw and tilt, rad, of a hand whose back leans in a horizontal direction.

    Args:
        toward: the direction, world frame, (3,).
        yaw: the upright hand's, rad.
        angle: by which it then leans, rad.
    """
    quaternion, matrix = np.zeros(4), np.zeros(9)
    mujoco.mju_axisAngle2Quat(quaternion, np.array([-toward[1], toward[0], 0.0]), angle)
    mujoco.mju_quat2Mat(matrix, quaternion)
    return yaw_and_tilt(matrix.reshape(3, 3) @ rotation(yaw))
