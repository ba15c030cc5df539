"""What skills share: the hand stays where it lets a thing go until the fingers have opened."""

from __future__ import annotations

import numpy as np
import pytest

from demonstrations.config import Style
from demonstrations.scripted import Scripted
from simulation.assets.resolve import embedded_pack
from simulation.environment import Environment
from simulation.tasks import get_task


@pytest.mark.parametrize(
    "task",
    [
        "LIVING_ROOM_SCENE2_pick_up_the_orange_juice_and_put_it_in_the_basket",
        "KITCHEN_SCENE5_put_the_black_bowl_on_the_plate",
    ],
)
def test_the_hand_leaves_when_the_fingers_have_opened(task: str) -> None:
    """Of a wide thing, which they let go late, and of a thin rim."""
    env = Environment(get_task(f"libero_90/{task}"), embedded_pack())
    env.reset(3, 3)
    env.settle()
    shown = Scripted(env.task).demonstrate(env, "low", np.random.default_rng(0), Style())
    assert shown.info.success
    gap = np.ptp(shown.proprio[:, 6:], axis=1)
    opened = int(np.flatnonzero(shown.labels[:, 6] > 0)[-1]) + 1
    risen = opened + int(np.flatnonzero(shown.labels[opened:, 2] > 0.5)[0])
    assert gap[risen] > gap[opened] + 0.007
