"""Contacts have memory enough, and no more than lets a process with many environments fork."""

from __future__ import annotations

import pytest

from simulation.environment import Environment
from simulation.tasks import get_task

CROWDED = (
    "libero_spatial/pick_up_the_black_bowl_next_to_the_ramekin_and_place_it_on_the_plate",
    "libero_10/LIVING_ROOM_SCENE2_put_both_the_alphabet_soup_and_the_tomato_sauce_in_the_basket",
)


@pytest.mark.parametrize("name", CROWDED)
def test_contacts_use_a_fraction_of_a_small_arena(name):
    env = Environment(get_task(name))
    env.reset(0)
    upstream = env.scene._sim
    for data in (env.data, upstream.data._data):
        assert 0 < data.maxuse_arena < data.narena / 8
        assert data.narena < 1e8
        assert not any(warning.number for warning in data.warning)
    assert env.scene.visual_model.narena < 1e8


def test_other_simulations_of_robosuite_keep_theirs():
    from robosuite.utils.binding_utils import MjSim

    sim = MjSim.from_xml_string("<mujoco><size njmax='5000' nconmax='5000'/></mujoco>")
    assert sim.model._model.narena > 1e9
