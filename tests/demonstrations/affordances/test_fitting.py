"""Slots: several things share a region, and what has a ceiling is entered from its open side."""

from __future__ import annotations

import numpy as np
import pytest

from demonstrations.affordances.fitting import find_slot
from demonstrations.affordances.geometry import bounds, geoms, pose, region
from simulation.environment import Environment
from simulation.tasks import get_task

STOVE, SHELF = "flat_stove_1_cook_region", "wooden_two_layer_shelf_1"
PAN = "chefmate_8_frypan_1"


def at_rest(name: str) -> Environment:
    env = Environment(get_task(name))
    env.reset(0, 0)
    env.settle()
    return env


def test_two_pots_share_the_cook_region_without_touching() -> None:
    env = at_rest("libero_10/KITCHEN_SCENE8_put_both_moka_pots_on_the_stove")
    box = region(env, STOVE)
    assert box is not None
    slots = [find_slot(env, f"moka_pot_{i}", STOVE, 0.0) for i in (1, 2)]
    offsets = [slot.position - box.position for slot in slots]
    assert all((np.abs(offset)[:2] < box.extent[:2]).all() for offset in offsets)
    body = np.ptp(env.data.geom_xpos[geoms(env, "moka_pot_1")][:, 0])
    assert abs(offsets[0][0] - offsets[1][0]) > body
    assert not any(slot.slides for slot in slots)


@pytest.fixture(scope="module")
def shelf() -> Environment:
    return at_rest("libero_90/KITCHEN_SCENE9_put_the_frying_pan_under_the_cabinet_shelf")


@pytest.mark.parametrize("level", ["top", "bottom"])
def test_a_shelf_is_entered_from_its_open_side(shelf: Environment, level: str) -> None:
    box = region(shelf, f"{SHELF}_{level}_region")
    assert box is not None
    slot = find_slot(shelf, PAN, f"{SHELF}_{level}_region", 0.5 * np.pi)
    assert slot.slides
    opening = -pose(shelf, SHELF)[1][:, 1]
    assert slot.outward @ opening == pytest.approx(1.0, abs=0.01)
    inside = np.abs(slot.position - box.position)
    assert (inside[:2] < box.extent[:2] - 0.03).all()
    size = np.subtract(*bounds(shelf, PAN)[::-1])
    assert (slot.before - slot.position) @ slot.outward > 0.5 * size[0] - 0.03
    assert slot.before[2] > slot.position[2] + 0.007


def test_its_top_is_reached_from_above(shelf: Environment) -> None:
    slot = find_slot(shelf, PAN, f"{SHELF}_top_side", 0.5 * np.pi)
    assert not slot.slides
    assert slot.position[2] > bounds(shelf, SHELF)[1][2]
