"""A wine bottle on the rack: it lies along the bed's slope, its foot at the lip."""

from __future__ import annotations

import numpy as np
import pytest

from demonstrations.affordances.geometry import pose, region
from demonstrations.config import Style
from demonstrations.scripted import Scripted
from simulation.assets.resolve import resolve_assets
from simulation.environment import Environment
from simulation.tasks import get_task


@pytest.fixture(scope="module")
def rack() -> Environment:
    return Environment(get_task("put_the_wine_bottle_on_the_rack"), resolve_assets("embedded"))


@pytest.mark.parametrize("way", ["near", "far", "turned"])
def test_bottle_lies_on_the_rack(rack, way):
    rack.reset(1001)
    rack.settle()
    rng = np.random.default_rng(0)
    assert Scripted(rack.task).demonstrate(rack, way, rng, Style()).info.success
    rack.settle()
    box = region(rack, "wine_rack_1_top_region")
    assert box is not None
    _, rotation = pose(rack, "wine_bottle_1")
    assert rotation[:, 2] @ box.rotation[:, 2] > 0.9  # its axis is along the slope
