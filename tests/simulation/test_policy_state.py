"""What a policy sees of a goal of several parts: which of them hold."""

import numpy as np

from simulation.assets.resolve import embedded_pack
from simulation.environment import Environment
from simulation.tasks import get_task

BOTH = "KITCHEN_SCENE10_close_the_top_drawer_of_the_cabinet_and_put_the_black_bowl_on_top_of_it"


def test_each_part_of_the_goal_is_seen_to_hold_or_not() -> None:
    env = Environment(get_task(f"libero_90/{BOTH}"), embedded_pack())
    names = [name for name in env.policy_state_names if name.startswith("holds_")]
    assert len(names) == len(env.task.goal) == 2
    assert list(env.policy_state_names[-2:]) == names
    np.testing.assert_array_equal(env.policy_state()[-2:], 0)
    drawer = env.model.joint("wooden_cabinet_1_top_level")
    state = env.state()
    state[1 + drawer.qposadr[0]] = drawer.range.max()
    env.set_state(state)
    shown = dict(zip(names, env.policy_state()[-2:], strict=True))
    assert [shown[name] for name in names if "close" in name] == [1.0]
    assert [shown[name] for name in names if "close" not in name] == [0.0]


def test_a_goal_of_one_part_ends_the_episode_and_is_not_shown() -> None:
    task = get_task("libero_90/KITCHEN_SCENE10_close_the_top_drawer_of_the_cabinet")
    env = Environment(task, embedded_pack())
    assert not [name for name in env.policy_state_names if name.startswith("holds_")]
    assert env.policy_state().shape == (len(env.policy_state_names),)
