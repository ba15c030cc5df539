"""What the goal is about, as a policy can use it: hand to things, and things to each other.

A policy's state holds where everything is. What decides a grasp or a release are millimetres
between the hand and a thing, or between two things, which disappear in a room of half a metre: so
each distance is given a second time, squashed to what it is within two centimetres.
"""

from __future__ import annotations

import mujoco
import numpy as np

from simulation.scene import Scene

NEAR = 0.02
"""Distances are squashed by tanh(d / NEAR), m."""
_AXES = "xyz"


class GoalFeatures:
    """Reads the numbers about a task's goal from a simulator's state.

    Each argument of a goal predicate is a frame: an object's body, a region's site, or the link of
    a door or a knob of a fixture that is told by its name alone.

    Args:
        scene: the scene; its model's ids are those of each environment's copy.
    """

    def __init__(self, scene: Scene) -> None:
        self._site, self._hand = scene.robot.site, scene.eef_body
        frames = {name: _frame(scene, name) for atom in scene.goal for name in atom[1:]}
        order = list(frames)
        kinds = [kind for kind, _ in frames.values()]
        self._is_site = np.array([kind == "site" for kind in kinds], dtype=bool)
        self._is_link = np.array([kind == "link" for kind in kinds], dtype=bool)
        self._ids = np.array([index for _, index in frames.values()], dtype=np.int64)
        pairs = [atom[1:] for atom in scene.goal if len(atom) == 3]
        self._pairs = np.array(
            [[order.index(first), order.index(second)] for first, second in pairs], dtype=np.int64
        ).reshape(-1, 2)
        self.names = tuple(
            [f"goal_{name}_{part}" for name in order for part in _FRAME_PARTS]
            + [f"goal_{a}_to_{b}_{part}" for a, b in pairs for part in _PAIR_PARTS]
        )
        """Name of each number of `read`."""

    def read(self, data: mujoco.MjData) -> np.ndarray:
        """Return the numbers, float64, named by `names`.

        Of each frame: from the hand, squashed, along the world's axes (3); the hand's position in
        the frame, m (3), and squashed (3); the hand's rotation in the frame, first two columns of
        its matrix (6). Of each pair that a predicate relates: from the first to the second, m (3),
        and squashed (3), along the world's axes.
        """
        site, ids = self._is_site, self._ids
        positions, rotations = np.empty((len(ids), 3)), np.empty((len(ids), 3, 3))
        positions[site], positions[~site] = data.site_xpos[ids[site]], data.xpos[ids[~site]]
        positions[self._is_link] = data.xipos[ids[self._is_link]]
        rotations[site] = data.site_xmat[ids[site]].reshape(-1, 3, 3)
        rotations[~site] = data.xmat[ids[~site]].reshape(-1, 3, 3)
        to_frame = positions - data.site_xpos[self._site]
        inverse = rotations.transpose(0, 2, 1)
        hand = -(inverse @ to_frame[:, :, None])[:, :, 0]
        turn = (inverse @ data.xmat[self._hand].reshape(3, 3)[:, :2]).reshape(-1, 6)
        of_frames = [np.tanh(to_frame / NEAR), hand, np.tanh(hand / NEAR), turn]
        between = positions[self._pairs[:, 1]] - positions[self._pairs[:, 0]]
        return np.concatenate(
            [
                np.concatenate(of_frames, axis=1).ravel(),
                np.concatenate([between, np.tanh(between / NEAR)], axis=1).ravel(),
            ]
        )


_FRAME_PARTS = (
    *(f"near_{a}" for a in _AXES),
    *(f"hand_{a}" for a in _AXES),
    *(f"hand_near_{a}" for a in _AXES),
    *(f"hand_rot_{i}" for i in range(6)),
)
_PAIR_PARTS = (*_AXES, *(f"near_{a}" for a in _AXES))


def _frame(scene: Scene, name: str) -> tuple[str, int]:
    """Return the kind and id of the frame that an argument of the goal is.

    Raises:
        KeyError: the scene has nothing of this name.
    """
    model = scene.model
    links = [
        int(model.jnt_bodyid[mujoco.mj_name2id(model, mujoco.mjtObj.mjOBJ_JOINT, joint)])
        for joint in scene.joint_names
        if joint.startswith(f"{name}_")
    ]
    if links:
        return "link", links[0]
    for kind, form in (("site", mujoco.mjtObj.mjOBJ_SITE), ("body", mujoco.mjtObj.mjOBJ_BODY)):
        for candidate in (name, f"{name}_main"):
            if (index := mujoco.mj_name2id(model, form, candidate)) >= 0:
                return kind, int(index)
    raise KeyError(f"{scene.task.name} has no site or body {name!r}")
