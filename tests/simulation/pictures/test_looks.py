"""The embedded pack's own robot: drawn like robosuite's, with the physics untouched."""

from __future__ import annotations

import copy

import mujoco
import numpy as np
import pytest

from simulation.assets.embedded.robots import robot
from simulation.assets.resolve import AssetPack, embedded_pack
from simulation.pictures.rendering import DEFAULT_CAMERAS, Renderer, View
from simulation.scene import load_scene
from simulation.tasks import Task, get_task

TABLE = get_task("libero_90/KITCHEN_SCENE5_put_the_black_bowl_on_the_plate")
FLOOR = get_task("libero_object/pick_up_the_bbq_sauce_and_place_it_in_the_basket")
ROBOT = ("robot0", "gripper0", "mount0")


@pytest.fixture(scope="module")
def pack() -> AssetPack:
    return embedded_pack()


def robot_mask(task: Task, pack: AssetPack, camera: str) -> np.ndarray:
    """Where the robot is seen, bool (128, 128)."""
    fixtures = load_scene(task, pack).sample_placement(0).fixtures
    with Renderer(task, pack) as renderer:
        (picture,) = renderer.render_views(
            task.init_states()[0], fixtures, [View(camera, 128, 128, segmentation=True)]
        )
        robot = np.array([segment.owner in ROBOT for segment in renderer.segments] + [False])
    assert picture.segmentation is not None
    return robot[picture.segmentation]


@pytest.mark.parametrize("task", [TABLE, FLOOR], ids=["table", "floor"])
def test_its_outline_is_robosuites(task, pack, bare_pack) -> None:
    for camera in DEFAULT_CAMERAS:
        ours, theirs = (robot_mask(task, assets, camera) for assets in (pack, bare_pack))
        assert theirs.mean() > 0.05
        assert (ours & theirs).sum() / (ours | theirs).sum() > 0.9


def solids(model: mujoco.MjModel) -> dict[str, np.ndarray]:
    """What decides contacts, of the geoms that collide."""
    solid = (model.geom_contype != 0) | (model.geom_conaffinity != 0)
    fields = ("bodyid", "type", "size", "pos", "quat", "friction", "solref", "solimp", "margin")
    return {name: getattr(model, f"geom_{name}")[solid] for name in fields}


def test_physics_is_untouched(pack, bare_pack) -> None:
    scene = load_scene(TABLE, pack)
    ours, theirs = (copy.copy(load_scene(TABLE, p).visual_model) for p in (pack, bare_pack))
    for model in (ours, theirs):  # where fixtures stand is drawn anew for each scene
        model.body_pos[scene.fixture_bodies] = model.body_quat[scene.fixture_bodies] = 0
    for prefix in ("body", "jnt", "dof", "site", "actuator", "cam", "light"):
        for name in (name for name in dir(theirs) if name.startswith(f"{prefix}_")):
            if name not in ("body_geomadr", "body_geomnum", "body_bvhadr", "body_bvhnum"):
                found, wanted = getattr(ours, name), getattr(theirs, name)
                np.testing.assert_array_equal(found, wanted, err_msg=name)
    for name, wanted in solids(theirs).items():
        np.testing.assert_array_equal(solids(ours)[name], wanted, err_msg=name)


def test_it_is_light_and_whole(pack) -> None:
    """robosuite's meshes have 165 thousand faces."""
    model = load_scene(TABLE, pack).visual_model
    assert set(robot()) <= {model.body(body).name for body in range(model.nbody)}
    drawn = (model.geom_group == 1) & (model.geom_type == mujoco.mjtGeom.mjGEOM_MESH)
    assert 0 < model.mesh_facenum[model.geom_dataid[drawn]].sum() < 10_000
