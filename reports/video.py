"""Videos of evaluated episodes, drawn afterwards from the states that the runner stored.

No picture is kept during an evaluation: which episodes are worth a look is known after it. Of
what a perturbation changes, all is seen here but the noise of a picture.
"""

from __future__ import annotations

import contextlib
import io
import itertools
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from common.errors import AssetError, SettingError
from eval_harness.compare import Comparison
from eval_harness.perturbations.table import look_of, read_condition, scene_of
from eval_harness.results import EpisodeResult, Results, trajectory_path
from simulation.assets.resolve import AssetPack, find_recorded_pack
from simulation.physics.control import CONTROL_FREQUENCY
from simulation.pictures.pictures import draw_states, encode_video
from simulation.pictures.rendering import Renderer
from simulation.recordings.trajectories import Episode
from simulation.scene import load_scene
from simulation.tasks import get_task

_GAP, _GREY = 4, 128
"""Pixels between two episodes of one video, and their colour."""
_JPEG_QUALITY = 80


@dataclass(frozen=True)
class VideoSettings:
    """Which episodes are drawn, and how."""

    count: int = 12
    """Most videos of each kind, shared out over the tasks."""
    cameras: tuple[str, ...] = ("agentview",)
    """Cameras, side by side."""
    size: int = 160
    """Height and width of each camera's picture, pixels; even."""
    frames: int = 60
    """Most pictures of a video: of a longer episode every n-th step is drawn."""
    speed: float = 2.0
    """Times faster than real time."""

    def __post_init__(self) -> None:
        """Check the numbers.

        Raises:
            SettingError: one is out of range, or there is no camera.
        """
        if (
            self.count < 0
            or self.size < 16
            or self.size % 2
            or self.frames < 2
            or not self.speed > 0
        ):
            raise SettingError(
                "a video's size is even and 16 or more, it has 2 frames or more and a speed above 0"
            )
        if not self.cameras:
            raise SettingError("a video needs a camera")


@dataclass(frozen=True)
class Clip:
    """A video in memory."""

    mp4: bytes
    """H.264, without sound."""
    poster: bytes
    """JPEG of the last picture: what the episode came to."""
    width: int
    """Pixels."""
    height: int
    """Pixels."""


@dataclass(frozen=True)
class Scene:
    """A video of one episode, or of the same episode of two evaluations side by side."""

    episodes: tuple[EpisodeResult, ...]
    """What is seen, from left to right."""
    clip: Clip
    """The video."""


def draw_failures(
    results: Results, settings: VideoSettings, assets: Path | None = None
) -> list[Scene]:
    """Draw failures, some of each task: the first ones, in the order of the plan.

    Errors are no failures. An episode whose trajectory was not stored cannot be drawn.

    Args:
        results: the evaluation.
        settings: how many, and how.
        assets: folder of assets; by default the one that every command finds.

    Raises:
        AssetError: the evaluation's assets are not at hand.
        ResultsError: a trajectory is damaged.
        RenderError: nothing renders here, or there is no such camera.
    """
    failed = [(r,) for r in results.episodes if r.error is None and not r.success]
    return _draw_scenes((results,), failed, settings, assets)


def draw_differing(
    comparison: Comparison, settings: VideoSettings, assets: Path | None = None
) -> list[Scene]:
    """Draw episodes at which just one of two policies succeeds: the baseline's left.

    Raises:
        AssetError, ResultsError, RenderError: as for `draw_failures`.
    """
    return draw_pairs(
        comparison.baseline, comparison.evaluated, comparison.discordant, settings, assets
    )


def draw_pairs(
    left: Results,
    right: Results,
    pairs: Sequence[tuple[EpisodeResult, EpisodeResult]],
    settings: VideoSettings,
    assets: Path | None = None,
) -> list[Scene]:
    """Draw episodes of two evaluations side by side.

    Raises:
        AssetError, ResultsError, RenderError: as for `draw_failures`.
    """
    return _draw_scenes((left, right), pairs, settings, assets)


