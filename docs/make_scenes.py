"""Draws LIBERO's scenes with the embedded pack beside the real one into `docs/scenes.jpg`.

python docs/make_scenes.py --real libero
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import tyro
from tqdm import tqdm

from simulation.assets.resolve import AssetPack, embedded_pack, resolve_assets
from simulation.environment import Environment
from simulation.pictures.pictures import contact_sheet, draw_states, write_picture
from simulation.pictures.rendering import Renderer
from simulation.tasks import Task, list_tasks

PICTURE = Path(__file__).with_name("scenes.jpg")
_SCENE = re.compile(r"([A-Z_]+_SCENE\d+)_")


def scenes() -> dict[str, list[Task]]:
    """Return the distinct scenes by name, each with its tasks.

    LIBERO-90's and LIBERO-10's scenes are in their tasks' names; each of the other suites has
    one. Tasks of a scene differ in what is to be done, and at most in which objects lie there.
    """
    found: dict[str, list[Task]] = {}
    for task in list_tasks():
        match = _SCENE.match(task.name)
        found.setdefault(match[1] if match else task.suite, []).append(task)
    return dict(sorted(found.items(), key=lambda item: _natural(item[0])))


def draw(task: Task, packs: list[AssetPack], size: int) -> np.ndarray:
    """Draw a task's settled init state 0 with each pack, side by side, (size, size * packs, 3)."""
    views: list[np.ndarray] = []
    for pack in packs:
        env = Environment(task, pack)
        env.reset(seed=0, init_index=0)
        env.settle()
        with Renderer(task, pack, size, size) as renderer:
            views += draw_states(renderer, [env.state()], env.fixtures(), ["agentview"], size)
    return np.concatenate(views, axis=1)


def main(
    real: Path | None = None,
    out: Path = PICTURE,
    size: int = 176,
    columns: int = 4,
    only: str = "",
) -> None:
    """Draw every scene.

    Args:
        real: `libero`, or a folder of real assets; without it the embedded pack is drawn alone.
        out: Picture to write.
        size: Pixels of each picture's sides.
        columns: Scenes in a row.
        only: Draw only scenes whose name starts with this.
    """
    packs = [embedded_pack(), *([] if real is None else [resolve_assets(real)])]
    chosen = {name: tasks for name, tasks in scenes().items() if name.startswith(only)}
    pictures = [draw(tasks[0], packs, size) for tasks in tqdm(chosen.values(), desc="scenes")]
    captions = [f"{name} ({len(tasks)} tasks)" for name, tasks in chosen.items()]
    title = f"{sum(map(len, chosen.values()))} tasks, {len(chosen)} scenes: embedded pack"
    title += " left, real assets right" if real else ""
    write_picture(out, contact_sheet(pictures, captions, columns, title))
    print(out)


def _natural(name: str) -> tuple[bool, list[str | int]]:
    """Sort key: named scenes first, their numbers as numbers."""
    words = [int(word) if word.isdigit() else word for word in re.split(r"(\d+)", name)]
    return name.islower() or name.startswith("libero"), words


if __name__ == "__main__":
    tyro.cli(main)
