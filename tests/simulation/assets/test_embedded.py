"""The embedded pack: every task loads, sizes and masses are the originals', containers contain."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import mujoco
import numpy as np
import pytest

from simulation.assets.embedded import items, pack_files
from simulation.assets.embedded.shapes import Item
from simulation.assets.resolve import AssetPack, embedded_pack
from simulation.tasks import Task, get_task, import_libero, list_tasks

SAMPLE = (
    "libero_spatial/pick_up_the_black_bowl_on_the_stove_and_place_it_on_the_plate",
    "libero_object/pick_up_the_bbq_sauce_and_place_it_in_the_basket",
    "libero_goal/turn_on_the_stove",
    "libero_90/KITCHEN_SCENE5_close_the_top_drawer_of_the_cabinet",
    "libero_90/KITCHEN_SCENE7_open_the_microwave",
    "libero_90/LIVING_ROOM_SCENE4_pick_up_the_black_bowl_on_the_left_and_put_it_in_the_tray",
    "libero_90/STUDY_SCENE1_pick_up_the_book_and_place_it_in_the_front_compartment_of_the_caddy",
)
PUSHED_APART = {
    "KITCHEN_SCENE4_put_the_wine_bottle_in_the_bottom_drawer_of_the_cabinet": {"wine_bottle_1"},
    "LIVING_ROOM_SCENE2_pick_up_the_tomato_sauce_and_put_it_in_the_basket": {
        "cream_cheese_1",
        "orange_juice_1",
    },
}
"""Objects that an official init state puts into others: with the original geometry, too, they
are pushed 80 to 300 mm away."""
WAIT = [0.0] * 6 + [-1.0]


@pytest.fixture(scope="session")
def pack() -> AssetPack:
    return embedded_pack()


def upstream_environment(task: Task, assets: Path) -> Any:
    """LIBERO's own environment of the task on the assets, without a renderer."""
    libero: Any = import_libero()
    from libero.libero.envs.env_wrapper import ControlEnv

    libero._assets_path_cache = str(assets)
    environment = ControlEnv(
        bddl_file_name=str(task.bddl_file),
        use_camera_obs=False,
        has_renderer=False,
        has_offscreen_renderer=False,
    )
    environment.seed(0)
    environment.reset()
    return environment


def free_joint_positions(model: mujoco.MjModel, data: mujoco.MjData) -> dict[str, np.ndarray]:
    return {
        model.joint(joint).name: data.qpos[address : address + 3].copy()
        for joint, address in enumerate(model.jnt_qposadr)
        if model.jnt_type[joint] == mujoco.mjtJoint.mjJNT_FREE
    }


def check_task(task: Task, pack: AssetPack) -> None:
    """The official init state fits, its objects fall and lie still, nothing is solved yet."""
    environment = upstream_environment(task, pack.path)
    try:
        model = environment.env.sim.model._model
        data = environment.env.sim.data._data
        states = task.init_states()
        assert states.shape[1] == 1 + model.nq + model.nv
        environment.set_init_state(states[0])
        assert not environment.check_success()
        start = free_joint_positions(model, data)
        for _ in range(25):
            environment.step(WAIT)
        fallen = free_joint_positions(model, data)
        for _ in range(25):
            environment.step(WAIT)
        rested = free_joint_positions(model, data)
        assert np.isfinite(environment.get_sim_state()).all()
        assert not environment.check_success()
        for name, place in rested.items():
            assert np.linalg.norm(place - fallen[name]) < 0.002, f"{name} does not rest"
            if name.removesuffix("_joint0") not in PUSHED_APART.get(task.name, ()):
                assert np.linalg.norm(place[:2] - start[name][:2]) < 0.02, f"{name} rolled away"
    finally:
        environment.close()


@pytest.mark.parametrize("key", SAMPLE)
def test_task_loads_and_settles(key: str, pack: AssetPack) -> None:
    check_task(get_task(key), pack)


@pytest.mark.slow
@pytest.mark.parametrize("task", list_tasks(), ids=lambda task: task.key)
def test_every_task_loads_and_settles(task: Task, pack: AssetPack) -> None:
    check_task(task, pack)


def physics(file: Path) -> tuple[mujoco.MjModel, mujoco.MjData]:
    """The object's solids as upstream weighs them: collision geoms alone count."""
    spec = mujoco.MjSpec.from_file(str(file))
    for geom in [geom for geom in spec.geoms if geom.contype == 0 and geom.conaffinity == 0]:
        geom.delete()
    for geom in spec.geoms:
        geom.material = ""
    for assets in (spec.meshes, spec.materials, spec.textures):
        for asset in list(assets):
            asset.delete()
    spec.compiler.inertiagrouprange = (0, 0)
    model = spec.compile()
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    return model, data


def extents(model: mujoco.MjModel, data: mujoco.MjData) -> tuple[np.ndarray, np.ndarray]:
    """Lowest and highest corner of the solids, m, at the joints' zero."""
    rotations = data.geom_xmat.reshape(-1, 3, 3)
    centers = data.geom_xpos + np.einsum("gij,gj->gi", rotations, model.geom_aabb[:, :3])
    halves = np.einsum("gij,gj->gi", np.abs(rotations), model.geom_aabb[:, 3:])
    return (centers - halves).min(axis=0), (centers + halves).max(axis=0)


def names(model: mujoco.MjModel) -> dict[str, set[str]]:
    return {
        "bodies": {model.body(index).name for index in range(model.nbody)},
        "joints": {model.joint(index).name for index in range(model.njnt)},
        "sites": {model.site(index).name for index in range(model.nsite)},
    }


