"""Looks at a task's demonstrations: a contact sheet of its ways, their paths, and a video.

A row of the sheet is a way, a column a moment of one of its episodes; below are the paths of all
ways together. The video shows the same episodes side by side, in step.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from PIL import Image, ImageDraw, ImageFont

from analysis.ways import yaws
from common.errors import SettingError, TrajectoryError, UsageError
from common.json_files import read_sealed, write_sealed
from reports.figures import colour, draw_paths, picture
from reports.moments import find_moments
from reports.run_gather import pack_of
from simulation.assets.resolve import AssetPack
from simulation.physics.control import CONTROL_FREQUENCY
from simulation.pictures.pictures import contact_sheet, draw_states, write_picture, write_video
from simulation.pictures.rendering import Renderer
from simulation.recordings.episode import Episode
from simulation.recordings.recordings import HUMAN
from simulation.recordings.trajectories import TrajectoryFile

_MOST_PATHS = 12
"""Paths of a way that are drawn, the first ones."""
_PLOT_WIDTH, _PLOT_HEIGHT = 960, 300
"""Least width of the plots and their height, pixels."""
_FRAMES = 60
"""Most pictures of the video: of longer episodes every n-th step is drawn."""
_COLUMNS = 6
"""Most ways beside each other in the video."""


@dataclass(frozen=True)
class SheetSettings:
    """How demonstrations are drawn."""

    camera: str = "agentview"
    """Camera."""
    size: int = 144
    """Height and width of each picture, pixels."""
    speed: float = 2.0
    """Times that the video is faster than real time."""

    def __post_init__(self) -> None:
        """Check the numbers.

        Raises:
            SettingError: one is out of range.
        """
        if self.size < 64 or not self.speed > 0:
            raise SettingError(
                "a demonstration is drawn with 64 pixels or more, at a speed above 0"
            )


@dataclass
class ShownWay:
    """The demonstrations of one way in one file."""

    name: str
    """The way, or the source of demonstrations that name none."""
    label: str
    """Its name, with the source where ways come from several."""
    method: str
    """Source: `human`, `scripted`, `amplified`, or a recipe's name."""
    paths: list[np.ndarray] = field(default_factory=list)
    """Proprioceptive states of each episode, (T + 1, 8)."""
    indices: list[int] = field(default_factory=list)
    """Position of each episode in the file."""

    @property
    def example(self) -> int:
        """Position in the file of the episode of median length."""
        return self.indices[self._median()]

    @property
    def example_steps(self) -> int:
        """Control steps of that episode."""
        return len(self.paths[self._median()]) - 1

    @property
    def mean_length(self) -> float:
        """Control steps of an episode, on average."""
        return float(np.mean([len(path) - 1 for path in self.paths]))

    def _median(self) -> int:
        order = sorted(range(len(self.paths)), key=lambda i: len(self.paths[i]))
        return order[len(order) // 2]


def show_demonstrations(
    path: Path, assets: AssetPack | None = None, settings: SheetSettings | None = None
) -> tuple[Path, Path]:
    """Draw a file's sheet and video beside it, unless that very file was drawn like this before.

    Args:
        path: a trajectory file.
        assets: pack to draw with; by default the one that the file was made with.
        settings: how they are drawn.

    Returns:
        Paths of the sheet (`.png`) and of the video (`.mp4`).

    Raises:
        TrajectoryError: the file is missing or damaged, or has no episode.
        UsageError: the asset pack is not the file's, or that one is not found.
        RenderError: nothing renders here, or there is no such camera.
        OutputError: a picture cannot be written.
    """
    settings = settings or SheetSettings()
    sheet, video = path.with_suffix(".png"), path.with_suffix(".mp4")
    drawn = path.with_name(f".{path.stem}.drawn.json")
    with TrajectoryFile(path) as file:
        pack = pack_of(file, assets)
        how = json.loads(json.dumps({**asdict(settings), "pack": pack.digest}))
        how["episodes"] = hashlib.sha256("".join(file.digests).encode()).hexdigest()
        if sheet.exists() and video.exists() and _drawn(drawn) == how:
            return sheet, video
        drawn.unlink(missing_ok=True)
        ways = gather_ways(file)
        with Renderer(file.task, pack, settings.size, settings.size) as renderer:
            write_picture(sheet, draw_sheet(file, ways, renderer, settings))
            every = max(2, -(-max(way.example_steps for way in ways) // (_FRAMES - 1)))
            frames = draw_frames(file, ways, renderer, settings, every)
            write_video(video, frames, CONTROL_FREQUENCY / every * settings.speed)
    write_sealed(drawn, how)
    return sheet, video


def _drawn(path: Path) -> dict[str, Any]:
    """Return how a file was drawn; nothing where that was not noted, or is damaged."""
    try:
        found = read_sealed(path, "a note of what was drawn", UsageError, "it is drawn anew")
    except UsageError:
        return {}
    return {name: value for name, value in found.items() if name != "sha256"}


def gather_ways(file: TrajectoryFile) -> list[ShownWay]:
    """Return a file's ways in the order in which they first come, with their paths.

    Raises:
        TrajectoryError: there is no episode, or one is damaged.
    """
    if not len(file):
        raise TrajectoryError(f"{file.path} has no episode: demonstrate the task again")
    methods = {info.method for info in file.infos if info.way}
    found: dict[tuple[str, str], ShownWay] = {}
    for index, episode in enumerate(file):
        way, method = episode.info.way, episode.info.method
        name = way or method or "unnamed"
        label = f"{name} ({method})" if way and len(methods) > 1 else name
        shown = found.setdefault((method, way), ShownWay(name, label, method))
        shown.paths.append(episode.path)
        shown.indices.append(index)
    return list(found.values())


def draw_sheet(
    file: TrajectoryFile, ways: Sequence[ShownWay], renderer: Renderer, settings: SheetSettings
) -> np.ndarray:
    """Return the contact sheet of a file's ways with their paths below, uint8 (H, W, 3)."""
    size, rows = settings.size, []
    for way, number in zip(ways, _numbers(ways), strict=True):
        episode = file[way.example]
        moments = find_moments(episode.actions)
        states = _all_states(episode)[[moment.step for moment in moments]]
        views = draw_states(renderer, states, episode.fixtures, (settings.camera,), size)
        card = _card(way, colour(number), len(episode), size)
        rows.append(([card, *views], ["", *(moment.caption for moment in moments)]))
    columns = max(len(pictures) for pictures, _ in rows)
    blank = np.full((size, size, 3), 255, np.uint8)
    pictures = [p for row, _ in rows for p in row + [blank] * (columns - len(row))]
    captions = [c for _, row in rows for c in row + [""] * (columns - len(row))]
    title = f"{file.task.language} ({file.task.suite}, {file.asset_pack} assets)"
    sheet = contact_sheet(pictures, captions, columns, title)
    return _below(sheet, draw_plots(ways, max(sheet.shape[1], _PLOT_WIDTH), _PLOT_HEIGHT))


def draw_plots(ways: Sequence[ShownWay], width: int, height: int) -> np.ndarray:
    """Return the hand's paths from above, from the side, and its yaw, coloured by way.

    The world's x points away from the robot, y to its left, z up. The names of the ways stand
    below, in as many rows as they need, so that the picture (H, W, 3) may be taller.
    """
    numbered = list(zip(ways, _numbers(ways), strict=True))
    paths = [path for way in ways for path in way.paths[:_MOST_PATHS]]
    numbers = [number for way, number in numbered for _ in way.paths[:_MOST_PATHS]]

    def view(axes: Axes, first: int, second: int) -> str:
        flat = [path[:, [first, second]] for path in paths]
        together = np.concatenate(flat)
        limits = together.min(axis=0), together.max(axis=0)
        return draw_paths(axes, flat, numbers, "xyz"[first] + "xyz"[second], limits)

    draws = (
        ("from above", lambda axes: view(axes, 0, 1)),
        ("from the side", lambda axes: view(axes, 0, 2)),
        ("turn about the vertical", lambda axes: _draw_yaws(axes, paths, numbers)),
    )
    names = [(way.label, colour(number)) for way, number in numbered]
    return picture(draws, width, height, names)


def _numbers(ways: Sequence[ShownWay]) -> list[int]:
    """Return the number of each way, whose colour it has; people's are as without a pattern, -1."""
    numbers = itertools.count()
    return [-1 if way.method == HUMAN else next(numbers) for way in ways]


def draw_frames(
    file: TrajectoryFile,
    ways: Sequence[ShownWay],
    renderer: Renderer,
    settings: SheetSettings,
    every: int,
) -> Iterator[np.ndarray]:
    """Yield the pictures of a video of an episode a way, side by side; one that ends stays so.

    Args:
        file: the demonstrations.
        ways: what `gather_ways` found in them.
        renderer: of the file's task.
        settings: how they are drawn.
        every: control steps from one picture to the next.
    """
    episodes = [file[way.example] for way in ways]
    clips = [
        _clip(renderer, episode, way.label, settings, every)
        for way, episode in zip(ways, episodes, strict=True)
    ]
    for step in range(0, max(map(len, episodes)) + every, every):
        pictures, captions = zip(*(next(clip) for clip in clips), strict=True)
        title = f"{step / CONTROL_FREQUENCY:.1f} s: {file.task.language} ({file.asset_pack} assets)"
        yield _even(contact_sheet(pictures, captions, _COLUMNS, title))


def _clip(
    renderer: Renderer, episode: Episode, name: str, settings: SheetSettings, every: int
) -> Iterator[tuple[np.ndarray, str]]:
    """Yield an episode's pictures with their captions, and then its last one without end."""
    steps = [*range(0, len(episode), every), len(episode)]
    states = _all_states(episode)[steps]
    views = draw_states(renderer, states, episode.fixtures, (settings.camera,), settings.size)
    for _ in steps[:-1]:
        yield next(views), name
    outcome = "success" if episode.info.success else "failure"
    last = next(views), f"{outcome}: {name}"
    while True:
        yield last


def _all_states(episode: Episode) -> np.ndarray:
    return np.concatenate((episode.states, episode.final_state[None]))


def _draw_yaws(axes: Axes, paths: Sequence[np.ndarray], numbers: Sequence[int]) -> str:
    """Draw the hand's yaw of each path (T, 8) over its time."""
    lines = [
        np.stack((np.arange(len(path)) / CONTROL_FREQUENCY, np.degrees(yaws(path))), axis=1)
        for path in paths
    ]
    shades = [colour(number) for number in numbers]
    axes.add_collection(LineCollection(lines, colors=shades, linewidths=0.9, alpha=0.75))
    axes.autoscale_view()
    axes.set(xlabel="time [s]", ylabel="yaw [degrees]")
    axes.grid(axis="y")
    return f"{len(paths)} paths."


def _card(way: ShownWay, shade: str, steps: int, size: int) -> np.ndarray:
    """Return a picture that names a way, uint8 (size, size, 3)."""
    card = Image.new("RGB", (size, size), "white")
    pen = ImageDraw.Draw(card)
    large, small = ImageFont.load_default(16), ImageFont.load_default(12)
    pen.rectangle((0, 0, 9, size), shade)
    count = len(way.paths)
    details = (
        way.method or "unknown source",
        f"{count} episode{'s' * (count != 1)}",
        f"{way.mean_length:.0f} steps{' each' * (count != 1)}",
        f"shown: {steps} steps",
    )
    y = 4
    for line in textwrap.wrap(way.name, (size - 20) // 9):
        pen.text((18, y), line, "black", large)
        y += 19
    for line in details:
        pen.text((18, y + 4), line, "#444444", small)
        y += 17
    return np.asarray(card)


def _below(top: np.ndarray, bottom: np.ndarray) -> np.ndarray:
    """Return two pictures (H, W, 3) below each other, the narrower one with white beside it."""
    width = max(top.shape[1], bottom.shape[1])
    wide = [
        np.pad(p, ((0, 0), (0, width - p.shape[1]), (0, 0)), constant_values=255)
        for p in (top, bottom)
    ]
    return np.concatenate(wide)


def _even(frame: np.ndarray) -> np.ndarray:
    """Return a picture (H, W, 3) with a row or column of white more where H or W is odd."""
    height, width = frame.shape[:2]
    return np.pad(frame, ((0, height % 2), (0, width % 2), (0, 0)), constant_values=255)
