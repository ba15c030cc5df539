"""Successes of scripted skills that tests of people's demonstrations take for recordings."""

from __future__ import annotations

import numpy as np
import pytest

from demonstrations.config import Style
from demonstrations.scripted import Scripted
from simulation.assets.resolve import embedded_pack
from simulation.environment import Environment
from simulation.recordings.trajectories import Episode
from simulation.tasks import get_task


@pytest.fixture(scope="session")
def drawer() -> Environment:
    """The task with one drawer, with the embedded pack."""
    task = get_task("libero_90/KITCHEN_SCENE10_close_the_top_drawer_of_the_cabinet")
    return Environment(task, embedded_pack())


@pytest.fixture(scope="session")
def successes(drawer: Environment) -> list[Episode]:
    """Two successes from starts of their own, the cabinet elsewhere each time."""
    found: list[Episode] = []
    for seed in range(20):
        drawer.reset(seed, seed)
        drawer.settle()
        rng = np.random.default_rng(seed)
        episode = Scripted(drawer.task).demonstrate(drawer, "left", rng, Style())
        found += [episode] if episode.info.success else []
        if len(found) == 2:
            return found
    raise AssertionError("the skill failed")