@pytest.mark.parametrize("item", items(), ids=lambda item: Path(item.path).stem)
def test_object_is_like_the_original(item: Item, pack: AssetPack, real_assets: Path) -> None:
    ours, our_data = physics(pack.path / item.path)
    real, real_data = physics(real_assets / item.path)
    assert names(ours) == names(real)
    for index in range(real.njnt):
        joint = ours.joint(real.joint(index).name)
        assert joint.type == real.jnt_type[index]
        np.testing.assert_allclose(joint.range, real.jnt_range[index], atol=1e-4)
        np.testing.assert_allclose(joint.axis, real.jnt_axis[index], atol=1e-6)
        np.testing.assert_allclose(joint.damping, real.dof_damping[real.jnt_dofadr[index]])
    for index in range(real.nsite):
        site = ours.site(real.site(index).name)
        if site.name != "burner":
            np.testing.assert_allclose(site.pos, real.site_pos[index], atol=1e-4)
        np.testing.assert_allclose(site.size[:1], real.site_size[index][:1], atol=1e-4)
    np.testing.assert_allclose(
        extents(ours, our_data), extents(real, real_data), atol=0.004, err_msg="extents, m"
    )
    assert ours.body_mass.sum() == pytest.approx(real.body_mass.sum(), rel=0.01)


@pytest.mark.parametrize(
    ("name", "inside", "reach"),
    [
        ("akita_black_bowl", (0.0, 0.0, 0.035), (0.040, 0.055)),
        ("white_bowl", (0.0, 0.0, 0.025), (0.028, 0.045)),
        ("glazed_rim_porcelain_ramekin", (0.0, 0.0, 0.025), (0.030, 0.045)),
        ("porcelain_mug", (0.0148, -0.0006, 0.075), (0.035, 0.045)),
        ("red_coffee_mug", (-0.0165, -0.0018, 0.075), (0.025, 0.040)),
        ("white_yellow_mug", (-0.0181, 0.0, 0.060), (0.034, 0.048)),
        ("chefmate_8_frypan", (0.005, 0.0, 0.030), (0.075, 0.110)),
        ("basket", (0.0, 0.0, 0.080), (0.060, 0.110)),
        ("wooden_tray", (0.008, -0.005, 0.030), (0.070, 0.175)),
    ],
)
def test_container_is_hollow_and_closed(
    name: str, inside: tuple[float, float, float], reach: tuple[float, float], pack: AssetPack
) -> None:
    """From a point inside, every level ray meets a wall; none goes up, and down is a floor."""
    item = next(item for item in items() if Path(item.path).stem == name)
    model, data = physics(pack.path / item.path)
    hit = np.zeros(1, np.int32)
    start = np.array(inside) + data.body("object").xpos

    def ray(*direction: float) -> float:
        return mujoco.mj_ray(model, data, start, np.array(direction), None, 1, -1, hit)

    for angle in np.linspace(0, 2 * np.pi, 64, endpoint=False):
        assert reach[0] < ray(np.cos(angle), np.sin(angle), 0.0) < reach[1]
    assert ray(0.0, 0.0, 1.0) == -1
    assert 0 < ray(0.0, 0.0, -1.0) < inside[2]


@pytest.mark.parametrize(
    ("name", "force"),
    [("wooden_cabinet", 80.0), ("white_cabinet", 80.0), ("flat_stove", 4.0), ("microwave", 1.0)],
)
def test_drawers_knob_and_door_move(name: str, force: float, pack: AssetPack) -> None:
    """A steady push takes every joint to its limits and no further."""
    model, data = physics(pack.path / f"articulated_objects/{name}.xml")
    for sign, limit in ((-1, 0), (1, 1)):
        for _ in range(2000):
            data.qfrc_applied[:] = sign * force
            mujoco.mj_step(model, data)
        np.testing.assert_allclose(data.qpos, model.jnt_range[:, limit], atol=0.03)


def test_files_are_small_and_the_same_every_time() -> None:
    files = pack_files()
    assert files == pack_files()
    assert sum(map(len, files.values())) < 2_000_000


def replay(recording: Path, pack: AssetPack) -> tuple[int | None, int]:
    """Step at which the recorded actions solve the task, and the recorded one."""
    demo = json.loads(recording.read_text())
    environment = upstream_environment(get_task(f"{demo['suite']}/{demo['task']}"), pack.path)
    try:
        environment.set_init_state(np.array(demo["init_state"]))
        for step, action in enumerate(demo["actions"], start=1):
            environment.step(action)
            if environment.check_success():
                return step, demo["steps_to_success"]
    finally:
        environment.close()
    return None, demo["steps_to_success"]


@pytest.mark.parametrize(
    "task",
    [
        "KITCHEN_SCENE10_close_the_top_drawer_of_the_cabinet",
        "KITCHEN_SCENE2_stack_the_middle_black_bowl_on_the_back_black_bowl",
    ],
)
def test_human_demonstration_succeeds(task: str, pack: AssetPack, human_demos: Path) -> None:
    """Actions recorded with the original geometry solve the task open loop with ours."""
    ours, recorded = replay(human_demos / f"{task}.json", pack)
    assert ours is not None
    assert abs(ours - recorded) <= 15


@pytest.mark.slow
def test_every_human_demonstration_succeeds(pack: AssetPack, human_demos: Path) -> None:
    failed = [
        recording.stem
        for recording in sorted(human_demos.glob("*.json"))
        if replay(recording, pack)[0] is None
    ]
    assert not failed
