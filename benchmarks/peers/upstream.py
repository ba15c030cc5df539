"""Upstream's environments as its users make them; imports nothing of ours that weighs."""

from __future__ import annotations

from typing import Any

import numpy as np

from simulation.assets.resolve import AssetPack
from simulation.quiet import quiet_robosuite
from simulation.tasks import Task, import_libero


def control_env(task: Task, assets: AssetPack) -> Any:
    """Return LIBERO's `ControlEnv`, without pictures."""
    return _make("ControlEnv", task, assets, use_camera_obs=False, has_offscreen_renderer=False)


def offscreen_env(task: Task, assets: AssetPack, size: int) -> Any:
    """Return LIBERO's `OffScreenRenderEnv` with its two cameras at `size` pixels."""
    return _make("OffScreenRenderEnv", task, assets, camera_heights=size, camera_widths=size)


def start(env: Any, seed: int, init_state: np.ndarray) -> None:
    """Seed, reset and set an init state, as every evaluation of LIBERO does."""
    env.seed(seed)
    env.reset()
    env.set_init_state(init_state)


def use_context(env: Any) -> None:
    """Make an offscreen environment's OpenGL context current, which upstream never does again."""
    env.sim._render_context_offscreen.gl_ctx.make_current()


def import_envs(assets: AssetPack) -> Any:
    """Import and return `libero.libero.envs`, which will read the given assets."""
    with quiet_robosuite():
        libero = import_libero()
        from libero.libero import envs
    setattr(libero, "_assets_path_cache", str(assets.path))  # noqa: B010 (untyped module)
    return envs


def _make(name: str, task: Task, assets: AssetPack, **options: Any) -> Any:
    return getattr(import_envs(assets).env_wrapper, name)(
        bddl_file_name=str(task.bddl_file), **options
    )
