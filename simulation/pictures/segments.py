"""What the geom ids of a segmented picture stand for, and how they are read from its colours."""

from __future__ import annotations

from dataclasses import dataclass

import mujoco
import numpy as np

from simulation.scene import Scene

_ROBOT_PARTS = ("robot0", "gripper0", "mount0")
_FLAGS = (int(mujoco.mjtRndFlag.mjRND_SEGMENT), int(mujoco.mjtRndFlag.mjRND_IDCOLOR))


@dataclass(frozen=True)
class Segment:
    """What a geom id of a segmentation stands for."""

    geom: str
    """Name of the geom, or empty: many have none."""
    body: str
    """Name of its body, such as `wooden_cabinet_1_cabinet_top`."""
    owner: str
    """Object or fixture, such as `akita_black_bowl_1`; `robot0`, `gripper0`, `mount0`; `arena`."""


def list_segments(scene: Scene, model: mujoco.MjModel) -> tuple[Segment, ...]:
    """Return what each geom of the scene's visual model is part of, by geom id."""
    owners = {entry.body: entry.name for entry in scene.objects}
    owners |= dict(zip(scene.fixture_bodies.tolist(), scene.fixture_names, strict=True))
    owners[0] = "arena"
    for body in range(1, model.nbody):  # parents come before their children
        part = model.body(body).name.split("_", 1)[0]
        inherited = owners[int(model.body_parentid[body])]
        owners.setdefault(body, part if part in _ROBOT_PARTS else inherited)
    return tuple(
        Segment(model.geom(geom).name, model.body(body).name, owners[body])
        for geom, body in enumerate(model.geom_bodyid.tolist())
    )


def draw_numbers(
    viewport: mujoco.MjrRect, scene: mujoco.MjvScene, context: mujoco.MjrContext
) -> np.ndarray:
    """Draw each geom in a colour that is its number; return geom ids, int32 (height, width).

    Rows start at the bottom, as OpenGL's. -1 is the background, and what is not a geom.
    """
    pixels = np.empty((viewport.height, viewport.width, 3), np.uint8)
    for flag in _FLAGS:
        scene.flags[flag] = 1
    try:
        mujoco.mjr_render(viewport, scene, context)
    finally:
        for flag in _FLAGS:
            scene.flags[flag] = 0
    mujoco.mjr_readPixels(pixels, None, viewport, context)
    numbers = pixels.astype(np.int32) @ np.array([1, 1 << 8, 1 << 16], np.int32)
    geoms = np.full(scene.ngeom + 1, -1, np.int32)
    for index in range(scene.ngeom):
        drawn = scene.geoms[index]
        if drawn.segid >= 0 and drawn.objtype == mujoco.mjtObj.mjOBJ_GEOM:
            geoms[drawn.segid + 1] = drawn.objid
    return geoms[np.where(numbers < len(geoms), numbers, 0)]
