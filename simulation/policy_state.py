"""What a state-based policy sees of a scene: the numbers, and their names."""

from __future__ import annotations

import mujoco
import numpy as np

from simulation.goal_features import GoalFeatures
from simulation.scene import Scene


class PolicyState:
    """Reads a scene's numbers, float64 (P,).

    End-effector position (m, world) and rotation (first two columns of its matrix), arm joints
    (rad), gripper positions and velocities; of each movable object position, rotation and
    position relative to the end-effector (world axes); joints of drawers, doors and knobs;
    fixtures relative to the end-effector; what the goal is about, as `simulation.goal_features`
    has it; and where the goal has several parts, of each whether it holds (0 or 1): when to turn
    from a drawer that is closed to what comes next is otherwise a millimetre among metres.
    """

    def __init__(self, scene: Scene) -> None:
        self._scene, self._goal = scene, GoalFeatures(scene)
        self._parts = scene.atoms if len(scene.atoms) > 1 else ()

    @property
    def names(self) -> tuple[str, ...]:
        """Name of each number."""
        scene = self._scene
        names = [f"eef_pos_{a}" for a in "xyz"]
        names += [f"eef_rot_{i}" for i in range(6)]
        names += [f"arm_joint_{i}" for i in range(7)]
        names += [f"gripper_qpos_{i}" for i in range(2)] + [f"gripper_qvel_{i}" for i in range(2)]
        for item in scene.objects:
            names += [f"{item.name}_pos_{a}" for a in "xyz"]
            names += [f"{item.name}_rot_{i}" for i in range(6)]
            names += [f"{item.name}_to_eef_{a}" for a in "xyz"]
        names += [f"{name}_qpos" for name in scene.joint_names]
        for fixture in scene.fixture_names:
            names += [f"{fixture}_to_eef_{a}" for a in "xyz"]
        parts = ["holds_" + "_".join(atom) for atom in scene.goal] if self._parts else []
        return (*names, *self._goal.names, *parts)

    def read(self, model: mujoco.MjModel, data: mujoco.MjData) -> np.ndarray:
        """Return the numbers (P,) of a simulator's data as it stands.

        Args:
            model: the scene's model, or an environment's copy of it.
            data: of that model. Poses are read, not computed: after a simulator step they are
                of before it, and so is whether the goal's parts hold.
        """
        scene = self._scene
        eef = data.site_xpos[scene.robot.site]
        parts = [
            eef,
            data.xmat[scene.eef_body].reshape(3, 3)[:, :2].ravel(),
            data.qpos[scene.robot.qpos],
            data.qpos[scene.gripper_qpos],
            data.qvel[scene.gripper_qvel],
        ]
        for item in scene.objects:
            position = data.xpos[item.body]
            rotation = data.xmat[item.body].reshape(3, 3)[:, :2].ravel()
            parts += [position, rotation, position - eef]
        parts += [data.qpos[scene.joint_qpos]]
        parts += [(data.xpos[body] - eef) for body in scene.fixture_bodies]
        holds = [float(part(model, data)) for part in self._parts]
        return np.concatenate([*parts, self._goal.read(data), holds])
