"""Tall things that are laid where they could not stand."""

from __future__ import annotations

import numpy as np
import pytest

from demonstrations.affordances import hand
from demonstrations.affordances.laying import find_laid, lying_yaw, stands_out
from demonstrations.config import Style
from demonstrations.scripted import Scripted
from simulation.assets.resolve import embedded_pack
from simulation.environment import Environment
from simulation.tasks import get_task

KETCHUP = get_task("KITCHEN_SCENE5_put_the_ketchup_in_the_top_drawer_of_the_cabinet")
TARGET = "white_cabinet_1_top_region"


@pytest.fixture(scope="module")
def env() -> Environment:
    return Environment(KETCHUP, embedded_pack())


@pytest.mark.parametrize(
    ("task", "thing", "target", "stands"),
    [
        (KETCHUP, "ketchup_1", TARGET, True),
        (KETCHUP, "akita_black_bowl_1", TARGET, False),
        (KETCHUP, "ketchup_1", "akita_black_bowl_1", False),
        (
            get_task("libero_object/pick_up_the_ketchup_and_place_it_in_the_basket"),
            "ketchup_1",
            "basket_1_contain_region",
            False,
        ),
    ],
)
def test_a_bottle_stands_out_of_a_drawer_and_not_of_a_basket(
    task, thing: str, target: str, stands: bool
) -> None:
    env = Environment(task, embedded_pack())
    env.reset(0, 0)
    assert stands_out(env, thing, target) == stands


def test_the_hand_leans_toward_the_shoulder_about_its_fingers_axis(env: Environment) -> None:
    env.reset(0, 0)
    yaw = lying_yaw(env, TARGET, 0.0)
    laid = find_laid(env, "ketchup_1", TARGET, yaw)
    assert abs(hand.closing_axis(yaw) @ laid.back) < 1e-9
    assert laid.back[0] < -0.5 and laid.back[2] > 0.5
    turn = hand.rotation(laid.yaw, laid.tilt) @ hand.rotation(yaw).T
    np.testing.assert_allclose(turn @ [0.0, 0.0, 1.0], laid.back, atol=1e-12)


@pytest.mark.parametrize("way", ["low", "high", "bowed"])
def test_ketchup_is_laid_into_the_drawer(way: str, env: Environment) -> None:
    env.reset(0, 3)
    env.settle()
    env.restart()
    episode = Scripted(KETCHUP).demonstrate(env, way, np.random.default_rng(0), Style())
    assert episode.info.success and len(episode) < 200
