"""Drawers, the microwave's door and the stove's knob: what is read of them, and each way once."""

from __future__ import annotations

import numpy as np
import pytest

from common.errors import UnknownTaskError
from demonstrations.affordances.moving_parts import drawer_handle, moving_part
from demonstrations.config import Style
from demonstrations.scripted import Scripted
from demonstrations.skills.articulated.door import read_door
from demonstrations.skills.articulated.knob import read_knob
from demonstrations.skills.table import find_skills
from simulation.assets.resolve import embedded_pack
from simulation.environment import Environment
from simulation.tasks import get_task

OPEN_TOP = "libero_90/KITCHEN_SCENE1_open_the_top_drawer_of_the_cabinet"
OPEN_BOTTOM = "libero_90/KITCHEN_SCENE1_open_the_bottom_drawer_of_the_cabinet"
CLOSE_BOTTOM = "libero_90/KITCHEN_SCENE4_close_the_bottom_drawer_of_the_cabinet"
TURN_OFF = "libero_90/KITCHEN_SCENE8_turn_off_the_stove"
TURN_ON = "libero_goal/turn_on_the_stove"
OPEN_DOOR = "libero_90/KITCHEN_SCENE7_open_the_microwave"
CLOSE_DOOR = "libero_90/KITCHEN_SCENE6_close_the_microwave"
BOWL_INSIDE = "libero_goal/open_the_top_drawer_and_put_the_bowl_inside"


@pytest.fixture(scope="module")
def environments() -> dict[str, Environment]:
    return {}


def _environment(environments: dict[str, Environment], task: str) -> Environment:
    if task not in environments:
        environments[task] = Environment(get_task(task), embedded_pack())
    env = environments[task]
    env.reset(1000, 3)
    env.settle()
    return env


@pytest.mark.parametrize(
    "task", [OPEN_TOP, OPEN_BOTTOM, CLOSE_BOTTOM, TURN_OFF, TURN_ON, OPEN_DOOR, CLOSE_DOOR]
)
def test_every_way_succeeds(environments: dict[str, Environment], task: str) -> None:
    scripted = Scripted(get_task(task))
    lengths = {}
    for way in scripted.ways:
        env = _environment(environments, task)
        episode = scripted.demonstrate(env, way, np.random.default_rng(1), Style())
        lengths[way] = len(episode) if episode.info.success else None
    assert len(lengths) == 3
    assert all(length and length < 250 for length in lengths.values()), lengths


def test_a_handle_is_read_from_the_model(environments: dict[str, Environment]) -> None:
    env = _environment(environments, OPEN_TOP)
    drawer = moving_part(env, "wooden_cabinet_1_top_region")
    handle = drawer_handle(env, drawer)
    assert handle.outward == pytest.approx([0, 1, 0], abs=1e-6)
    assert handle.inner - handle.front == pytest.approx(0.016, abs=0.002)
    assert handle.outer - handle.inner == pytest.approx(0.015, abs=0.002)
    assert handle.gap[1] - handle.gap[0] == pytest.approx(0.054, abs=0.004)
    assert drawer.limits(env) == pytest.approx((0.01, -0.16))


def test_a_knob_turns_with_its_joint(environments: dict[str, Environment]) -> None:
    env = _environment(environments, TURN_OFF)
    part = moving_part(env, "flat_stove_1")
    before, turned = read_knob(env, part), part.value(env)
    state = env.state()
    state[1 + env.model.jnt_qposadr[part.joint]] -= 0.5
    env.set_state(state)
    after = read_knob(env, part)
    assert part.value(env) == pytest.approx(turned - 0.5)
    assert after.angle - before.angle == pytest.approx(-0.5, abs=1e-6)
    assert after.half_size == pytest.approx([0.0345, 0.0125], abs=0.003)


def test_a_door_opens_toward_its_handle(environments: dict[str, Environment]) -> None:
    env = _environment(environments, OPEN_DOOR)
    part = moving_part(env, "microwave_1")
    door = read_door(env, part)
    assert (door.bar - part.anchor(env)) @ door.opening > door.faces[1]
    moved = part.swung(env, door.bar, -0.1) - door.bar
    assert moved @ door.opening == pytest.approx(0.024, abs=0.004)


def test_what_does_not_move_is_refused(environments: dict[str, Environment]) -> None:
    env = _environment(environments, OPEN_TOP)
    with pytest.raises(UnknownTaskError, match="plate_1"):
        moving_part(env, "plate_1")


def test_a_closed_drawer_is_opened_before_something_goes_in() -> None:
    steps = _predicates(BOWL_INSIDE)
    assert steps == ["open", "in"]
    task = get_task("libero_90/KITCHEN_SCENE10_put_the_black_bowl_in_the_top_drawer_of_the_cabinet")
    assert ("open", "wooden_cabinet_1_top_region") in task.start
    assert _predicates(task.key) == ["in"]


def _predicates(task: str) -> list[str]:
    return [atom[0] for _, atom, _ in find_skills(get_task(task)).steps]
