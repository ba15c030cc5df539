"""What is left out of pictures: only what they cannot show."""

from __future__ import annotations

import mujoco
import numpy as np
import pytest

from simulation.pictures import culling
from simulation.pictures.culling import Culling
from simulation.pictures.graphics import new_context
from simulation.pictures.look import Look, Number
from simulation.pictures.rendering import DEFAULT_CAMERAS, Renderer, View
from simulation.tasks import get_task

MIRRORED = """
<mujoco>
  <asset>
    <material name="chrome" reflectance="0.8" rgba="0.3 0.3 0.3 1"/>
    <material name="red" emission="1" rgba="1 0 0 1"/>
    {mesh}
  </asset>
  <worldbody>
    <light pos="0 0 3" castshadow="{shadows}"/>
    <camera name="front" pos="0 -2 1" xyaxes="1 0 0 0 0.4 1"/>
    {mirror}
    <geom type="sphere" pos="0 2.6 2.4" size="0.7" material="red" group="1"/>
    <geom type="sphere" pos="0 -9 0" size="0.3" rgba="0 1 0 1" group="1"/>
    {tent}
  </worldbody>
</mujoco>
"""


def draw(model, context, culled: Culling | None, data) -> tuple[np.ndarray, int]:
    """One picture of 64 x 64 pixels and how many geoms were drawn for it."""
    scene, camera = mujoco.MjvScene(model, 50), mujoco.MjvCamera()
    camera.type, camera.fixedcamid = mujoco.mjtCamera.mjCAMERA_FIXED, 0
    options = mujoco.MjvOption()
    options.geomgroup[0] = 0
    options.sitegroup[:] = 1
    if culled:
        culled.before(0, 64, 64, shadows=bool(model.light_castshadow.any()))
    mujoco.mjv_updateScene(model, data, options, None, camera, mujoco.mjtCatBit.mjCAT_ALL, scene)
    if culled:
        culled.after(scene)
    pixels, viewport = np.empty((64, 64, 3), np.uint8), mujoco.MjrRect(0, 0, 64, 64)
    mujoco.mjr_render(viewport, scene, context)
    mujoco.mjr_readPixels(pixels, None, viewport, context)
    return pixels, scene.ngeom


MIRROR = 'type="box" pos="0 0 -0.1" size="1 1 0.1" material="chrome" group="1"'
TENT = {
    "mesh": '<mesh name="tent" vertex="0 0 0  1 0 0  0 1 0  0 0 1"/>',
    "tent": '<geom type="mesh" mesh="tent" pos="0 0 0.1" group="1"/>',
}


@pytest.mark.parametrize(
    ("parts", "left_out"),
    [
        ({"mirror": f"<geom {MIRROR}/>", **TENT}, 1),
        ({"mirror": f"<geom {MIRROR}/>"}, 1),  # no mesh at all
        ({"mirror": f"<geom {MIRROR}/>", "shadows": "true", **TENT}, 0),
        ({"mirror": f"<site {MIRROR}/>", **TENT}, 0),
    ],
    ids=["mirror", "no mesh", "shadows", "site"],
)
def test_mirrors_and_shadows(parts, left_out):
    """What only the mirror shows stays; where shadows fall, or a site is a mirror, all does."""
    text = MIRRORED.format_map({"shadows": "false", "mesh": "", "tent": "", **parts})
    model = mujoco.MjModel.from_xml_string(text)
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    gl = new_context(640, 480)
    gl.make_current()
    try:
        context = mujoco.MjrContext(model, mujoco.mjtFontScale.mjFONTSCALE_100)
        mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN, context)
        whole, all_geoms = draw(model, context, None, data)
        red = whole[..., 0].astype(int) > 2 * whole[..., 1]
        assert red.sum() > 20, "the red sphere is seen in the mirror"
        culled, geoms = draw(model, context, Culling(model, data, context), data)
        assert np.array_equal(culled, whole)
        assert geoms == all_geoms - left_out  # the green sphere behind the camera
        context.free()
    finally:
        gl.free()


def states(task) -> np.ndarray:
    """The arm elsewhere in each, the objects in part of them."""
    first, rng = task.init_states()[0], np.random.default_rng(0)
    found = [first]
    for _ in range(3):
        state = first.copy()
        state[1:8] += rng.uniform(-0.4, 0.4, 7)
        found.append(state)
    return np.stack([*found, task.init_states()[7]])


def looks(model: mujoco.MjModel) -> list[Look]:
    """The model's own; a camera elsewhere; a light that casts shadows."""
    camera = model.camera("agentview").id
    moved = Number("cam_pos", camera, model.cam_pos[camera] + [-0.2, 0.5, 0.1])
    return [
        Look(),
        Look((moved, Number("cam_fovy", camera, 70.0))),
        Look((Number("light_castshadow", 0, True),)),
    ]


@pytest.mark.parametrize(
    "name",
    [
        "KITCHEN_SCENE3_turn_on_the_stove",
        "LIVING_ROOM_SCENE1_pick_up_the_ketchup_and_put_it_in_the_basket",
        "STUDY_SCENE1_pick_up_the_book_and_place_it_in_the_left_compartment_of_the_caddy",
    ],
)
def test_pictures_stay_the_same(name, pack, monkeypatch):
    """Colours, depth and geoms, in two sizes, with another camera and shadows, too."""
    monkeypatch.setattr("simulation.pictures.rendering.drawn_by_processor", lambda: True)
    monkeypatch.setattr(culling, "_MANY_FACES", 10)
    task = get_task(name)
    views = [
        View(camera, *size, depth=True, segmentation=True)
        for camera in (*DEFAULT_CAMERAS, "frontview")
        for size in ((128, 128), (96, 60))
    ]
    with Renderer(task, pack) as fast, Renderer(task, pack) as slow:
        slow._culling = None
        fixtures = fast.scene.sample_placement(0).fixtures
        for look in looks(fast.model):
            for renderer in (fast, slow):
                renderer.wear(look)
            for state in states(task):
                expected = slow.render_views(state, fixtures, views)
                found = fast.render_views(state, fixtures, views)
                for one, other in zip(found, expected, strict=True):
                    np.testing.assert_array_equal(one.rgb, other.rgb)
                    np.testing.assert_array_equal(one.depth, other.depth)
                    np.testing.assert_array_equal(one.segmentation, other.segmentation)
            if look == Look():
                assert fast._culling is not None
                kept = [part.faces for part in fast._culling._parts.values()]
                assert any(faces is not None for faces in kept), "no mesh was shortened"
                assert (fast.model.geom_group != slow.model.geom_group).any(), "none left out"
