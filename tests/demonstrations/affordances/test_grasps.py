"""Grasps of bodies: where the fingers' pads lie on what is made of several pieces."""

from __future__ import annotations

import numpy as np
import pytest

from demonstrations.affordances.geometry import corners, geoms
from demonstrations.affordances.grasps import body_grasps
from simulation.assets.resolve import embedded_pack
from simulation.environment import Environment
from simulation.tasks import get_task


@pytest.fixture(scope="module")
def table() -> Environment:
    task = "LIVING_ROOM_SCENE2_pick_up_the_orange_juice_and_put_it_in_the_basket"
    env = Environment(get_task(f"libero_90/{task}"), embedded_pack())
    env.reset(0, 0)
    env.settle()
    return env


def depth(env: Environment, name: str) -> float:
    """Return how far below an object's top it is grasped, m."""
    top = corners(env, geoms(env, name))[..., 2].max()
    return float(top - body_grasps(env, name)[0].position[2])


@pytest.mark.parametrize("carton", ["orange_juice_1", "milk_1"])
def test_a_carton_is_held_under_the_seam_of_its_roof(table: Environment, carton: str) -> None:
    _, roof, *_ = np.sort(corners(table, geoms(table, carton))[..., 2].min(axis=1))
    held = body_grasps(table, carton)[0].position[2]
    assert roof - 0.02 < held < roof - 0.01


def test_a_can_is_held_three_centimetres_below_its_top(table: Environment) -> None:
    assert depth(table, "tomato_sauce_1") == pytest.approx(0.03)
