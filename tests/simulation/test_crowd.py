"""A scene with further objects: the task's own part of it stays what it is."""

from __future__ import annotations

import numpy as np
import pytest

from common.errors import InvalidStateError
from simulation.assets.resolve import embedded_pack
from simulation.crowd import crowd
from simulation.environment import Environment
from simulation.scene import load_scene
from simulation.tasks import list_tasks

TASK = list_tasks("libero_object")[0]
KINDS = ("bbq_sauce", "porcelain_mug", "white_bowl", "red_coffee_mug", "butter")


@pytest.fixture(scope="module")
def envs() -> tuple[Environment, Environment]:
    scene = load_scene(TASK, embedded_pack())
    return Environment(TASK, embedded_pack()), Environment(TASK, scene=crowd(scene, KINDS))


def test_own_part_of_states_and_indices_stays(envs: tuple[Environment, Environment]) -> None:
    own, crowded = envs
    nq, nv = own.model.nq, own.model.nv
    assert crowded.model.nq == nq + 7 * 5 and crowded.model.nv == nv + 6 * 5 > 64
    own.reset(3, 2)
    crowded.reset(3, 2)
    assert np.array_equal(crowded.state()[: 1 + nq], own.state()[: 1 + nq])
    for entry in own.scene.objects:
        assert crowded.model.body(entry.body).name == own.model.body(entry.body).name
    assert crowded.policy_state_names == own.policy_state_names
    assert crowded.fixtures().names == own.fixtures().names
    with pytest.raises(InvalidStateError, match="belongs to another task"):
        crowded.reset(3, init_state=own.state()[:-1])
    with pytest.raises(InvalidStateError, match="real numbers"):
        crowded.reset(3, init_state=own.state() + 1j)


def test_what_is_parked_does_not_matter(envs: tuple[Environment, Environment]) -> None:
    own, crowded = envs
    for env in envs:
        env.reset(1, 1)
        env.settle()
        for step in range(20):
            assert not env.step(np.sin(np.arange(7) + step))
    nq = own.model.nq
    assert crowded.state()[1 : 1 + nq] == pytest.approx(own.state()[1 : 1 + nq], abs=1e-4)
    assert crowded.proprio() == pytest.approx(own.proprio(), abs=1e-5)
    heights = [crowded.data.xpos[stranger.body][2] for stranger in crowded.scene.strangers]
    assert all(-0.01 < height < 0.2 for height in heights), "they fell to the floor beyond"
