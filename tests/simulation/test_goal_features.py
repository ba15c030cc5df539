"""What a policy is told about its goal: distances as the simulator has them, near ones squashed."""

import numpy as np
import pytest

from simulation.assets.resolve import embedded_pack
from simulation.environment import Environment
from simulation.tasks import get_task


@pytest.mark.parametrize(
    ("task", "moving"),
    [
        ("libero_90/KITCHEN_SCENE5_put_the_black_bowl_on_the_plate", "akita_black_bowl_1"),
        ("libero_goal/open_the_middle_drawer_of_the_cabinet", "wooden_cabinet_1_middle_region"),
        ("libero_goal/turn_on_the_stove", "flat_stove_1"),
    ],
)
def test_features_are_a_function_of_the_state(task: str, moving: str) -> None:
    env = Environment(get_task(task), embedded_pack())
    env.reset(3)
    state, fixtures = env.state(), env.fixtures()
    seen = dict(zip(env.policy_state_names, env.policy_state(), strict=True))
    hand = np.array([seen[f"goal_{moving}_hand_{a}"] for a in "xyz"])
    near = np.array([seen[f"goal_{moving}_hand_near_{a}"] for a in "xyz"])
    along = np.array([seen[f"goal_{moving}_near_{a}"] for a in "xyz"])
    np.testing.assert_allclose(near, np.tanh(hand / 0.02))
    away = np.arctanh(np.clip(along, -1 + 1e-15, 1 - 1e-15)) * 0.02
    assert (np.abs(away) <= np.linalg.norm(hand) + 1e-9).all()
    for _ in range(5):
        env.step(np.array([0.5, 0.2, -0.5, 0, 0, 0.3, 1.0]))
    assert np.abs(env.policy_state() - np.array(list(seen.values()))).max() > 0.01
    env.reset(3, init_state=state, fixtures=fixtures)
    np.testing.assert_allclose(env.policy_state(), list(seen.values()), atol=1e-12)


def test_related_things_are_seen_from_each_other() -> None:
    task = get_task("libero_90/KITCHEN_SCENE5_put_the_black_bowl_on_the_plate")
    env = Environment(task, embedded_pack())
    seen = dict(zip(env.policy_state_names, env.policy_state(), strict=True))
    away = env.object_position("plate_1") - env.object_position("akita_black_bowl_1")
    found = [seen[f"goal_akita_black_bowl_1_to_plate_1_{a}"] for a in "xyz"]
    np.testing.assert_allclose(found, away)
    near = [seen[f"goal_akita_black_bowl_1_to_plate_1_near_{a}"] for a in "xyz"]
    np.testing.assert_allclose(near, np.tanh(away / 0.02))
