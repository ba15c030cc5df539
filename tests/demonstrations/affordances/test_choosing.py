"""The same grasp is taken from nearly every start, by an arm that stands free."""

from __future__ import annotations

import numpy as np
import pytest

from demonstrations.affordances import arm
from demonstrations.affordances.choosing import choose_grasp, grasps, rehearsals, whole_cost, wrap
from demonstrations.skills.pick_place import PickPlace
from simulation.environment import Environment
from simulation.tasks import Task, get_task

BOWL = get_task("libero_90/KITCHEN_SCENE5_put_the_black_bowl_on_the_plate")
TURN = np.radians(16)
"""A little more than between two sides of a wall that are tried."""


def starts(task: Task, count: int) -> list[Environment]:
    """Return an environment at each of several fresh starts."""
    found = [Environment(task) for _ in range(count)]
    for seed, env in enumerate(found):
        env.reset(seed)
        env.settle()
    return found


@pytest.mark.parametrize("way", PickPlace.ways)
def test_a_bowl_is_grasped_on_the_same_side(way: str) -> None:
    _, name, target = BOWL.goal[0]
    azimuth = PickPlace._ways[way].azimuth
    environments = starts(BOWL, 8)
    chosen = [choose_grasp(env, name, target, azimuth) for env in environments]
    usual = chosen[0].side
    assert sum(abs(wrap(grasp.side - usual)) < TURN for grasp in chosen) >= 7
    free = [
        arm.clearance(env, grasp.position, grasp.yaw)
        for env, grasp in zip(environments, chosen, strict=True)
    ]
    assert sum(gap > 0.0 for gap in free) >= 6
    env, grasp = environments[0], chosen[0]
    costs = [whole_cost(env, name, target, other) for other in grasps(env, name, azimuth)]
    assert whole_cost(env, name, target, grasp) <= np.median(costs)


def test_rehearsals_are_at_rest_at_official_starts_and_end_there() -> None:
    seen = [
        (env.init_index, env.object_position(BOWL.goal[0][1]))
        for env in rehearsals(BOWL, Environment(BOWL).scene)
    ]
    assert [index for index, _ in seen] == [0, 5, 10, 15, 20, 25, 30]
    assert np.ptp([position[2] for _, position in seen]) < 0.002
