"""Pictures of stored states: upstream's to the bit, and what they show."""

from __future__ import annotations

import gc
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from common.errors import InvalidStateError, RenderError
from simulation.assets.resolve import AssetPack
from simulation.environment import Environment
from simulation.pictures import rendering
from simulation.pictures.rendering import DEFAULT_CAMERAS, Renderer, View
from simulation.scene import load_scene
from simulation.tasks import Task, get_task, import_libero, list_tasks

TASK = get_task("KITCHEN_SCENE5_put_the_black_bowl_on_the_plate")
SPATIAL = "pick_up_the_black_bowl_on_the_stove_and_place_it_on_the_plate"
SIZE = 128


@pytest.fixture(scope="module")
def env(pack):
    environment = Environment(TASK, pack)
    environment.reset(seed=0, init_index=3)
    return environment


@pytest.fixture(scope="module")
def renderer(pack):
    with Renderer(TASK, pack) as renderer:
        yield renderer


def test_both_cameras_in_any_size_up_to_the_buffers(renderer, env):
    pictures = [
        renderer.render(env.state(), env.fixtures(), camera, width=96, height=64)
        for camera in DEFAULT_CAMERAS
    ]
    for picture in pictures:
        assert picture.shape == (64, 96, 3) and picture.dtype == np.uint8
        assert picture.std() > 20
    assert np.abs(pictures[0].astype(int) - pictures[1]).mean() > 10
    with pytest.raises(RenderError, match="larger than this renderer's buffer"):
        renderer.render(env.state(), env.fixtures(), width=4096, height=4096)
    with pytest.raises(RenderError, match="64x0 is no picture"):
        renderer.render(env.state(), env.fixtures(), width=64, height=0)


def test_more_than_opengl_draws_is_refused_and_leaves_the_others(renderer, env, pack):
    before = renderer.render(env.state(), env.fixtures())
    for _ in range(3):
        with pytest.raises(RenderError, match=r"60000x32 pixels here .*: ask for smaller ones"):
            Renderer(env.task, pack, 60000, 32)
    assert np.array_equal(renderer.render(env.state(), env.fixtures()), before)


def test_upright(renderer, env):
    """The bright table is below, the dark wall above; the arm stands in the middle."""
    rows = renderer.render(env.state(), env.fixtures()).mean(axis=2)
    assert rows[-64:, 64:192].mean() > 2 * rows[:64, :64].mean()


def test_a_lifted_object_moves_up_in_the_picture(renderer, env):
    low = renderer.render(env.state(), env.fixtures())
    lifted = env.state()
    address = env.model.joint("akita_black_bowl_1_joint0").qposadr[0]
    lifted[1 + address + 2] += 0.1
    changed = np.abs(renderer.render(lifted, env.fixtures()).astype(int) - low).sum(axis=2) > 60
    darker = renderer.render(lifted, env.fixtures()).mean(axis=2) < low.mean(axis=2)
    appeared, vanished = changed & darker, changed & ~darker
    assert np.nonzero(appeared)[0].mean() < np.nonzero(vanished)[0].mean()


def test_the_same_state_gives_the_same_picture(renderer, env, pack):
    state, fixtures = env.state(), env.fixtures()
    before = renderer.render(state, fixtures)
    renderer.render(TASK.init_states()[9], fixtures)
    assert np.array_equal(renderer.render(state, fixtures), before)
    with Renderer(TASK, pack) as other:
        assert np.array_equal(other.render(state, fixtures), before)


def upstream_pictures(
    task: Task, assets: AssetPack, state: np.ndarray
) -> Iterator[tuple[str, np.ndarray, np.ndarray, np.ndarray]]:
    """Camera, colours, depth (m) and geom ids as LIBERO's own environment gives them.

    The ids are decoded here: upstream's decoding overflows with NumPy 2.
    """
    libero = import_libero()
    from libero.libero.envs.env_wrapper import OffScreenRenderEnv
    from robosuite.utils.camera_utils import get_real_depth_map

    setattr(libero, "_assets_path_cache", str(assets.path))  # noqa: B010 (untyped module)
    environment = OffScreenRenderEnv(
        bddl_file_name=str(task.bddl_file),
        camera_heights=SIZE,
        camera_widths=SIZE,
        camera_depths=True,
    )
    try:
        environment.seed(0)
        environment.reset()
        observation = environment.set_init_state(state)
        environment.sim.model.site_size[:] = 1e-8  # as upstream does for segmentation
        context = environment.sim._render_context_offscreen
        for camera in DEFAULT_CAMERAS:
            index = environment.sim.model.camera_name2id(camera)
            context.render(SIZE, SIZE, camera_id=index, segmentation=True)
            numbers = context.read_pixels(SIZE, SIZE).astype(int) @ [1, 256, 65536]
            ids = np.full(context.scn.ngeom + 1, -1)
            for geom in context.scn.geoms[: context.scn.ngeom]:
                if geom.segid != -1:
                    ids[geom.segid + 1] = geom.objid
            numbers[numbers > context.scn.ngeom] = 0
            depth = get_real_depth_map(environment.sim, observation[f"{camera}_depth"])
            yield camera, observation[f"{camera}_image"], depth[:, :, 0], ids[numbers]
    finally:
        environment.close()


