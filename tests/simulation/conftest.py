"""Upstream's own environment, with which the tests of `simulation` compare."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from simulation.assets.embedded import ROBOT_FILE
from simulation.assets.resolve import AssetPack, embedded_pack, resolve_assets
from simulation.scene import make_upstream
from simulation.tasks import Task


@pytest.fixture(scope="session")
def pack() -> AssetPack:
    """The embedded pack, which is on every machine."""
    return embedded_pack()


@pytest.fixture(scope="session")
def real_pack(real_assets) -> AssetPack:
    """LIBERO's own assets."""
    return resolve_assets(real_assets)


@pytest.fixture(scope="session")
def bare_pack(tmp_path_factory) -> AssetPack:
    """The embedded pack without its looks of the robot: robosuite's are drawn, as by upstream."""
    folder = tmp_path_factory.mktemp("packs") / "bare"
    shutil.copytree(embedded_pack().path, folder)
    (folder / ROBOT_FILE).unlink()
    return resolve_assets(folder)


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
