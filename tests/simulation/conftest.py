"""Upstream's own environment, with which the tests of `simulation` compare."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from simulation.assets import AssetPack, resolve_assets
from simulation.registry import Task
from simulation.scene import make_upstream


@pytest.fixture(scope="session")
def pack() -> AssetPack:
    """The assets that a user without further settings gets."""
    return resolve_assets()


@pytest.fixture(scope="session")
def real_pack(real_assets) -> AssetPack:
    """LIBERO's real assets."""
    return resolve_assets(real_assets)


@pytest.fixture(scope="session")
def upstream() -> Callable[[Task, AssetPack], Any]:
    """Maker of LIBERO's `ControlEnv` without renderer.

    A new one each time: what upstream's reset draws depends on how often it was reset before.
    """
    return make_upstream


@pytest.fixture
def actions() -> np.ndarray:
    """300 random actions."""
    return np.random.default_rng(0).uniform(-1.0, 1.0, (300, 7))
