"""Upstream's own environment, with which the tests of `simulation` compare."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from simulation.assets import AssetPack, resolve_assets
from simulation.registry import Task, import_libero


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

    def make(task: Task, assets: AssetPack) -> Any:
        import_libero()._assets_path_cache = str(assets.path)
        from libero.libero.envs.env_wrapper import ControlEnv

        return ControlEnv(
            bddl_file_name=str(task.bddl_file),
            use_camera_obs=False,
            has_renderer=False,
            has_offscreen_renderer=False,
        )

    return make


@pytest.fixture
def actions() -> np.ndarray:
    """300 random actions."""
    return np.random.default_rng(0).uniform(-1.0, 1.0, (300, 7))
