"""Amplification: clips are cut and aimed rightly, new starts succeed, bad sources are one error."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from common.errors import DemonstrationError, InvalidStateError
from demonstrations.amplify import Amplifier, find_amplifier
from demonstrations.amplify.aim import AimedClip, held_in
from demonstrations.amplify.kinds import family, instance, split
from demonstrations.amplify.motions import carry_motion, grasp_motion, operate_motion
from demonstrations.amplify.plan import (
    Course,
    Step,
    carry_cost,
    grasp_cost,
    operate_cost,
    ordered_atoms,
)
from demonstrations.amplify.segments import Deed, cut
from demonstrations.amplify.source import Source, replay
from demonstrations.amplify.ways import choose_ways
from demonstrations.config import Style
from demonstrations.scripted import Scripted
from simulation.assets.resolve import AssetPack, embedded_pack, resolve_assets
from simulation.environment import Environment
from simulation.recordings.recordings import Recording, open_recordings
from simulation.recordings.trajectories import TrajectoryWriter
from simulation.tasks import Task, get_task

DRAWER = get_task("libero_90/KITCHEN_SCENE10_close_the_top_drawer_of_the_cabinet")
BOWL = get_task("libero_90/KITCHEN_SCENE5_put_the_black_bowl_on_the_plate")
MOKA = get_task("libero_90/KITCHEN_SCENE3_put_the_moka_pot_on_the_stove")
STACK = "libero_90/KITCHEN_SCENE2_stack_the_middle_black_bowl_on_the_back_black_bowl"


@pytest.fixture(scope="module")
def pack() -> AssetPack:
    return embedded_pack()


@pytest.fixture(scope="module")
def folder(pack: AssetPack, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One scripted success each of closing the drawer and of putting the bowl on the plate."""
    folder = tmp_path_factory.mktemp("sources")
    for task, way in ((DRAWER, "low"), (BOWL, "low")):
        env = Environment(task, pack)
        attempts = (scripted(env, way, seed) for seed in range(5))
        with TrajectoryWriter(folder / f"{task.name}.hdf5", task, pack, {}) as writer:
            writer.add(0, next(episode for episode in attempts if episode.info.success))
            writer.finish().close()
    return folder


def scripted(env: Environment, way: str, seed: int):
    env.reset(seed)
    env.settle()
    rng = np.random.default_rng(seed)
    return Scripted(env.task).demonstrate(
        env, way, rng, Style(speed=(0.75, 1.0), tremor=0.0, aim=0.0)
    )


def recording_of(folder: Path, task: Task) -> Recording:
    with open_recordings(folder / f"{task.name}.hdf5") as file:
        return file[0]


@pytest.fixture(scope="module")
def env(pack: AssetPack) -> Environment:
    return Environment(BOWL, pack)


@pytest.fixture
def bowl(folder: Path, env: Environment) -> Source:
    return replay(recording_of(folder, BOWL), env)


def test_names_tell_kinds():
    assert split("wooden_cabinet_1_top_region") == ("wooden_cabinet", "top_region")
    assert split("chefmate_8_frypan_1") == ("chefmate_8_frypan", "")
    assert split("living_room_table_plate_left_region") == (
        "living_room_table",
        "plate_left_region",
    )
    assert instance("desk_caddy_1_left_contain_region") == "desk_caddy_1"
    assert family("akita_black_bowl") == family("white_bowl") != family("plate")


def test_similar_tasks_serve_and_others_do_not():
    on_plate = ("on", "akita_black_bowl_1", "plate_1")
    assert carry_cost(on_plate, ("on", "akita_black_bowl_2", "plate_2")) == 0.0
    near = carry_cost(on_plate, ("on", "white_bowl_1", "plate_1"))
    far = carry_cost(on_plate, ("in", "akita_black_bowl_1", "wooden_cabinet_1_top_region"))
    assert 0.0 < near < far
    assert grasp_cost("milk_1", "alphabet_soup_1") == 1.0
    assert grasp_cost("akita_black_bowl_1", "porcelain_mug_1") is None
    top, bottom = (("open", f"white_cabinet_1_{level}_region") for level in ("top", "bottom"))
    assert operate_cost(top, top) == 0.0
    assert operate_cost(top, bottom) == 2.0
    assert operate_cost(top, ("close", "white_cabinet_1_top_region")) is None
    assert operate_cost(top, ("open", "microwave_1")) is None


