"""The embedded pack in use: containers keep what falls into them, drawers and doors switch."""

from __future__ import annotations

import mujoco
import numpy as np
import pytest

from simulation.assets.resolve import AssetPack, embedded_pack
from simulation.environment import Environment
from simulation.tasks import Task, get_task, list_tasks

CLEARANCE = 0.03
"""Metres between an object's lowest point and the middle of the region that it is let go over."""
FALL, REST = 30, 30
"""Control steps in which it falls, and in which it then must not move."""

LET_GO = [
    ("LIVING_ROOM_SCENE1_pick_up_the_alphabet_soup_and_put_it_in_the_basket", 0),
    ("LIVING_ROOM_SCENE4_pick_up_the_black_bowl_on_the_left_and_put_it_in_the_tray", 0),
    ("KITCHEN_SCENE10_put_the_black_bowl_in_the_top_drawer_of_the_cabinet", 0),
    ("STUDY_SCENE1_pick_up_the_book_and_place_it_in_the_right_compartment_of_the_caddy", 0),
]
LET_GO_SLOWLY = [
    ("libero_object/pick_up_the_milk_and_place_it_in_the_basket", 0),
    ("libero_object/pick_up_the_ketchup_and_place_it_in_the_basket", 0),
    ("LIVING_ROOM_SCENE2_pick_up_the_orange_juice_and_put_it_in_the_basket", 0),
    ("LIVING_ROOM_SCENE3_pick_up_the_alphabet_soup_and_put_it_in_the_tray", 0),
    ("LIVING_ROOM_SCENE4_pick_up_the_chocolate_pudding_and_put_it_in_the_tray", 0),
    ("KITCHEN_SCENE4_put_the_black_bowl_in_the_bottom_drawer_of_the_cabinet", 0),
    ("KITCHEN_SCENE5_put_the_black_bowl_in_the_top_drawer_of_the_cabinet", 0),
    ("STUDY_SCENE1_pick_up_the_book_and_place_it_in_the_left_compartment_of_the_caddy", 90),
    ("STUDY_SCENE4_pick_up_the_book_in_the_middle_and_place_it_on_the_cabinet_shelf", 0),
    ("libero_goal/put_the_cream_cheese_in_the_bowl", 0),
]

MOVES = [
    ("KITCHEN_SCENE1_open_the_top_drawer_of_the_cabinet", "wooden_cabinet_1_top_level", -80.0),
    ("KITCHEN_SCENE7_open_the_microwave", "microwave_1_microjoint", -1.0),
    ("KITCHEN_SCENE8_turn_off_the_stove", "flat_stove_1_button", -4.0),
]
MOVES_SLOWLY = [
    (
        "KITCHEN_SCENE1_open_the_bottom_drawer_of_the_cabinet",
        "wooden_cabinet_1_bottom_level",
        -80.0,
    ),
    ("libero_goal/open_the_middle_drawer_of_the_cabinet", "wooden_cabinet_1_middle_level", -80.0),
    ("KITCHEN_SCENE6_close_the_microwave", "microwave_1_microjoint", 1.0),
    ("libero_goal/turn_on_the_stove", "flat_stove_1_button", 4.0),
]
"""Task, joint, and the steady force [N] or torque [N m] that reaches the goal."""

CLOSES = [
    ("KITCHEN_SCENE5_close_the_top_drawer_of_the_cabinet", "white_cabinet_1_top_level", 80.0),
    ("KITCHEN_SCENE4_close_the_bottom_drawer_of_the_cabinet", "white_cabinet_1_bottom_level", 80.0),
]
"""The same for drawers that, as LIBERO's own do, jam when they are slammed home."""

DIFFERENT = {
    "LIVING_ROOM_SCENE3_pick_up_the_alphabet_soup_and_put_it_in_the_tray": "uneven tray",
    "LIVING_ROOM_SCENE3_pick_up_the_tomato_sauce_and_put_it_in_the_tray": "uneven tray",
    "KITCHEN_SCENE6_put_the_yellow_and_white_mug_to_the_front_of_the_white_mug": "mug on mug",
}
"""Tasks that end differently: on the original tray's floor, uneven by 0.7 mm, some cans tip, on our
even one they stand; and where a mug that falls on another one goes is a matter of chance."""


@pytest.fixture(scope="module")
def pack() -> AssetPack:
    return embedded_pack()


def slowly(cases: list) -> list:
    return [pytest.param(*case, marks=pytest.mark.slow) for case in cases]


def start(task: Task, pack: AssetPack) -> Environment:
    env = Environment(task, pack)
    env.reset(seed=0, init_index=0)
    env.settle()
    return env


def lowest(env: Environment, name: str) -> float:
    """Height of an object's lowest point above the object's origin, m."""
    body = env.model.body(f"{name}_main").id
    solid = (env.model.geom_contype != 0) | (env.model.geom_conaffinity != 0)
    geoms = np.flatnonzero(solid & (env.model.body_rootid[env.model.geom_bodyid] == body))
    rotations = env.data.geom_xmat[geoms].reshape(-1, 3, 3)
    boxes = env.model.geom_aabb[geoms]
    centers = env.data.geom_xpos[geoms] + np.einsum("gij,gj->gi", rotations, boxes[:, :3])
    halves = np.einsum("gij,gj->gi", np.abs(rotations), boxes[:, 3:])
    return float((centers - halves)[:, 2].min() - env.data.xpos[body][2])


