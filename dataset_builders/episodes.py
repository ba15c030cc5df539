"""One stored trajectory rendered into one RLDS episode: a pure function, without TensorFlow."""

from __future__ import annotations

import io
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from common.errors import DatasetError, SettingError
from dataset_builders.digests import content_digest
from dataset_builders.replay import decode_start, encode_fixtures, encode_state, matching_assets
from dataset_builders.rollouts.source import Source, open_source
from dataset_builders.sources import EpisodeRef
from simulation.pictures.rendering import Renderer
from simulation.recordings.trajectories import Episode
from simulation.tasks import Task, get_task

JPEG_QUALITY = 95
"""Quality of the stored JPEGs; TensorFlow's default, as in OpenVLA's datasets."""

DEFAULT_CAMERAS: dict[str, str] = {"image": "agentview", "wrist_image": "robot0_eye_in_hand"}
"""Observation feature -> LIBERO camera, as OpenVLA's loaders expect them."""

_MAX_RENDERERS = 2
_local = threading.local()


@dataclass(frozen=True)
class PictureConfig:
    """What to render."""

    resolution: int = 256
    """Height and width in pixels."""
    cameras: tuple[tuple[str, str], ...] = tuple(DEFAULT_CAMERAS.items())
    """(observation feature, camera) pairs."""
    assets: str | None = None
    """Asset pack to render with; by default the one that `resolve_assets` finds."""

    def __post_init__(self) -> None:
        """Check the size.

        Raises:
            SettingError: pictures would have no pixels.
        """
        if self.resolution < 1:
            raise SettingError(f"resolution must be at least 1 pixel, not {self.resolution}")


def to_stored(upright: np.ndarray) -> np.ndarray:
    """Return upright pictures (..., H, W, 3) as the dataset stores them.

    LIBERO's camera observation is OpenGL's: its first row is the bottom of the scene
    (`upright[::-1]`). OpenVLA rotates that by 180 degrees and stores the result, which is the
    upright picture mirrored left to right.
    """
    raw = upright[..., ::-1, :, :]
    return raw[..., ::-1, ::-1, :]


def render_episode(ref: EpisodeRef, pictures: PictureConfig) -> dict[str, Any]:
    """Return one episode: `steps` and `episode_metadata`, pictures rendered and encoded as JPEG.

    Raises:
        TrajectoryError: the trajectory cannot be read.
        DatasetError: the asset pack found is not the one the trajectory was recorded with, or the
            episode's numbers are not finite or do not belong together.
    """
    with open_source(ref) as source:
        episode = source[ref.index]
        check_numbers(episode, ref.key)
        pack, digest = source.asset_pack, source.asset_digest
        name, size = source.path.name, pictures.resolution
        renderer = _renderer(source.task, pack, digest, pictures.assets, size, name)
        example: dict[str, Any] = {
            "steps": list(_steps(episode, renderer, pictures, source.task.language)),
            "episode_metadata": _episode_metadata(ref, source, episode),
        }
    example["episode_metadata"]["content_digest"] = content_digest(example)
    return example


def draw_episode(ref: EpisodeRef, pictures: PictureConfig) -> Iterator[tuple[np.ndarray, ...]]:
    """Yield the upright pictures of each step of an episode, uint8 (H, W, 3), and nothing else."""
    size, cameras = pictures.resolution, [camera for _, camera in pictures.cameras]
    with open_source(ref) as source:
        pack, digest, name = source.asset_pack, source.asset_digest, source.path.name
        renderer = _renderer(source.task, pack, digest, pictures.assets, size, name)
        yield from renderer.iterate(source[ref.index], cameras, size, size)


