"""Books: into the caddy's compartments and into the shelf, and what is read from the model."""

from __future__ import annotations

import numpy as np
import pytest

from demonstrations.affordances.geometry import bounds
from demonstrations.config import Style
from demonstrations.scripted import Scripted
from demonstrations.skills.caddy import grasp_yaw, interior
from demonstrations.skills.shelf import slot
from simulation.assets.resolve import resolve_assets
from simulation.environment import Environment
from simulation.tasks import get_task

CADDY = "STUDY_SCENE1_pick_up_the_book_and_place_it_in_the_{}_compartment_of_the_caddy"
SHELF = "STUDY_SCENE4_pick_up_the_book_on_the_right_and_place_it_on_the_cabinet_shelf"


def environment(name: str) -> Environment:
    """Return a settled environment of a task with the embedded assets."""
    env = Environment(get_task(name), resolve_assets("embedded"))
    env.reset(1001)
    env.settle()
    return env


@pytest.fixture(scope="module")
def front() -> Environment:
    return environment(CADDY.format("front"))


@pytest.fixture(scope="module")
def shelf() -> Environment:
    return environment(SHELF)


def succeeds(env: Environment, way: str, seed: int = 0) -> bool:
    env.reset(1001)
    env.settle()
    rng = np.random.default_rng(seed)
    return Scripted(env.task).demonstrate(env, way, rng, Style()).info.success


@pytest.mark.parametrize("way", ["clockwise", "counter_clockwise", "turned_hand"])
def test_book_into_the_caddy(front, way):
    assert succeeds(front, way)
    low, high = bounds(front, "black_book_1")
    assert high[2] - low[2] > 0.12  # it stands


def test_compartment_is_read_from_its_walls(front):
    low, high = interior(front, "desk_caddy_1_front_contain_region")
    assert 0.05 < high[0] - low[0] < 0.065
    assert 0.12 < high[1] - low[1] < 0.14


def test_turned_hand_is_half_a_turn_away(front):
    front.reset(1001)
    near, far = (grasp_yaw(front, "black_book_1", turned) for turned in (False, True))
    assert abs(near) <= 0.5 * np.pi
    assert far - near == pytest.approx(np.pi)


@pytest.mark.parametrize("way", ["straight", "oblique"])
def test_book_into_the_shelf(shelf, way):
    assert succeeds(shelf, way)


def test_slot_opens_toward_the_hand(shelf):
    floor, ceiling, _, out = slot(shelf, "wooden_two_layer_shelf_1_top_region")
    assert 0.12 < ceiling - floor < 0.15
    assert np.array_equal(out, [0.0, -1.0, 0.0])
