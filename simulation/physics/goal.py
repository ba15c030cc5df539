"""The goal pose that an action sets, with the bits of robosuite's own arithmetic.

robosuite turns the rotation into a quaternion of single precision and that into a matrix. Its
array expressions are written out here number by number, for numba takes seconds over each.
"""

from __future__ import annotations

import numpy as np

from simulation.physics.factor import compiled
from simulation.physics.lanes import address_of, offset, singles_at
from simulation.physics.opspace import NORMAL, THREE, dot_double, dot_single, multiply

POSITION_SCALE = 0.05
"""Metres of end-effector translation for an action of 1."""
ROTATION_SCALE = 0.5
"""Radians of end-effector rotation for an action of 1."""
GOAL_SCRATCH = 14
"""Doubles that `set_goal` works in: rotation (3), matrix (9), and a quaternion of singles."""


@compiled
def set_goal(state, action, scratch):  # type: ignore[no-untyped-def]
    """Set the goal pose from a delta action (OSC_POSE, delta mode); all are pointers."""
    rotation, matrix = scratch, offset(scratch, 3)
    for i in range(3):
        rotation[i] = _clipped(action[3 + i]) * ROTATION_SCALE
    if rotation[0] != 0.0 or rotation[1] != 0.0 or rotation[2] != 0.0:
        _rotation_matrix(rotation, matrix, singles_at(address_of(offset(scratch, 12))))
        goal, current = address_of(state.goal_orientation), address_of(state.orientation)
        multiply(
            NORMAL, NORMAL, THREE, THREE, THREE, current, THREE, address_of(matrix), THREE, goal
        )
    for i in range(3):
        state.goal_position[i] = state.position[i] + _clipped(action[i]) * POSITION_SCALE


@compiled
def _clipped(value):  # type: ignore[no-untyped-def]
    return min(max(value, -1.0), 1.0)


@compiled
def _rotation_matrix(rotation, matrix, q):  # type: ignore[no-untyped-def]
    """Write the matrix (3, 3), C order, of an axis-angle, rad, as robosuite's `quat2mat` does.

    `q` is scratch memory for the quaternion (w, x, y, z).
    """
    angle = np.sqrt(dot_double(THREE, address_of(rotation)))
    sine = np.sin(angle / 2.0)
    q[0] = np.float32(np.cos(angle / 2.0))
    for i in range(3):
        q[1 + i] = np.float32(rotation[i] / angle * sine)
    scale = np.sqrt(2.0 / np.float64(dot_single(np.int64(4), address_of(q))))
    for i in range(4):
        q[i] = np.float32(np.float64(q[i]) * scale)
    w, x, y, z = q[0], q[1], q[2], q[3]
    matrix[0], matrix[1], matrix[2] = 1.0 - y * y - z * z, x * y - z * w, x * z + y * w
    matrix[3], matrix[4], matrix[5] = x * y + z * w, 1.0 - x * x - z * z, y * z - x * w
    matrix[6], matrix[7], matrix[8] = x * z - y * w, y * z + x * w, 1.0 - x * x - y * y
