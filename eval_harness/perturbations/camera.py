"""The camera axis: the scene's camera stands elsewhere around the same point, with another lens."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import mujoco
import numpy as np
import numpy.typing as npt

from eval_harness.perturbations.base import Perturbation, PerturbationError, unit_vector
from eval_harness.perturbations.surfaces import base_height, bounding_boxes, inside
from simulation.pictures.look import Look, Number
from simulation.tasks import Task

CAMERA = "agentview"
"""The camera that moves; the one in the hand sits where the robot's maker put it."""
_CLEARANCE = 0.05
"""Least distance of a camera from everything that stands, m."""


@dataclass(frozen=True)
class CameraMove:
    """Where the camera goes, relative to its own place."""

    azimuth: float = 0.0
    """About the vertical through the point that it looks at, degrees, seen from above."""
    elevation: float = 0.0
    """Upwards on the sphere about that point, degrees."""
    distance: float = 1.0
    """Factor of the distance from that point."""
    field_of_view: float = 0.0
    """Added to the vertical field of view, degrees."""

    def look(self, model: mujoco.MjModel) -> Look:
        """Return the look of a model's pictures from there.

        Raises:
            PerturbationError: the camera would be inside something, or outside the room.
        """
        camera = model.camera(CAMERA).id
        rotation = np.empty(9)
        mujoco.mju_quat2Mat(rotation, model.cam_quat[camera])
        position, axes = model.cam_pos[camera], rotation.reshape(3, 3)
        target = looked_at(model)
        turn = _about((0.0, 0.0, 1.0), self.azimuth) @ _about(axes[:, 0], -self.elevation)
        there = target + turn @ (position - target) * self.distance
        check_free(model, there)
        quaternion = np.empty(4)
        mujoco.mju_mat2Quat(quaternion, (turn @ axes).ravel())
        view = float(model.cam_fovy[camera]) + self.field_of_view
        return Look(
            (
                Number("cam_pos", camera, there),
                Number("cam_quat", camera, quaternion),
                Number("cam_fovy", camera, view),
            )
        )


@dataclass(frozen=True)
class Camera(Perturbation):
    """Moves the scene's camera: all four at once, their shares of the range of one length."""

    axis: ClassVar[str] = "camera"
    azimuth: float = 40.0
    """Most, to either side, degrees."""
    elevation: float = 20.0
    """Most, up or down, degrees."""
    distance: float = 0.3
    """Most, nearer or farther, share of the distance."""
    field_of_view: float = 12.0
    """Most, narrower or wider, degrees."""

    def draw(self, task: Task, seed: int) -> CameraMove:
        """Return an episode's move."""
        if not self.active:
            return CameraMove()
        rng = self.draws(task, seed)
        a, b, c, d = unit_vector(rng, 4) * self.amount(rng)
        return CameraMove(
            a * self.azimuth, b * self.elevation, 1 + c * self.distance, d * self.field_of_view
        )

    def look(self, model: mujoco.MjModel, task: Task, seed: int) -> Look:
        """Return the look from the moved camera.

        Raises:
            PerturbationError: it would be inside something, or outside the room.
        """
        return self.draw(task, seed).look(model) if self.active else Look()


def looked_at(model: mujoco.MjModel) -> npt.NDArray[np.float64]:
    """Return the point of the table or floor that the camera looks at, m, world frame (3,)."""
    camera = model.camera(CAMERA).id
    rotation = np.empty(9)
    mujoco.mju_quat2Mat(rotation, model.cam_quat[camera])
    position, forward = model.cam_pos[camera], -rotation.reshape(3, 3)[:, 2]
    drop = position[2] - base_height(model)
    return np.asarray(position + forward * drop / max(-forward[2], 0.2))


def check_free(model: mujoco.MjModel, position: npt.NDArray[np.float64]) -> None:
    """Check that a camera could stand at a point, m, world frame (3,).

    Raises:
        PerturbationError: it is inside the table, a wall or the room's furniture, under the floor
            or table, or behind a wall. The task's objects and fixtures, which stand elsewhere in
            each episode, do not count.
    """
    data = mujoco.MjData(model)
    mujoco.mj_kinematics(model, data)
    where = f"a camera at ({', '.join(f'{x:.2f}' for x in position)}) m would be"
    if position[2] < base_height(model) + _CLEARANCE:
        raise PerturbationError(f"{where} inside or under the table: raise it, or turn it less")
    stands = np.array([not model.body(b).name.endswith("_main") for b in model.body_rootid])
    stands &= model.body_weldid == 0
    for geom in np.flatnonzero(
        stands[model.geom_bodyid] & inside(model, data, position, _CLEARANCE)
    ):
        name = model.geom(geom).name or model.body(model.geom_bodyid[geom]).name
        raise PerturbationError(f"{where} inside {name}: move it less")
    walls = [g for g in range(model.ngeom) if "wall" in model.geom(g).name]
    if walls:
        room = bounding_boxes(model, data)[walls]
        if np.any(position < room.min(axis=(0, 1))) or np.any(position > room.max(axis=(0, 1))):
            raise PerturbationError(f"{where} outside the room's walls: move it less")


def _about(axis: npt.ArrayLike, degrees: float) -> npt.NDArray[np.float64]:
    """Return the rotation (3, 3) about an axis."""
    quaternion, matrix = np.empty(4), np.empty(9)
    mujoco.mju_axisAngle2Quat(quaternion, np.asarray(axis, np.float64), np.deg2rad(degrees))
    mujoco.mju_quat2Mat(matrix, quaternion)
    return matrix.reshape(3, 3)
