"""Axes that change where an episode starts: posture, objects, and what else is there."""

from __future__ import annotations

import dataclasses

import mujoco
import numpy as np
import pytest

from eval_harness.episode import Seat
from eval_harness.perturbations.base import Perturbation, PerturbationError, WorldStart
from eval_harness.perturbations.layout import Distractor, Layout
from eval_harness.perturbations.objects import Objects
from eval_harness.perturbations.placing import (
    Ground,
    find_groups,
    named_groups,
    pose_address,
    stands,
)
from eval_harness.perturbations.robot import Robot
from eval_harness.perturbations.surfaces import robot_geoms
from eval_harness.plan import make_item
from eval_harness.protocols import PROTOCOLS
from simulation.assets.resolve import embedded_pack
from simulation.crowd import CrowdedScene
from simulation.environment import Environment
from simulation.tasks import get_task

BOWL = get_task("libero_goal/put_the_bowl_on_the_plate")
RAMEKIN = get_task("libero_spatial/pick_up_the_black_bowl_on_the_ramekin_and_place_it_on_the_plate")
OWN = PROTOCOLS["openvla"]


def begun(kind: type[Perturbation] | None, level: int, episode: int, settled: bool) -> Environment:
    """Return an environment at the start of an episode of the bowl task."""
    perturbations = (kind(level),) if kind else ()
    protocol = dataclasses.replace(
        OWN, perturbations=perturbations, settle_steps=OWN.settle_steps * settled
    )
    env = Seat(BOWL, embedded_pack(), protocol.perturbations).env
    make_item(protocol, BOWL, episode).begin(env, protocol)
    return env


@pytest.mark.parametrize("kind", [Robot, Objects, Layout])
def test_start_is_a_function_of_level_and_seed(kind: type[Perturbation]) -> None:
    own = begun(None, 0, 3, False)
    assert np.array_equal(begun(kind, 0, 3, False).state(), own.state())
    first = begun(kind, 3, 3, False)
    assert np.array_equal(begun(kind, 3, 3, False).state(), first.state())
    assert not np.array_equal(begun(kind, 3, 4, False).state(), first.state())
    assert first.init_index == 3 and not first.success()
    size = own.scene.state_size
    if kind is not Layout:
        assert first.scene.state_size == size and not np.array_equal(first.state(), own.state())


def test_arm_starts_elsewhere_and_its_first_step_stays_there() -> None:
    own, moved = begun(None, 0, 0, False), begun(Robot, 5, 0, False)
    offset = moved.joints() - own.joints()
    assert 0.48 <= np.linalg.norm(offset) <= 0.6
    others = np.delete(np.arange(len(own.state())), 1 + own.scene.robot.qpos)
    assert np.array_equal(moved.state()[others], own.state()[others])
    hand = moved.proprio()[:3]
    moved.settle()
    assert np.linalg.norm(moved.proprio()[:3] - hand) < 0.02
    assert np.linalg.norm(hand - own.proprio()[:3]) > 0.05


def test_objects_end_beyond_the_official_starts() -> None:
    states = BOWL.init_states()
    height = begun(None, 0, 0, True).object_position("akita_black_bowl_1")[2]
    for episode in range(3):
        env = begun(Objects, 4, episode, False)
        for name in ("akita_black_bowl_1", "plate_1"):
            at = pose_address(env.scene, name)
            away = np.linalg.norm(states[:, at : at + 2] - env.state()[at : at + 2], axis=1)
            assert 0.06 <= away.min() < 0.25
        assert stands(WorldStart(env.state(), env.fixtures()), env, [["akita_black_bowl_1"]])
        env.settle()
        assert env.object_position("akita_black_bowl_1")[2] == pytest.approx(height, abs=0.01)


def test_layout_adds_objects_that_stand_and_leaves_what_is_named() -> None:
    own, env = begun(None, 0, 1, True), begun(Layout, 4, 1, True)
    assert isinstance(env.scene, CrowdedScene) and len(env.scene.strangers) == 4
    placed = [s for s in env.scene.strangers if env.data.xpos[s.body][0] < 2]
    assert len(placed) >= 2
    other = begun(Layout, 4, 1, True)
    table = Ground(WorldStart(other.state(), other.fixtures()), other).top
    for stranger in placed:
        position = env.data.xpos[stranger.body]
        up = env.data.xmat[stranger.body].reshape(3, 3)
        quaternion = np.array(stranger.upright)
        rotation = np.empty(9)
        mujoco.mju_quat2Mat(rotation, quaternion)
        assert up[2] @ rotation.reshape(3, 3)[2] > 0.9, stranger.kind
        assert table - 0.005 < position[2] < table + 0.15
    for name in ("akita_black_bowl_1", "plate_1"):
        assert env.object_position(name) == pytest.approx(own.object_position(name), abs=2e-3)
    assert env.policy_state().shape == own.policy_state().shape
    robot, pairs = robot_geoms(env.model), env.data.contact.geom[: env.data.ncon]
    assert not np.isin(pairs, robot).any()


def test_distractor_that_clashes_is_refused() -> None:
    env = begun(Layout, 1, 0, False)
    assert isinstance(env.scene, CrowdedScene)
    start, stranger = WorldStart(env.state(), env.fixtures()), env.scene.strangers[0]
    plate, cabinet = env.object_position("plate_1"), env.fixtures().positions[0]
    for x, y, reason in (
        (2.5, 0.0, "off the table"),
        (*plate[:2], "collide"),
        (*cabinet[:2], "collide"),
    ):
        with pytest.raises(PerturbationError, match=reason):
            Distractor(float(x), float(y)).place(start, env, stranger)


def test_groups_follow_what_rests_on_what() -> None:
    scene = Seat(RAMEKIN, embedded_pack()).env.scene
    groups = {group.root: group.members for group in find_groups(RAMEKIN, scene)}
    assert groups["glazed_rim_porcelain_ramekin_1"] == (
        "glazed_rim_porcelain_ramekin_1",
        "akita_black_bowl_1",
    )
    assert "akita_black_bowl_1" not in groups
    named = {group.root for group in named_groups(RAMEKIN, scene)}
    assert {"glazed_rim_porcelain_ramekin_1", "plate_1"} <= named
    assert "flat_stove_1" not in named
