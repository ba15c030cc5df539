"""Pans and moka pots reach their places in each way, and are let go there."""

from __future__ import annotations

import numpy as np
import pytest

from demonstrations.config import Style
from demonstrations.scripted import Scripted
from demonstrations.skills.handled import PlacePan, PlacePot
from simulation.environment import Environment
from simulation.tasks import Task, get_task

UNDER = get_task("libero_90/KITCHEN_SCENE9_put_the_frying_pan_under_the_cabinet_shelf")
STOVE = get_task("libero_90/KITCHEN_SCENE3_put_the_frying_pan_on_the_stove")
POT = get_task("libero_90/KITCHEN_SCENE3_put_the_moka_pot_on_the_stove")
WAYS = [(task, way) for task in (UNDER, STOVE, POT) for way in Scripted(task).ways]


@pytest.fixture(scope="module")
def environments() -> dict[Task, Environment]:
    return {task: Environment(task) for task in (UNDER, STOVE, POT)}


@pytest.mark.parametrize(("task", "way"), WAYS, ids=[f"{t.name[:20]}-{w}" for t, w in WAYS])
def test_each_way_succeeds_and_lets_go(
    environments: dict[Task, Environment], task: Task, way: str
) -> None:
    env = environments[task]
    for seed in range(3):
        env.reset(seed, 3 if seed % 2 == 0 else None)
        env.settle()
        episode = Scripted(task).demonstrate(env, way, np.random.default_rng(seed), Style())
        if episode.info.success:
            break
    assert episode.info.success
    assert env.success()
    assert np.abs(env.data.qpos[env.scene.gripper_qpos]).sum() > 0.06


def test_what_is_under_a_ceiling_is_not_taken_by_its_rim() -> None:
    assert "rim" in PlacePan().ways_of(STOVE.goal[0])
    assert "rim" not in PlacePan().ways_of(UNDER.goal[0])


def test_only_pans_and_pots_are_taken() -> None:
    assert PlacePan().fits(STOVE.goal[0]) and not PlacePan().fits(POT.goal[0])
    assert PlacePot().fits(POT.goal[0]) and not PlacePot().fits(("turnon", "moka_pot_1"))
