"""States, success and observations equal upstream's, in every scene and problem class of LIBERO."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from simulation.environment import Environment
from simulation.observations import Observer
from simulation.tasks import get_task, list_tasks

SEED = 3
INIT_INDEX = 7
QUICK = ["libero_90/KITCHEN_SCENE10_close_the_top_drawer_of_the_cabinet"]
QUICK_ON_REAL_ASSETS = ["libero_object/pick_up_the_milk_and_place_it_in_the_basket"]
DROPPED = {
    "libero_90/KITCHEN_SCENE5_put_the_black_bowl_on_the_plate": ("akita_black_bowl_1", "plate_1"),
    "libero_object/pick_up_the_milk_and_place_it_in_the_basket": ("milk_1", "basket_1"),
}
"""Task -> the object that its goal wants on or in another, and that other."""


def _chosen() -> list[str]:
    """Return the first task of each scene of LIBERO-90 and three of each other suite."""
    scenes: dict[str, str] = {}
    for task in list_tasks("libero_90"):
        scenes.setdefault(task.name[: task.name.index("SCENE") + 7].rstrip("_"), task.key)
    keys = list(scenes.values())
    for suite in ("libero_spatial", "libero_object", "libero_goal", "libero_10"):
        keys += [task.key for task in list_tasks(suite)[::4]]
    return keys


def _marked(keys: list[str], quick: list[str]) -> list[Any]:
    slow = [pytest.param(key, marks=pytest.mark.slow) for key in keys if key not in quick]
    return [*quick, *slow]


def _pair(key, pack, upstream, init_state):
    """Return upstream and our environment at the start of the same episode."""
    task = get_task(key)
    theirs, ours = upstream(task, pack), Environment(task, pack)
    theirs.seed(SEED)
    observation = theirs.reset()
    if init_state is not None:
        observation = theirs.set_init_state(init_state)
    ours.reset(seed=SEED, init_state=init_state)
    return theirs, ours, observation


def _difference(ours: dict[str, np.ndarray], theirs: dict[str, np.ndarray]) -> float:
    assert list(ours) == list(theirs)
    assert all(ours[name].shape == theirs[name].shape for name in ours)
    return max(float(np.abs(ours[name] - theirs[name]).max()) for name in ours)


def _assert_parity(key, pack, upstream, actions, init_state, record_property=None) -> list[bool]:
    """Compare after the reset and after each action; return success after each action."""
    theirs, ours, observation = _pair(key, pack, upstream, init_state)
    observer, successes = Observer(ours), []
    np.testing.assert_array_equal(ours.state(), theirs.get_sim_state())
    observations = [_difference(observer.upstream(), observation)]
    states = [0.0]
    for action in actions:
        observation, reward, done, _ = theirs.step(action)
        assert ours.step(action) == done == bool(reward)
        successes.append(done)
        states.append(float(np.abs(ours.state() - theirs.get_sim_state()).max()))
        observations.append(_difference(observer.upstream(), observation))
    if record_property:
        record_property("states", max(states))
        record_property("observations", max(observations))
    assert max(states) <= 1e-9
    assert max(observations) <= 1e-12
    return successes


def _init_state(key: str) -> np.ndarray:
    return get_task(key).init_states()[INIT_INDEX]


def test_the_tasks_cover_every_scene_and_problem_class():
    def problem(key: str) -> str:
        return get_task(key).bddl_file.read_text().split("(problem ")[1].split(")")[0]

    assert len(_chosen()) >= 20
    assert {problem(key) for key in _chosen()} == {problem(t.key) for t in list_tasks()}


@pytest.mark.parametrize("key", _marked(_chosen(), QUICK))
def test_300_steps_equal_upstreams(key, pack, upstream, actions, record_property):
    _assert_parity(key, pack, upstream, actions, _init_state(key), record_property)


@pytest.mark.parametrize("key", _marked(_chosen(), QUICK_ON_REAL_ASSETS))
def test_300_steps_equal_upstreams_on_the_real_assets(
    key, real_pack, upstream, actions, record_property
):
    _assert_parity(key, real_pack, upstream, actions, _init_state(key), record_property)


@pytest.mark.parametrize(
    "key",
    _marked(
        [
            "libero_90/KITCHEN_SCENE5_put_the_black_bowl_on_the_plate",
            "libero_object/pick_up_the_milk_and_place_it_in_the_basket",
            "libero_goal/turn_on_the_stove",
            "libero_90/STUDY_SCENE1_pick_up_the_book_and_place_it_in_the_right_compartment_of_the_caddy",
        ],
        [],
    ),
)
def test_fresh_episodes_equal_upstreams(key, pack, upstream, actions, record_property):
    _assert_parity(key, pack, upstream, actions, None, record_property)


def test_actions_out_of_range_are_clipped_as_upstreams_are(pack, upstream, actions):
    """Translation and rotation are clipped to [-1, 1]; of the gripper only the sign counts."""
    key = QUICK[0]
    _assert_parity(key, pack, upstream, 3.0 * actions[:20], _init_state(key))


@pytest.mark.slow
@pytest.mark.parametrize("key", DROPPED)
def test_success_comes_at_the_same_step(key, pack, upstream):
    """An object that falls onto its goal succeeds after the same number of steps."""
    upper, lower = DROPPED[key]
    env = Environment(get_task(key), pack)
    env.reset(seed=SEED, init_index=INIT_INDEX)
    state = env.state()
    body = next(o.body for o in env.scene.objects if o.name == upper)
    address = 1 + env.model.jnt_qposadr[env.model.body_jntadr[body]]
    state[address : address + 3] = env.object_position(lower) + np.array([0.0, 0.0, 0.15])
    successes = _assert_parity(key, pack, upstream, np.zeros((40, 7)), state)
    assert not successes[0] and any(successes)


@pytest.mark.slow
def test_a_persons_demonstration_succeeds_at_the_same_step(real_pack, upstream, human_demos):
    path = sorted(human_demos.glob("*.json"))[0]
    recording = json.loads(path.read_text())
    key = get_task(path.stem).key
    state, actions = np.array(recording["init_state"]), np.array(recording["actions"])
    actions = np.concatenate((actions, np.repeat(actions[-1:], 15, axis=0)))
    _assert_parity(key, real_pack, upstream, actions, state)
