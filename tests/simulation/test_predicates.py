from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from simulation.environment import Environment
from simulation.tasks import get_task

SAMPLES = 40
TASKS = {
    "on an object": "libero_90/KITCHEN_SCENE5_put_the_black_bowl_on_the_plate",
    "on a site": "libero_goal/put_the_bowl_on_the_stove",
    "on top of a fixture": "libero_goal/put_the_bowl_on_top_of_the_cabinet",
    "in an object": "libero_object/pick_up_the_milk_and_place_it_in_the_basket",
    "open": "libero_goal/open_the_middle_drawer_of_the_cabinet",
    "open a door": "libero_90/KITCHEN_SCENE7_open_the_microwave",
    "close": "libero_90/KITCHEN_SCENE10_close_the_top_drawer_of_the_cabinet",
    "turn on": "libero_goal/turn_on_the_stove",
    "turn off": "libero_90/KITCHEN_SCENE8_turn_off_the_stove",
    "turn on and on": "libero_10/KITCHEN_SCENE3_turn_on_the_stove_and_put_the_moka_pot_on_it",
    "in and close": "libero_10/KITCHEN_SCENE4_put_the_black_bowl_in_the_bottom_drawer_of_the_"
    "cabinet_and_close_it",
}


def _randomise(env: Environment, goals: list[list[str]], rng: np.random.Generator) -> None:
    """Put the goal's objects near where they belong and every joint anywhere in its range."""
    model, state = env.model, env.state()
    qpos = state[1 : 1 + model.nq]
    for name in env.scene.joint_names:
        low, high = model.joint(name).range
        share = rng.choice([0.0, 1.0, rng.uniform()])
        qpos[model.joint(name).qposadr[0]] = low + share * (high - low)
    env.set_state(state)
    for predicate, *arguments in goals:
        if predicate in ("on", "in"):
            upper, lower = arguments
            joint = model.body_jntadr[next(o.body for o in env.scene.objects if o.name == upper)]
            address = model.jnt_qposadr[joint]
            spread = rng.choice([0.0, 0.02, 0.15])
            offset = rng.normal(size=3) * spread + np.array([0.0, 0.0, rng.uniform(0.0, 0.06)])
            qpos[address : address + 3] = env.object_position(lower) + offset
    env.set_state(state)
    for _ in range(int(rng.integers(0, 8))):
        env.step(np.zeros(7))


def _agreement(env: Environment, upstream: Any) -> set[bool]:
    """Compare success on random states and return the outcomes that were seen."""
    rng = np.random.default_rng(0)
    goals = upstream.env.parsed_problem["goal_state"]
    outcomes = set()
    for _ in range(SAMPLES):
        env.reset(seed=1, init_index=0)
        _randomise(env, goals, rng)
        env.set_state(env.state())
        upstream.env.sim.set_state_from_flattened(env.state())
        upstream.env.sim.forward()
        expected = bool(upstream.env._check_success())
        assert env.success() == expected
        outcomes.add(expected)
    return outcomes


@pytest.mark.parametrize("key", TASKS.values(), ids=TASKS.keys())
def test_success_agrees_with_upstreams(key, pack, upstream):
    theirs = upstream(get_task(key), pack)
    theirs.seed(1)
    theirs.reset()
    assert _agreement(Environment(get_task(key), pack), theirs) == {True, False}


def test_success_agrees_with_upstreams_on_the_real_assets(real_pack, upstream):
    task = get_task(TASKS["on an object"])
    theirs = upstream(task, real_pack)
    theirs.seed(1)
    theirs.reset()
    assert _agreement(Environment(task, real_pack), theirs) == {True, False}
