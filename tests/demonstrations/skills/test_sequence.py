"""Several parts of a goal, one after the other: what is done is left at once."""

import numpy as np
import pytest

from demonstrations.config import Style
from demonstrations.scripted import Scripted
from simulation.assets.resolve import embedded_pack
from simulation.environment import Environment
from simulation.tasks import get_task

BOTH = "KITCHEN_SCENE10_close_the_top_drawer_of_the_cabinet_and_put_the_black_bowl_on_top_of_it"


@pytest.fixture(scope="module")
def env() -> Environment:
    return Environment(get_task(f"libero_90/{BOTH}"), embedded_pack())


@pytest.mark.parametrize("way", [0, 1, 2])
def test_a_shut_drawer_is_not_pushed_on(env: Environment, way: int) -> None:
    demonstrator = Scripted(env.task)
    env.reset(0, 11)
    env.settle()
    episode = demonstrator.demonstrate(
        env, demonstrator.ways[way], np.random.default_rng(0), Style()
    )
    (closing,) = [i for i, atom in enumerate(env.task.goal) if atom[0] == "close"]
    shut = []
    for state in episode.states:
        env.set_state(state)
        shut.append(env.policy_state()[-2:][closing] == 1.0)
    first = shut.index(True)
    moved = np.linalg.norm(episode.proprio[first + 12, :3] - episode.proprio[first, :3])
    assert moved > 0.05
