"""Sets of observations of an environment, with upstream's own values.

| set            | key                     | shape     | what                                     |
|----------------|-------------------------|-----------|------------------------------------------|
| `proprio`      | `proprio`               | (8,)      | end-effector position (3, m, world), its |
|                |                         |           | axis-angle (3, rad), fingers (2, m)      |
| `joint`        | `joint`                 | (18,)     | arm angles (7, rad) and velocities (7,   |
|                |                         |           | rad/s), fingers (2, m; 2, m/s)           |
| `privileged`   | `privileged`            | (P,)      | see `Observer.privileged`                |
| `pixels`       | `<camera>_image`        | (H, W, 3) | uint8                                    |
| `depth`        | `<camera>_depth`        | (H, W, 1) | float32, see `Observer.pictures`         |
| `segmentation` | `<camera>_segmentation` | (H, W, 1) | int32, see `Observer.pictures`           |

Numbers are float64; quaternions are (x, y, z, w), as upstream's are. All are read from the state
that upstream samples them from, up to two simulator steps (4 ms) before the end of a step: see
`simulation.physics.sampling`. Nothing is computed, and no picture drawn, before it is asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import mujoco
import numba
import numpy as np

from simulation.pictures.rendering import Renderer, View
from simulation.quiet import quiet_robosuite

if TYPE_CHECKING:
    from simulation.environment import Environment

with quiet_robosuite():
    from robosuite.utils.transform_utils import mat2quat, quat2axisangle, quat2mat

PROPRIO_DIM = 8
"""Length of `proprio`."""
JOINT_DIM = 18
"""Length of `joint`."""
NUMBER_SETS = ("proprio", "joint", "privileged")
"""Sets of numbers."""
PICTURE_SETS: dict[str, tuple[str, int, type[np.generic], float, float]] = {
    "pixels": ("image", 3, np.uint8, 0, 255),
    "depth": ("depth", 1, np.float32, 0, np.inf),
    "segmentation": ("segmentation", 1, np.int32, -1, np.iinfo(np.int32).max),
}
"""Sets of pictures: name -> end of the keys, channels, type, least and greatest value."""
SETS = (*NUMBER_SETS, *PICTURE_SETS)

_XYZW = [1, 2, 3, 0]
_OBJECT_PARTS = ("pos_x", "pos_y", "pos_z", "quat_x", "quat_y", "quat_z", "quat_w")
_RELATIVE_PARTS = tuple(f"to_robot0_eef_{part}" for part in _OBJECT_PARTS)


class Observer:
    """Reads the numbers that upstream observes of one environment.

    Args:
        env: the environment; what is read is always its present episode.
    """

    def __init__(self, env: Environment) -> None:
        self._env = env
        self._scene = env.scene
        self._poses = mujoco.MjData(env.model)
        self._object_bodies = np.array([o.body for o in env.scene.objects], dtype=np.int64)

    def proprio(self) -> np.ndarray:
        """Return LIBERO's 8-D state: end-effector position, axis-angle, fingers; (8,)."""
        self._update_poses()
        return self._proprio()

    def joint(self) -> np.ndarray:
        """Return arm angles (7), arm velocities (7), finger positions (2) and velocities (2)."""
        sample, robot, scene = self._env.sample, self._scene.robot, self._scene
        return np.concatenate(
            (
                sample.qpos[robot.qpos],
                sample.qvel[robot.qvel],
                sample.qpos[scene.gripper_qpos],
                sample.qvel[scene.gripper_qvel],
            )
        )

    @property
    def privileged_names(self) -> tuple[str, ...]:
        """Name of each number of `privileged()`."""
        names = [f"{o.name}_{part}" for o in self._scene.objects for part in _OBJECT_PARTS]
        names += [f"{o.name}_{part}" for o in self._scene.objects for part in _RELATIVE_PARTS]
        names += [f"{joint}_qpos" for joint in self._scene.joint_names]
        names += [f"{name}_{part}" for name in self._scene.fixture_names for part in _OBJECT_PARTS]
        return tuple(names)

    def privileged(self) -> np.ndarray:
        """Return what no sensor of a real robot would give, (P,), named by `privileged_names`.

        Position (m) and quaternion of each movable object in the world frame (7 numbers each),
        then in the end-effector's frame (7 each; single precision, as upstream's are); joints of
        drawers, doors and knobs (m or rad); the fixtures' positions and quaternions in the world
        frame (7 each), which a reset draws and which upstream does not observe.
        """
        self._update_poses()
        return self._privileged()

    def upstream(self) -> dict[str, np.ndarray]:
        """Return upstream's observation without pictures, under upstream's names."""
        self._update_poses()
        joint = self.joint()
        values = {
            "robot0_joint_pos": joint[:7],
            "robot0_joint_pos_cos": np.cos(joint[:7]),
            "robot0_joint_pos_sin": np.sin(joint[:7]),
            "robot0_joint_vel": joint[7:14],
            "robot0_eef_pos": self._eef_position(),
            "robot0_eef_quat": self._eef_quaternion(),
            "robot0_gripper_qpos": joint[14:16],
            "robot0_gripper_qvel": joint[16:18],
        }
        proprio = np.concatenate(list(values.values()))
        objects = {}
        absolute, relative = self._objects(), self._objects_in_eef_frame()
        for i, item in enumerate(self._scene.objects):
            objects[f"{item.name}_pos"] = absolute[i, :3]
            objects[f"{item.name}_quat"] = absolute[i, 3:]
            objects[f"{item.name}_to_robot0_eef_pos"] = relative[i, :3]
            objects[f"{item.name}_to_robot0_eef_quat"] = relative[i, 3:]
        values |= objects
        values["robot0_proprio-state"] = proprio
        values["object-state"] = np.concatenate(list(objects.values()))
        return values

    def pictures(
        self, renderer: Renderer, sets: Sequence[str], cameras: Sequence[str], size: tuple[int, int]
    ) -> dict[str, np.ndarray]:
        """Return what the cameras see, by the keys of this file's table.

        The first row is the lowest, as in upstream's arrays (robosuite's `opengl` convention),
        and lies first in memory. Depth is the distance along the camera's axis in metres, of
        which upstream gives OpenGL's buffer; a segmentation holds indices into
        `Renderer.segments`, or -1 for the sky. A stove's burner glows from the sampled state on,
        upstream's from the end of the step on.

        Args:
            renderer: renderer of the environment's task and assets.
            sets: which of pixels, depth and segmentation.
            cameras: names of cameras.
            size: height and width, pixels.

        Raises:
            RenderError: no such camera, or a picture larger than the renderer's buffer.
        """
        sample, (height, width) = self._env.sample, size
        state = np.concatenate(([self._env.data.time], sample.pose_qpos, sample.qvel))
        wants = {"depth": "depth" in sets, "segmentation": "segmentation" in sets}
        views = [View(camera, width, height, **wants) for camera in cameras]
        arrays = {}
        for view, picture in zip(
            views, renderer.render_views(state, self._env.fixtures(), views), strict=True
        ):
            for name, plane in (
                ("pixels", picture.rgb),
                ("depth", picture.depth),
                ("segmentation", picture.segmentation),
            ):
                if name in sets and plane is not None:
                    key, channels, *_ = PICTURE_SETS[name]
                    array = np.ascontiguousarray(plane[::-1])
                    arrays[f"{view.camera}_{key}"] = array.reshape(height, width, channels)
        return arrays

    def _update_poses(self) -> None:
        """Compute the poses that belong to the sample."""
        self._poses.qpos[:] = self._env.sample.pose_qpos
        mujoco.mj_kinematics(self._env.model, self._poses)

    def _proprio(self) -> np.ndarray:
        rotation = quat2axisangle(self._eef_quaternion())
        fingers = self._env.sample.qpos[self._scene.gripper_qpos]
        return np.concatenate((self._eef_position(), rotation, fingers))

    def _privileged(self) -> np.ndarray:
        return np.concatenate(
            (
                self._objects().ravel(),
                self._objects_in_eef_frame().ravel(),
                self._env.sample.qpos[self._scene.joint_qpos],
                self._bodies(self._scene.fixture_bodies).ravel(),
            )
        )

    def _eef_position(self) -> np.ndarray:
        return self._poses.site_xpos[self._scene.robot.site].copy()

    def _eef_quaternion(self) -> np.ndarray:
        return self._poses.xquat[self._scene.eef_body][_XYZW]

    def _objects(self) -> np.ndarray:
        return self._bodies(self._object_bodies)

    def _bodies(self, bodies: np.ndarray) -> np.ndarray:
        """Return positions and quaternions of bodies in the world frame, (n, 7)."""
        quaternions = self._poses.xquat[bodies][:, _XYZW]
        return np.concatenate((self._poses.xpos[bodies], quaternions), axis=1)

    def _objects_in_eef_frame(self) -> np.ndarray:
        """Return the objects' positions and quaternions in the end-effector's frame, (n, 7)."""
        relative = np.empty((len(self._object_bodies), 7))
        _to_frame(self._eef_position(), self._eef_quaternion(), self._objects(), relative)
        return relative


@numba.njit(nogil=True, cache=True)
def _to_frame(position, quaternion, poses, relative):  # type: ignore[no-untyped-def]
    """Write `poses` (n, 7) in the frame of the given pose to `relative`, as robosuite does.

    Its matrices are of single precision, of which their products keep double.
    """
    world = np.zeros((4, 4))
    rotation = quat2mat(quaternion).astype(np.float32)
    translation = position.astype(np.float32)
    for i in range(3):
        offset = 0.0
        for j in range(3):
            world[i, j] = rotation[j, i]
            offset += world[i, j] * np.float64(translation[j])
        world[i, 3] = -offset
    world[3, 3] = 1.0
    pose = np.zeros((4, 4))
    pose[3, 3] = 1.0
    for i in range(len(poses)):
        pose[:3, :3] = quat2mat(poses[i, 3:]).astype(np.float32)
        pose[:3, 3] = poses[i, :3].astype(np.float32)
        product = np.dot(world, pose)
        relative[i, :3] = product[:3, 3]
        relative[i, 3:] = mat2quat(product[:3, :3])
