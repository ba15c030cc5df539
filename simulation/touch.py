"""Whether the hand touches anything: contacts of its fingers with what is not the robot."""

from __future__ import annotations

import mujoco
import numpy as np

FINGERS = ("gripper0_leftfinger", "gripper0_rightfinger")
"""Bodies of the fingers; their pads are children of these."""


class FingerTouch:
    """Tells whether a finger touches anything but the robot itself.

    Args:
        model: compiled model of a scene, with robosuite's Panda hand.
    """

    def __init__(self, model: mujoco.MjModel) -> None:
        fingers = [body for body in range(model.nbody) if model.body(body).name in FINGERS]
        body = np.asarray(model.geom_bodyid)
        root = np.asarray(model.body_rootid)
        self._finger = np.isin(body, fingers) | np.isin(model.body_parentid[body], fingers)
        self._robot = np.isin(root[body], root[fingers])

    def __call__(self, data: mujoco.MjData) -> bool:
        """Return whether one does, by the contacts of the last simulator step."""
        pairs = data.contact.geom[: data.ncon]
        if not len(pairs):
            return False
        by_finger, by_robot = self._finger[pairs].any(axis=1), self._robot[pairs].all(axis=1)
        return bool((by_finger & ~by_robot).any())