@pytest.mark.parametrize(
    ("name", "closed", "order"),
    [
        (
            "libero_10/KITCHEN_SCENE4_put_the_black_bowl_in_the_bottom_drawer_of_the_cabinet_and_"
            "close_it",
            (),
            ["in", "close"],
        ),
        (
            "libero_goal/open_the_top_drawer_and_put_the_bowl_inside",
            ("wooden_cabinet_1_top_region",),
            ["open", "in"],
        ),
    ],
)
def test_goals_are_reached_in_order(name: str, closed: tuple[str, ...], order: list[str]):
    assert [atom[0] for atom in ordered_atoms(get_task(name), closed)] == order


def test_carrying_is_cut_at_the_fingers(bowl: Source, env: Environment):
    grasp, carry = cut(bowl, env)
    closing = int(np.flatnonzero(bowl.gripper > 0)[0])
    assert (grasp.deed, grasp.thing, grasp.key) == (Deed.GRASP, "akita_black_bowl_1", closing)
    assert (carry.deed, carry.thing, carry.frame) == (Deed.CARRY, "akita_black_bowl_1", "plate_1")
    assert (grasp.start, grasp.end) == (0, carry.start)
    assert carry.end == carry.key <= len(bowl)


def test_at_the_source_start_the_path_is_the_source_path(bowl: Source, env: Environment):
    grasp, carry = cut(bowl, env)
    env.set_state(bowl.states[0])
    motion = grasp_motion(grasp, grasp.thing, env, 0.0)
    aimed = AimedClip(grasp, env, motion, None, np.zeros(3))
    hands = np.array([aimed.command(i).hand for i in range(len(aimed))])
    goals = np.array([aimed.command(i).goal for i in range(len(aimed))])
    np.testing.assert_allclose(hands, bowl.hand[grasp.start : grasp.end], atol=1e-9)
    np.testing.assert_allclose(goals, bowl.goal[grasp.start : grasp.end], atol=1e-9)
    env.set_state(bowl.states[carry.start])
    motion = carry_motion(carry, carry.thing, carry.frame, env)
    held = held_in(carry, carry.thing, env)
    aimed = AimedClip(carry, env, motion, held, np.zeros(3))
    # The bowl turned a little in the scripted hand while it was carried.
    hands = np.array([aimed.command(i).hand for i in range(len(aimed))])
    np.testing.assert_allclose(hands, bowl.hand[carry.start : carry.end], atol=0.01)


def test_path_moves_with_the_drawer(folder: Path, pack: AssetPack):
    env = Environment(DRAWER, pack)
    source = replay(recording_of(folder, DRAWER), env)
    (clip,) = cut(source, env)
    assert (clip.deed, clip.predicate) == (Deed.OPERATE, "close")
    env.reset(77)
    motion = operate_motion(clip, clip.thing, env)
    moved = env.object_position(clip.thing) - clip.position
    assert np.linalg.norm(moved) > 1e-3
    aimed = AimedClip(clip, env, motion, None, np.zeros(3))
    end = aimed.command(len(aimed) - 1).hand - source.hand[clip.end - 1]
    np.testing.assert_allclose(end, moved, atol=1e-3)


@pytest.mark.parametrize(
    ("target", "ways"),
    [
        ("plate_1", ["direct", "high", "left", "right", "turned"]),
        ("wooden_two_layer_shelf_1_top_region", ["direct", "left", "right", "turned"]),
        ("wooden_two_layer_shelf_1_top_side", ["direct", "high", "left", "right", "turned"]),
    ],
)
def test_ways_are_those_that_the_target_leaves(
    bowl: Source, env: Environment, target: str, ways: list[str]
):
    grasp, carry = cut(bowl, env)
    steps = (Step(grasp, grasp.thing, grasp.thing), Step(carry, carry.thing, target))
    assert list(choose_ways((Course(steps),))) == ways