def check_numbers(episode: Episode, name: str) -> None:
    """Refuse an episode that may not be published.

    Raises:
        DatasetError: it has no step, arrays of different lengths, or NaN or infinity.
    """
    steps = len(episode.actions)
    arrays = {
        "states": (episode.states, episode.final_state.size),
        "actions": (episode.actions, 7),
        "proprio": (episode.proprio, 8),
        "joints": (episode.joints, 7),
        "final_state": (episode.final_state[None], episode.final_state.size),
        "final_proprio": (episode.final_proprio[None], 8),
    }
    for array_name, (array, size) in arrays.items():
        rows = steps if not array_name.startswith("final") else 1
        if not steps or array.shape != (rows, size):
            raise DatasetError(
                f"{name}: {array_name} has shape {array.shape}, not ({rows}, {size}): delete the "
                "trajectory file and collect again"
            )
        if not np.isfinite(array).all():
            raise DatasetError(
                f"{name}: {array_name} holds NaN or infinity, which is not published: delete the "
                "trajectory file and collect again"
            )


def _steps(
    episode: Episode, renderer: Renderer, pictures: PictureConfig, language: str
) -> Iterator[dict[str, Any]]:
    features, cameras = zip(*pictures.cameras, strict=True)
    size, last = pictures.resolution, len(episode) - 1
    for t, frames in enumerate(renderer.iterate(episode, cameras, size, size)):
        done = t == last and episode.info.success
        yield {
            "observation": {
                **{f: _jpeg(to_stored(frame)) for f, frame in zip(features, frames, strict=True)},
                "state": episode.proprio[t].astype(np.float32),
                "joint_state": episode.joints[t].astype(np.float32),
            },
            "action": np.clip(episode.actions[t], -1, 1).astype(np.float32),
            "discount": np.float32(1),
            "reward": np.float32(done),
            "is_first": t == 0,
            "is_last": t == last,
            "is_terminal": done,
            "language_instruction": language,
        }


def picture_start(metadata: Mapping[str, Any], pictures: PictureConfig) -> dict[str, np.ndarray]:
    """Return feature -> upright picture, uint8 (H, W, 3), of an episode's start.

    Args:
        metadata: the episode's, as the dataset stores it.
        pictures: what to render.
    """
    state, fixtures = decode_start(metadata)
    task = get_task(f"{metadata['suite']}/{metadata['task']}")
    pack, digest = str(metadata["asset_pack"]), str(metadata["asset_digest"])
    size = pictures.resolution
    renderer = _renderer(task, pack, digest, pictures.assets, size, "the dataset")
    return {
        feature: renderer.render(state, fixtures, camera, size, size)
        for feature, camera in pictures.cameras
    }


def _jpeg(picture: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(picture)).save(buffer, "JPEG", quality=JPEG_QUALITY)
    return buffer.getvalue()


def _episode_metadata(ref: EpisodeRef, source: Source, episode: Episode) -> dict[str, Any]:
    """Return where an episode comes from: scalars and text, which dlimp can broadcast."""
    info, versions = ref.info, source.versions
    return {
        "file_path": ref.name,
        "trajectory_index": np.int32(ref.index),
        "method": info.method,
        "pattern": np.int32(info.pattern),
        "way": info.way,
        "task": source.task.name,
        "suite": source.task.suite,
        "seed": np.int64(info.seed),
        "init_index": np.int32(info.init_index),
        "policy_hash": info.policy_hash,
        "success": info.success,
        "initial_state": encode_state(episode.states[0]),
        "fixtures": encode_fixtures(episode.fixtures),
        "asset_pack": source.asset_pack,
        "asset_digest": source.asset_digest,
        "mujoco_version": versions["mujoco"],
        "robosuite_version": versions["robosuite"],
        "hf_libero_version": versions["hf-libero"],
        "generator_version": versions.get("dlr-vla", ""),
    }


def _renderer(
    task: Task, pack: str, digest: str, assets: str | None, size: int, what: str
) -> Renderer:
    """Return this thread's renderer of a task; an OpenGL context belongs to one thread."""
    cache: dict[tuple[str, str, int], Renderer] = _local.__dict__.setdefault("renderers", {})
    key = (task.key, digest, size)
    if key not in cache:
        found = matching_assets(pack, digest, assets, what)
        while len(cache) >= _MAX_RENDERERS:
            cache.pop(next(iter(cache))).close()
        cache[key] = Renderer(task, found, width=size, height=size)
    return cache[key]
