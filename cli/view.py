"""`dlr view`: draw an init state, a demonstration or a trajectory."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from cli.doctor import load_mujoco
from common.errors import UsageError

if TYPE_CHECKING:
    from simulation.recordings.footage import Footage
    from simulation.tasks import Task

SHEET_FRAMES = 12
"""Most pictures of a contact sheet, unless `--every` asks for others."""


def view(
    task: str = "",
    /,
    init: tuple[int, ...] = (0,),
    scripted: bool = False,
    way: str = "",
    seed: int = 0,
    file: Path | None = None,
    results: Path | None = None,
    episode: int = 0,
    cameras: tuple[str, ...] = ("agentview", "robot0_eye_in_hand"),
    size: int = 256,
    every: int = 0,
    fps: float = 20.0,
    out: Path | None = None,
    assets: Path | None = None,
) -> None:
    """Draw a task's init states, a scripted demonstration, or an episode of a file or evaluation.

    Writes a contact sheet (.png, .jpg) or a video (.mp4), upright, cameras side by side.

    Args:
        task: A task, as `suite/name` or its name alone; a file may say it itself.
        init: Official init states to draw, 0 to 49; of a scripted demonstration the first.
        scripted: Draw a scripted demonstration.
        way: The scripted skill's way; by default its first.
        seed: Draws the fixtures' poses and the skill's imprecision.
        file: Draw an episode of this trajectory file, LIBERO HDF5 file or JSON demonstration.
        results: Draw an episode of this results folder, as it was perturbed.
        episode: Which of the file's or the task's episodes, from 0.
        cameras: Cameras.
        size: Pixels of each picture's sides.
        every: Draw each n-th control step; by default all in a video, 12 or fewer in a sheet.
        fps: Pictures per second of a video; 20 is real time if every step is drawn.
        out: File to write; by default the task's name with .png in this folder.
        assets: `libero`, `embedded` or a folder of assets; by default as `dlr assets` says.
    """
    load_mujoco()
    from simulation.pictures.pictures import LEAST_FPS, PICTURE_SUFFIXES, VIDEO_SUFFIXES
    from simulation.tasks import get_task

    if size < 1 or every < 0 or not LEAST_FPS <= fps < math.inf or not cameras or not init:
        raise UsageError(
            f"--size and --every are positive, --fps {LEAST_FPS} or more; --cameras and --init not "
            "empty"
        )
    if out is not None and out.suffix not in (*PICTURE_SUFFIXES, *VIDEO_SUFFIXES):
        raise UsageError(f"{out} should end in .png, .jpg or .mp4")
    if not task and file is None and results is None:
        raise UsageError("name a task (`dlr tasks` lists all), or give --file or --results")
    if (file is not None) + (results is not None) + (scripted or bool(way)) > 1:
        raise UsageError("give one of --file, --results and --scripted")
    chosen = get_task(task) if task else None
    if file is not None:
        from simulation.recordings.footage import read_footage

        footage = read_footage(file, episode, chosen, assets)
    elif results is not None:
        from reports.episodes.films import film, find_episode, load_episodes

        found = load_episodes(results)
        footage = film(found, find_episode(found, chosen, episode), assets)
    else:
        assert chosen is not None
        if scripted or way:
            footage = _demonstrate(chosen, way, init[0], seed, assets)
        else:
            footage = _init_states(chosen, init, seed, assets)
    still = file is None and results is None and not (scripted or way)
    captions = [f"init state {index}" for index in init] if still else []
    path = out or Path(f"{footage.task.name}.png")
    if path.suffix in VIDEO_SUFFIXES and still:
        raise UsageError(
            "an init state is a picture: give a .png, or --scripted, --file or --results"
        )
    count = _draw(footage, captions, cameras, size, every, fps, path)
    print(f"{footage.title} ({footage.assets.name} assets)", file=sys.stderr)
    print(f"{path}: {count} pictures")


def _init_states(task: Task, indices: Sequence[int], seed: int, assets: Path | None) -> Footage:
    """Return official init states as a recording, with the fixtures of a seed."""
    import numpy as np

    from simulation.assets.resolve import resolve_assets
    from simulation.environment import Environment
    from simulation.recordings.footage import Footage

    pack = resolve_assets(assets)
    env = Environment(task, pack)
    states = []
    for index in indices:
        env.reset(seed, index)
        states.append(env.state())
    return Footage(task, pack, np.stack(states), env.fixtures(), task.language)


def _demonstrate(task: Task, way: str, init: int, seed: int, assets: Path | None) -> Footage:
    """Demonstrate a task by script, from a settled init state."""
    import numpy as np

    from demonstrations.config import Style
    from demonstrations.scripted import Scripted
    from simulation.assets.resolve import resolve_assets
    from simulation.environment import Environment
    from simulation.recordings.footage import episode_footage

    demonstrator = Scripted(task)
    if way and way not in demonstrator.ways:
        raise UsageError(f"no way {way!r} of {task.name}: {', '.join(demonstrator.ways)}")
    pack = resolve_assets(assets)
    env = Environment(task, pack)
    env.reset(seed, init)
    env.settle()
    chosen = way or demonstrator.ways[0]
    rng = np.random.default_rng(seed)
    episode = demonstrator.demonstrate(env, chosen, rng, Style())
    return episode_footage(episode, task, pack, f"scripted, way {chosen}")


def _draw(
    footage: Footage,
    captions: Sequence[str],
    cameras: Sequence[str],
    size: int,
    every: int,
    fps: float,
    path: Path,
) -> int:
    """Write the recording as the path's suffix says and return the number of pictures."""
    from simulation.physics.control import CONTROL_FREQUENCY
    from simulation.pictures.pictures import (
        VIDEO_SUFFIXES,
        contact_sheet,
        draw_states,
        write_picture,
        write_video,
    )
    from simulation.pictures.rendering import Renderer

    video, total = path.suffix in VIDEO_SUFFIXES, len(footage.states)
    steps = list(range(total))
    if not captions:
        stride = every or (1 if video else -(-total // (SHEET_FRAMES - 1)))
        steps = sorted({*range(0, total, stride), total - 1})
        captions = [f"step {step} ({step / CONTROL_FREQUENCY:.2f} s)" for step in steps]
    with Renderer(footage.task, footage.assets, size, size, footage.scene) as renderer:
        renderer.wear(footage.look)
        states = (footage.states[step] for step in steps)
        pictures = draw_states(renderer, states, footage.fixtures, cameras, size)
        if video:
            return write_video(path, pictures, fps)
        columns = max(1, 4 // len(cameras)) if len(steps) <= SHEET_FRAMES else 6
        sheet = contact_sheet(list(pictures), captions, columns, footage.title)
    write_picture(path, sheet)
    return len(steps)
