"""A small picture of each task as it begins, drawn once for each asset pack and kept."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING

from common.files import write_bytes

if TYPE_CHECKING:
    from simulation.assets.resolve import AssetPack
    from simulation.tasks import Task

SIZE = 192
"""Pixels of a side."""
QUALITY = 72
"""WebP's, of 100."""


def picture(task: Task, assets: AssetPack, folder: Path) -> bytes:
    """Return the settled init state 0 of a task as WebP, from the folder if it is there.

    Raises:
        RenderError: nothing can be drawn here.
        OutputError: the folder cannot be written.
    """
    path = folder / f"{assets.digest[:12]}-{SIZE}" / f"{task.key}.webp"
    if not path.exists():
        write_bytes(path, _draw(task, assets))
    return path.read_bytes()


def _draw(task: Task, assets: AssetPack) -> bytes:
    from PIL import Image

    from simulation.environment import Environment
    from simulation.pictures.pictures import draw_states
    from simulation.pictures.rendering import Renderer

    env = Environment(task, assets)
    env.reset(seed=0, init_index=0)
    env.settle()
    with Renderer(task, assets, SIZE, SIZE) as renderer:
        (view,) = draw_states(renderer, [env.state()], env.fixtures(), ["agentview"], SIZE)
    content = io.BytesIO()
    Image.fromarray(view).save(content, "WEBP", quality=QUALITY, method=6)
    return content.getvalue()