@pytest.mark.parametrize(("task", "way"), [(DRAWER, "left"), (BOWL, "high")])
def test_new_starts_succeed(folder: Path, pack: AssetPack, task: Task, way: str):
    amplifier, env = find_amplifier(task, folder, pack), Environment(task, pack)
    assert set(amplifier.ways) >= {"direct", "high", "left", "right"}
    episodes = []
    for index in (None, 3):
        env.reset(5, index)
        env.settle()
        rng = np.random.default_rng(5)
        episodes.append(amplifier.demonstrate(env, way, rng, Style()))
    for episode in episodes:
        assert episode.info.success
        assert (episode.info.way, episode.info.method) == (way, "amplified")
        env.reset(0, init_state=episode.final_state, fixtures=episode.fixtures)
        assert env.success()
    if task is BOWL:
        assert all(episode.actions[-1, 6] < 0 for episode in episodes)


def test_an_episode_is_a_function_of_its_seed(folder: Path, pack: AssetPack):
    amplifier, env = find_amplifier(DRAWER, folder, pack), Environment(DRAWER, pack)

    def actions(seed: int) -> np.ndarray:
        env.reset(1)
        env.settle()
        return amplifier.demonstrate(env, "direct", np.random.default_rng(seed), Style()).actions

    assert np.array_equal(actions(0), actions(0))
    assert not np.array_equal(actions(0)[0], actions(1)[0])


def test_unserved_goal_is_one_error(folder: Path, pack: AssetPack, tmp_path: Path):
    with pytest.raises(DemonstrationError, match=r"no recording serves .*moka_pot_1"):
        find_amplifier(MOKA, folder, pack)
    with pytest.raises(DemonstrationError, match="is not there"):
        find_amplifier(BOWL, tmp_path / "missing", pack)


def test_unknown_way_is_one_error(folder: Path, pack: AssetPack):
    amplifier: Amplifier = find_amplifier(DRAWER, folder, pack)
    env = Environment(DRAWER, pack)
    with pytest.raises(DemonstrationError, match="'turned', but by direct"):
        amplifier.demonstrate(env, "turned", np.random.default_rng(0), Style())


def test_sources_that_cannot_be_used_are_one_error(folder: Path, env: Environment, bowl: Source):
    recording = recording_of(folder, BOWL)
    with pytest.raises(DemonstrationError, match="no gripper event"):
        cut(replace(bowl, gripper=-np.ones_like(bowl.gripper)), env)
    with pytest.raises(DemonstrationError, match=r"\(T, 7\)"):
        replay(replace(recording, actions=recording.actions[:, :6]), env)
    with pytest.raises(DemonstrationError, match="does not reach the goal"):
        replay(replace(recording, actions=recording.actions[:9], states=None), env)
    with pytest.raises(InvalidStateError):
        replay(recording_of(folder, DRAWER), env)


def test_people_file_is_cut_where_the_bowl_was_held(human_demos: Path, real_assets: Path):
    """The person closed the fingers once beside the bowl before grasping it."""
    pack = resolve_assets(real_assets)
    with open_recordings(human_demos / f"{get_task(STACK).name}.json", None, pack) as file:
        env = Environment(get_task(STACK), pack)
        grasp, carry = cut(replay(file[0], env), env)
    assert (grasp.key, grasp.end, carry.end) == (72, 84, 123)
    assert (grasp.thing, carry.frame) == ("akita_black_bowl_2", "akita_black_bowl_3")


def test_a_task_serves_another_scene(human_demos: Path, real_assets: Path):
    pack = resolve_assets(real_assets)
    task = get_task("libero_90/KITCHEN_SCENE1_put_the_black_bowl_on_top_of_the_cabinet")
    amplifier, env = find_amplifier(task, human_demos, pack), Environment(task, pack)
    env.reset(0, 0)
    env.settle()
    episode = amplifier.demonstrate(env, "direct", np.random.default_rng(0), Style())
    assert episode.info.success
