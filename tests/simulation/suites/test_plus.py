"""Variants of a checkout of LIBERO-Plus, in the real simulator."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from common.errors import AssetError, UnknownTaskError
from simulation.assets.resolve import AssetPack, embedded_pack, resolve_assets
from simulation.environment import Environment
from simulation.scene import load_scene
from simulation.suites.building import camera_pose
from simulation.suites.classes import object_key, robot_posture
from simulation.suites.noise import published_noise
from simulation.suites.plus import PLUS_VARIABLE, plus_assets
from simulation.suites.published import use
from simulation.suites.variant import View
from simulation.tasks import Task, get_task, list_tasks
from tests.simulation.suites.standin import (
    BASE,
    POSTURE,
    SAID,
    STEM,
    VARIANTS,
    VIEW,
    write,
    write_plus,
)

SUITE = "libero_goal_plus"


@pytest.fixture(scope="module")
def checkout(tmp_path_factory) -> Path:
    return write_plus(tmp_path_factory.mktemp("plus"), embedded_pack())


@pytest.fixture(scope="module")
def pack(checkout) -> AssetPack:
    return resolve_assets(plus_assets(checkout))


@pytest.fixture(autouse=True)
def named(checkout, monkeypatch) -> None:
    monkeypatch.setenv(PLUS_VARIABLE, str(checkout))


def variant(kind: str) -> Task:
    return get_task(f"{SUITE}/{VARIANTS[kind][0]}")


def test_suites_parts_and_instructions():
    tasks = list_tasks(SUITE)
    assert len(tasks) == 7  # one has what a language model was asked for an instruction
    assert {task.suite for task in tasks} == {SUITE}
    for kind, (name, _, level) in VARIANTS.items():
        if kind != "broken":
            for part in (f"{SUITE}_{kind}", f"{SUITE}_{kind}_{level}"):
                assert [task.name for task in list_tasks(part)] == [name]
    said = {kind: variant(kind).language for kind in VARIANTS if kind != "broken"}
    assert said.pop("language") == SAID
    assert set(said.values()) == {"Open the middle layer of the drawer"}
    assert all(task.horizon == 300 and task.base_suite == "libero_goal" for task in tasks)
    assert {kind: variant(kind).init_count for kind in said} == {
        **dict.fromkeys(said, 50),
        "layout": 1,
    }
    assert variant("camera").goal == BASE.goal


def test_a_moved_camera_moves_nothing_else(pack):
    task = variant("camera")
    ours, theirs = Environment(task, pack), Environment(BASE, pack)
    actions = np.random.default_rng(0).uniform(-1, 1, (10, 7))
    for env in (ours, theirs):
        env.reset(0, 3)
        for action in actions:
            env.step(action)
    assert np.array_equal(ours.state(), theirs.state())
    models = [load_scene(t, pack).visual_model for t in (task, BASE)]
    places = [model.camera("agentview") for model in models]
    position, quaternion = camera_pose(places[1].pos, places[1].quat, View(*VIEW))
    np.testing.assert_allclose(places[0].pos, position, atol=1e-9)
    turned = [Rotation.from_quat(np.roll(q, -1)) for q in (places[0].quat, quaternion)]
    assert (turned[0] * turned[1].inv()).magnitude() < 1e-3
    assert np.linalg.norm(places[0].pos - places[1].pos) > 0.2
    wrist = [model.camera("robot0_eye_in_hand").pos for model in models]
    assert np.array_equal(*wrist)


def test_camera_poses_by_hand():
    up, ahead = np.array([1.0, 0, 0, 0]), np.array([1.0, 0, 0.8])
    same = camera_pose(ahead, up, View(0, 0, 100, 0, 0))
    assert np.array_equal(same[0], ahead) and np.array_equal(same[1], up)
    assert np.allclose(camera_pose(ahead, up, View(90, 0, 100, 0, 0))[0], (0, 1, 0.8))
    assert np.allclose(camera_pose(ahead, up, View(0, 90, 100, 0, 0))[0], (0, 0, 1.8))
    assert np.allclose(camera_pose(ahead, up, View(0, 0, 150, 0, 0))[0], (1.5, 0, 0.8))
    panned = camera_pose(ahead, up, View(0, 0, 100, 90, 0))
    assert np.array_equal(panned[0], ahead)
    assert np.allclose(panned[1], (np.sqrt(0.5), 0, 0, np.sqrt(0.5)), atol=1e-4)


def test_another_posture_of_the_robot(pack):
    env = Environment(variant("robot"), pack)
    env.reset(0)
    np.testing.assert_allclose(env.joints(), POSTURE, atol=1e-9)
    env.reset(0, 3)  # LIBERO's init states hold the arm, too, and win, as in LIBERO-Plus
    np.testing.assert_allclose(env.joints(), BASE.init_states()[3, 1:8], atol=1e-9)
    other = Environment(BASE, pack)
    other.reset(0, 3)
    for both in (env, other):
        both.settle()
    assert not np.array_equal(env.state(), other.state())  # the controller strives for it


def test_scenes_of_light_and_background(pack):
    base = load_scene(BASE, pack)
    blue = load_scene(variant("background"), pack)
    lit = load_scene(variant("light"), pack)
    name = "libero_tabletop_base_style_0"
    assert np.array_equal(blue.visual_model.material(name).rgba, (0, 0, 1, 1))
    assert np.array_equal(base.visual_model.material(name).rgba, (1, 1, 1, 1))
    assert lit.visual_model.nlight == base.visual_model.nlight + 1
    assert blue.state_size == lit.state_size == base.state_size


def test_an_object_that_only_the_checkout_has(pack):
    env = Environment(variant("layout"), pack)
    assert "can_of_soda__1_1" in {thing.name for thing in env.scene.objects}
    env.reset(0, 0)
    env.settle()
    assert 0.9 < env.object_position("can_of_soda__1_1")[2] < 1.0
    assert "can_of_soda__1_1" not in {t.name for t in Environment(BASE, pack).scene.objects}


def test_picture_noise_is_a_function_of_episode_and_step():
    task = variant("noise")
    picture = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    seen = published_noise(picture, task, 1, 2, "agentview")
    assert np.array_equal(published_noise(picture, task, 1, 2, "agentview"), seen)
    assert seen.std() < 0.5 * picture.std()
    assert published_noise(picture, task, 1, 2, "robot0_eye_in_hand") is picture
    assert published_noise(picture, BASE, 1, 2, "agentview") is picture


class Noisy(Task):
    """A task with noise of any number."""

    noise = 0


@pytest.mark.parametrize("kind", range(5), ids=["motion", "gaussian", "zoom", "fog", "glass"])
def test_every_strength_of_noise_changes_more(kind):
    rows, columns = np.mgrid[:96, :96]
    board = (((rows // 12 + columns // 12) % 2) * 200 + 20).astype(np.uint8)
    picture = np.repeat(board[..., None], 3, axis=2)
    changes = []
    for strength in (1, 4, 7, 10):
        task = Noisy("libero_goal", 0, STEM)
        object.__setattr__(task, "noise", 10 * kind + strength)
        seen = published_noise(picture, task, 0, 0, "agentview")
        assert seen.shape == picture.shape and seen.dtype == np.uint8
        changes.append(np.abs(seen.astype(float) - picture).mean())
    assert changes[0] > 1 and changes[-1] > changes[0]


def test_a_checkout_without_assets_is_one_clear_error(tmp_path):
    bare = write_plus(tmp_path, None)
    with pytest.raises(AssetError, match=r"libero/libero/assets/articulated_objects is missing"):
        plus_assets(bare)
    with pytest.raises(AssetError, match=r"Sylvest/LIBERO-plus.*unzip it in the checkout's"):
        plus_assets(bare)


@pytest.mark.parametrize(("kind", "what"), [("background", "table_blue.xml"), ("layout", "abcdef")])
def test_another_pack_says_what_it_lacks(kind, what):
    with pytest.raises(AssetError, match=rf"lack .*{what}.*--assets .*assets") as caught:
        load_scene(variant(kind), embedded_pack())
    assert "\n" not in str(caught.value)


def test_what_is_no_checkout_is_refused(tmp_path, checkout, monkeypatch):
    with pytest.raises(UnknownTaskError, match="git clone"):
        use(PLUS_VARIABLE, tmp_path)
    monkeypatch.delenv(PLUS_VARIABLE)
    with pytest.raises(UnknownTaskError, match=r"\$DLR_LIBERO_PLUS names the checkout"):
        list_tasks(SUITE)
    with pytest.raises(UnknownTaskError, match=r"\$DLR_LIBERO_PLUS names the checkout"):
        get_task(f"{SUITE}/{VARIANTS['camera'][0]}")
    use(PLUS_VARIABLE, checkout)
    assert variant("camera").noise == 0


def test_damaged_checkouts_are_one_line(tmp_path):
    folder = write_plus(tmp_path, None)
    classes = folder / "libero" / "libero" / "benchmark" / "task_classification.json"
    rows = json.loads(classes.read_text())
    del rows["libero_goal"][0]["category"]
    write(classes, json.dumps(rows))
    with pytest.raises(UnknownTaskError, match="entry 0 of libero_goal is malformed"):
        use(PLUS_VARIABLE, folder)
    rows["libero_goal"][0] |= {"category": "Light Conditions", "name": "../../../escaped/evil"}
    write(classes, json.dumps(rows))
    with pytest.raises(UnknownTaskError, match=r"entry 0 of libero_goal .* lead out of its folder"):
        use(PLUS_VARIABLE, folder)
    write(classes, json.dumps({"../libero_goal": rows["libero_goal"][1:]}))
    with pytest.raises(UnknownTaskError, match=r"a suite is named '\.\./libero_goal', which may"):
        use(PLUS_VARIABLE, folder)
    write(classes, "[" * 100_000)
    with pytest.raises(UnknownTaskError):
        use(PLUS_VARIABLE, folder)
    root = folder / "libero" / "libero"
    write(root / "envs" / "robots" / "mounted_panda.py", "class MountedPanda7(MountedPanda):\n  (")
    with pytest.raises(UnknownTaskError, match="cannot read MountedPanda7"):
        robot_posture(root, "MountedPanda7", "clone it")


def test_names_of_objects():
    assert object_key("CanOfSoda_1") == "can_of_soda__1"
    assert object_key("AkitaBlackBowl") == "akita_black_bowl"