def check_parity(task: Task, assets: AssetPack) -> None:
    """Ours are upstream's to the bit, with the rows in reverse."""
    state = task.init_states()[3]
    expected = list(upstream_pictures(task, assets, state))
    views = [View(camera, SIZE, SIZE, depth=True, segmentation=True) for camera in DEFAULT_CAMERAS]
    fixtures = load_scene(task, assets).sample_placement(0).fixtures
    with Renderer(task, assets) as renderer:
        for _ in range(3):  # from the fourth look of a camera on, meshes may be drawn in part
            pictures = renderer.render_views(state, fixtures, views)
        segments = renderer.segments
    for picture, (camera, rgb, depth, geoms) in zip(pictures, expected, strict=True):
        np.testing.assert_array_equal(picture.rgb[::-1], rgb, err_msg=camera)
        assert picture.depth is not None and picture.segmentation is not None
        np.testing.assert_array_equal(picture.depth[::-1], depth, err_msg=camera)
        np.testing.assert_array_equal(picture.segmentation[::-1], geoms, err_msg=camera)
        seen = {segments[geom].owner for geom in np.unique(picture.segmentation) if geom >= 0}
        assert {"arena", "gripper0"} < seen


def test_upstreams_pictures_are_ours_with_real_assets(real_pack):
    check_parity(get_task("libero_goal/turn_on_the_stove"), real_pack)


def test_upstreams_pictures_are_ours_with_embedded_assets(bare_pack):
    check_parity(get_task("libero_spatial/" + SPATIAL), bare_pack)


def scenes() -> dict[str, Task]:
    """The first task of each scene, by the scene's name: the suite's where a task names none."""
    found: dict[str, Task] = {}
    for task in list_tasks():
        name = re.match(r"[A-Z_]+_SCENE\d+", task.name)
        found.setdefault(name[0] if name else task.suite, task)
    return found


@pytest.mark.slow
@pytest.mark.parametrize("assets", ["real_pack", "bare_pack"])
@pytest.mark.parametrize("task", scenes().values(), ids=scenes())
def test_upstreams_pictures_are_ours(task, assets, request):
    check_parity(task, request.getfixturevalue(assets))


def test_depth_and_segmentation_show_the_same_things(renderer, env):
    view = View(width=128, height=128, depth=True, segmentation=True)
    plain, full = renderer.render_views(env.state(), env.fixtures(), [View("agentview"), view])
    assert plain.depth is None and plain.segmentation is None
    assert plain.rgb.shape == (256, 256, 3) and full.rgb.shape == (128, 128, 3)
    assert full.depth.dtype == np.float32 and full.segmentation.dtype == np.int32
    owners = np.array([segment.owner for segment in renderer.segments] + ["sky"])
    bowl = owners[full.segmentation] == "akita_black_bowl_1"
    camera = env.data.cam_xpos[env.model.camera("agentview").id]
    axis = env.data.cam_xmat[env.model.camera("agentview").id].reshape(3, 3)[:, 2]
    body = env.data.xpos[env.model.body("akita_black_bowl_1_main").id]
    distance = float((camera - body) @ axis)
    assert bowl.sum() > 50
    assert abs(np.median(full.depth[bowl]) - distance) < 0.06


def test_a_thread_needs_its_own(renderer, env, pack):
    state, fixtures = env.state(), env.fixtures()
    expected = renderer.render(state, fixtures)

    def draw_with_its_own() -> np.ndarray:
        with Renderer(TASK, pack) as own:
            return own.render(state, fixtures)

    with ThreadPoolExecutor(1) as pool:
        assert np.array_equal(pool.submit(draw_with_its_own).result(), expected)
        for use in (lambda: renderer.render(state, fixtures), renderer.close):
            with pytest.raises(RenderError, match="make a Renderer in each"):
                pool.submit(use).result()
    assert np.array_equal(renderer.render(state, fixtures), expected)


def test_closing_one_leaves_the_others(renderer, env, pack):
    state, fixtures = env.state(), env.fixtures()
    expected = renderer.render(state, fixtures)
    other = Renderer(TASK, pack)
    assert np.array_equal(renderer.render(state, fixtures), expected)
    other.close()
    other.close()
    assert np.array_equal(renderer.render(state, fixtures), expected)
    with pytest.raises(RenderError, match="closed"):
        other.render(state, fixtures)


def test_one_dropped_unclosed_takes_no_context_from_what_is_drawing(renderer, env, pack):
    state, fixtures = env.state(), env.fixtures()
    expected = renderer.render(state, fixtures)
    dropped = [Renderer(TASK, pack)]
    dropped[0].render(state, fixtures)
    own = renderer._wardrobe
    light = own.light

    def collect(scene):  # in the midst of a picture, as the garbage collector may
        dropped.clear()
        gc.collect()
        light(scene)

    own.light = collect
    try:
        drawn = renderer.render(state, fixtures)
    finally:
        del own.light
    np.testing.assert_array_equal(drawn, expected)
    assert rendering._LOST
    Renderer(TASK, pack).close()
    assert not rendering._LOST
    np.testing.assert_array_equal(renderer.render(state, fixtures), expected)


def test_mistakes_are_one_clear_error(renderer, env):
    with pytest.raises(RenderError, match=r"this task has .*agentview"):
        renderer.render(env.state(), env.fixtures(), camera="front")
    with pytest.raises(InvalidStateError, match="belongs to another task"):
        renderer.render(env.state()[:-1], env.fixtures())