def let_go(env: Environment, name: str, place: np.ndarray, turn: float = 0.0) -> None:
    """Put an object over a place, turned about the vertical by degrees, and let it fall."""
    joint = env.model.joint(f"{name}_joint0")
    qpos, qvel = int(joint.qposadr[0]), int(joint.dofadr[0])
    half = np.radians(turn) / 2
    rotation = env.data.qpos[qpos + 3 : qpos + 7].copy()
    mujoco.mju_mulQuat(
        env.data.qpos[qpos + 3 : qpos + 7], np.array([np.cos(half), 0, 0, np.sin(half)]), rotation
    )
    env.data.qpos[qpos : qpos + 3] = place + np.array([0.0, 0.0, CLEARANCE - lowest(env, name)])
    env.data.qvel[qvel : qvel + 6] = 0.0
    mujoco.mj_forward(env.model, env.data)
    env.settle(FALL)


def push(env: Environment, joint: str, force: float) -> None:
    """Push a joint steadily for 3 s, N or N m."""
    env.data.qfrc_applied[env.model.joint(joint).dofadr[0]] = force
    env.settle(60)
    env.data.qfrc_applied[:] = 0.0


@pytest.mark.parametrize(("key", "turn"), LET_GO + slowly(LET_GO_SLOWLY))
def test_what_is_let_go_over_a_container_stays_in_it(
    key: str, turn: float, pack: AssetPack
) -> None:
    env = start(get_task(key), pack)
    ((_, name, target),) = env.scene.goal
    assert not env.success()
    let_go(env, name, env.object_position(target), turn)
    assert env.success()
    fallen = env.object_position(name)
    env.settle(REST)
    assert env.success()
    assert np.linalg.norm(env.object_position(name) - fallen) < 0.002
    assert np.linalg.norm(env.object_position(name) - env.object_position(target)) < 0.15


def test_what_is_let_go_beside_a_container_stays_out(pack: AssetPack) -> None:
    env = start(get_task(LET_GO[0][0]), pack)
    ((_, name, target),) = env.scene.goal
    let_go(env, name, env.object_position(target) + np.array([0.0, -0.2, 0.0]))
    env.settle(REST)
    assert not env.success()
    assert env.object_position(name)[2] > 0.3  # on the table, not through it


@pytest.mark.parametrize(("key", "joint", "force"), MOVES + slowly(MOVES_SLOWLY))
def test_drawers_doors_and_knobs_switch_and_switch_back(
    key: str, joint: str, force: float, pack: AssetPack
) -> None:
    env = start(get_task(key), pack)
    address = env.model.joint(joint).qposadr[0]
    before = env.data.qpos[address]
    assert not env.success()
    push(env, joint, force)
    assert env.success()
    moved = env.data.qpos[address]
    env.settle(REST)
    assert env.success()
    assert abs(env.data.qpos[address] - moved) < 0.1 * abs(moved - before)
    push(env, joint, -force)
    assert not env.success()
    others = set(env.scene.joint_names) - {joint}
    assert all(abs(env.data.qpos[env.model.joint(x).qposadr[0]]) < 0.02 for x in others)


@pytest.mark.slow
@pytest.mark.parametrize(("key", "joint", "force"), CLOSES)
def test_open_drawers_close(key: str, joint: str, force: float, pack: AssetPack) -> None:
    env = start(get_task(key), pack)
    assert not env.success()
    push(env, joint, force)
    assert env.success()


def test_a_drawer_that_is_closed_keeps_what_is_in_it(pack: AssetPack) -> None:
    key = (
        "KITCHEN_SCENE10_put_the_butter_at_the_front_in_the_top_drawer_of_the_cabinet_and_close_it"
    )
    env = start(get_task(key), pack)
    let_go(env, "butter_1", env.object_position("wooden_cabinet_1_top_region"))
    assert not env.success()
    push(env, "wooden_cabinet_1_top_level", 20.0)
    env.settle(REST)
    assert env.success()


@pytest.mark.slow
def test_a_microwave_that_is_closed_keeps_the_mug(pack: AssetPack) -> None:
    key = "KITCHEN_SCENE6_put_the_yellow_and_white_mug_in_the_microwave_and_close_it"
    env = start(get_task(f"libero_10/{key}"), pack)
    let_go(env, "white_yellow_mug_1", env.object_position("microwave_1_heating_region"))
    assert not env.success()
    push(env, "microwave_1_microjoint", 1.0)
    env.settle(REST)
    assert env.success()


def reaches_goal(task: Task, pack: AssetPack) -> bool:
    """Whether letting each object go over its goal's place, one by one, reaches the goal."""
    env = start(task, pack)
    for _, name, target in env.scene.goal:
        let_go(env, name, env.object_position(target))
    return env.success()


@pytest.mark.slow
@pytest.mark.parametrize("task", list_tasks(), ids=lambda task: task.key)
def test_letting_go_ends_as_with_the_original(
    task: Task, pack: AssetPack, real_pack: AssetPack
) -> None:
    """Also where it misses, such as a book that is too long for a compartment's other side."""
    text = task.bddl_file.read_text()
    goal = text[text.index("(:goal") :].lower()
    if any(word in goal for word in ("(open", "(close", "(turnon", "(turnoff")):
        pytest.skip("the goal moves a joint")
    if task.name in DIFFERENT:
        pytest.skip(DIFFERENT[task.name])
    assert reaches_goal(task, pack) == reaches_goal(task, real_pack)