def _draw_scenes(
    evaluations: Sequence[Results],
    candidates: Sequence[tuple[EpisodeResult, ...]],
    settings: VideoSettings,
    assets: Path | None,
) -> list[Scene]:
    """Draw some of the candidates, each an episode of every one of the evaluations."""
    drawable = [
        episodes
        for episodes in candidates
        if all(
            trajectory_path(results.folder, episode.task, episode.episode).exists()
            for results, episode in zip(evaluations, episodes, strict=True)
        )
    ]
    chosen = _share_out(drawable, settings.count)
    if not chosen:
        return []
    packs = [find_assets(results, assets) for results in evaluations]
    conditions = [read_condition(results.config["protocol"]) for results in evaluations]
    kinds = list(zip(packs, conditions, strict=True))
    scenes = []
    for key, group in itertools.groupby(chosen, key=lambda episodes: episodes[0].task):
        task, size = get_task(key), settings.size
        with contextlib.ExitStack() as stack:
            made = {}
            for pack, condition in set(kinds):
                scene = scene_of(load_scene(task, pack), condition)
                renderer = Renderer(task, pack, size, size, scene)
                made[pack, condition] = stack.enter_context(renderer)
            for episodes in group:
                for kind, episode in zip(kinds, episodes, strict=True):
                    model = made[kind].scene.visual_model
                    made[kind].wear(look_of(kind[1], model, task, episode.seed))
                trajectories = [
                    results.trajectory(episode)
                    for results, episode in zip(evaluations, episodes, strict=True)
                ]
                clip = draw_clip([made[kind] for kind in kinds], trajectories, settings)
                scenes.append(Scene(episodes, clip))
    return scenes


def _share_out(
    candidates: Sequence[tuple[EpisodeResult, ...]], count: int
) -> list[tuple[EpisodeResult, ...]]:
    """Return at most `count` candidates, the first of every task before a second of any."""
    turns: Counter[str] = Counter()
    ranked = []
    for position, episodes in enumerate(candidates):
        ranked.append((turns[episodes[0].task], position))
        turns[episodes[0].task] += 1
    return [candidates[i] for i in sorted(position for _, position in sorted(ranked)[:count])]


def find_assets(results: Results, assets: Path | None = None) -> AssetPack:
    """Return the asset pack that an evaluation was simulated with.

    Args:
        results: the evaluation.
        assets: folder of assets; by default the one that every command finds.

    Raises:
        AssetError: that pack is not at hand.
    """
    wanted = results.config["assets"]
    pack = find_recorded_pack(wanted["digest"], assets)
    if pack.digest != wanted["digest"]:
        raise AssetError(
            f"{results.folder} was simulated with the assets {wanted['name']} "
            f"({wanted['digest'][:12]}), but here are {pack.name} ({pack.digest[:12]}); name the "
            "former's folder with --assets, or ask for no videos"
        )
    return pack


def draw_clip(
    renderers: Sequence[Renderer],
    trajectories: Sequence[Episode],
    settings: VideoSettings,
) -> Clip:
    """Draw episodes as one video, side by side in step; one that ends first stays as it ended.

    Args:
        renderers: of each episode's task and assets, made in this thread; one may come twice.
        trajectories: what each went through.
        settings: how they are drawn.

    Raises:
        InvalidStateError: a trajectory is not of its renderer's task.
        RenderError: the task has no such camera.
    """
    longest = max(len(trajectory.states) for trajectory in trajectories)
    every = max(1, -(-longest // (settings.frames - 1)))
    columns = [
        _pictures(renderer, trajectory, longest, every, settings)
        for renderer, trajectory in zip(renderers, trajectories, strict=True)
    ]
    pictures = [_beside(row) for row in zip(*columns, strict=True)]
    fps = CONTROL_FREQUENCY / every * settings.speed
    mp4, _ = encode_video(pictures, fps)
    poster = io.BytesIO()
    Image.fromarray(pictures[-1]).save(poster, "JPEG", quality=_JPEG_QUALITY, optimize=True)
    height, width = pictures[-1].shape[:2]
    return Clip(mp4, poster.getvalue(), width, height)


def _pictures(
    renderer: Renderer,
    trajectory: Episode,
    longest: int,
    every: int,
    settings: VideoSettings,
) -> list[np.ndarray]:
    """Return a picture of each `every`-th step up to `longest`, and of how it ended."""
    states = [*trajectory.states[::every], trajectory.final_state]
    drawn = draw_states(renderer, states, trajectory.fixtures, settings.cameras, settings.size)
    pictures = list(drawn)
    wanted = -(-longest // every) + 1
    return pictures + [pictures[-1]] * (wanted - len(pictures))


def _beside(pictures: Sequence[np.ndarray]) -> np.ndarray:
    """Return pictures (H, W, 3) in a row, with a gap between them."""
    gap = np.full((pictures[0].shape[0], _GAP, 3), _GREY, np.uint8)
    row = [part for picture in pictures for part in (picture, gap)]
    return np.concatenate(row[:-1], axis=1)
