"""Episodes simulated again from what a dataset stores, and metadata that no reset can take."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from common.errors import DatasetError
from dataset_builders.replay import encode_fixtures, encode_state, replay
from simulation.assets.resolve import embedded_pack
from simulation.environment import Environment
from simulation.tasks import get_task

TASK = get_task("libero_90/KITCHEN_SCENE10_close_the_top_drawer_of_the_cabinet")
ACTIONS = np.zeros((3, 7))


@pytest.fixture(scope="module")
def stored() -> tuple[dict[str, Any], np.ndarray, np.ndarray]:
    """Return an episode's metadata, and what policies and joints were before each action."""
    pack = embedded_pack()
    env = Environment(TASK, pack)
    env.reset(5, 3)
    env.settle()
    metadata = {
        "suite": TASK.suite, "task": TASK.name, "asset_pack": pack.name,
        "asset_digest": pack.digest, "policy_hash": "a", "seed": 5, "init_index": 3,
        "success": False, "initial_state": encode_state(env.state()),
        "fixtures": encode_fixtures(env.fixtures()),
    }  # fmt: skip
    states, joints = [], []
    for action in ACTIONS:
        states.append(env.proprio())
        joints.append(env.joints())
        env.step(action)
    return metadata, np.array(states), np.array(joints)


def test_an_episode_ends_as_it_did(stored: tuple[dict[str, Any], np.ndarray, np.ndarray]) -> None:
    metadata, states, joints = stored
    found = replay(metadata, ACTIONS, states, joints, "embedded")
    assert found.same and found.first_success == -1
    assert (found.position_error, found.joint_error, found.start_error) == (0, 0, 0)


@pytest.mark.parametrize(
    "damage", [{"seed": -1}, {"seed": 2**32}, {"init_index": 50}, {"initial_state": "AAAA"}]
)
def test_a_start_that_cannot_be_is_refused(
    stored: tuple[dict[str, Any], np.ndarray, np.ndarray], damage: dict[str, Any]
) -> None:
    metadata, states, joints = stored
    with pytest.raises(DatasetError, match="an episode's start"):
        replay(metadata | damage, ACTIONS, states, joints, "embedded")
