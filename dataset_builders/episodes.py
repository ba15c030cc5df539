"""One stored trajectory rendered into one RLDS episode: a pure function, without TensorFlow.

Everything that writes the dataset (a process pool, a Beam runner) maps `render_episode` over
`EpisodeRef`s, so every way of building gives the same content.
"""

from __future__ import annotations

import collections
import hashlib
import io
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from common.errors import DatasetError, TrajectoryError
from simulation.assets.resolve import AssetPack, find_embedded_pack, resolve_assets
from simulation.pictures.rendering import Renderer
from simulation.recordings.trajectories import Episode, EpisodeInfo, TrajectoryFile

JPEG_QUALITY = 95
"""Quality of the stored JPEGs; TensorFlow's default, as in OpenVLA's datasets."""

DEFAULT_CAMERAS: dict[str, str] = {"image": "agentview", "wrist_image": "robot0_eye_in_hand"}
"""Observation feature -> LIBERO camera, as OpenVLA's loaders expect them."""

DEMONSTRATIONS = "demonstrations"
"""Stands for the methods of all episodes that no policy made, such as `scripted` and `human`."""

_MAX_RENDERERS = 2
_local = threading.local()


@dataclass(frozen=True)
class EpisodeRef:
    """Where an episode is, and what the builder must know before it reads it."""

    path: str
    """The trajectory file."""
    name: str
    """The trajectory file relative to the folder that is built, with `/`."""
    index: int
    """The episode's index in the file."""
    task: str
    """Task key, `suite/name`."""
    info: EpisodeInfo
    """Where the episode comes from."""

    @property
    def key(self) -> str:
        """Unique name within the dataset."""
        return f"{self.name}#{self.index}"

    @property
    def start(self) -> str:
        """Name of what the episode started from; equal for episodes with the same start."""
        return start_name(self.task, self.info.init_index, self.info.seed)


def start_name(task: str, init_index: int, seed: int) -> str:
    """Return a name for a start state: the official init state's, or for a fresh one the seed's."""
    return f"{task}/init{init_index}" if init_index >= 0 else f"{task}/seed{seed}"


@dataclass(frozen=True)
class PictureConfig:
    """What to render."""

    resolution: int = 256
    """Height and width in pixels."""
    cameras: tuple[tuple[str, str], ...] = tuple(DEFAULT_CAMERAS.items())
    """(observation feature, camera) pairs."""
    assets: str | None = None
    """Asset pack to render with; by default the one that `resolve_assets` finds."""


def to_stored(upright: np.ndarray) -> np.ndarray:
    """Return upright pictures (..., H, W, 3) as the dataset stores them.

    LIBERO's camera observation is OpenGL's: its first row is the bottom of the scene
    (`upright[::-1]`). OpenVLA rotates that by 180 degrees and stores the result, which is the
    upright picture mirrored left to right.
    """
    raw = upright[..., ::-1, :, :]
    return raw[..., ::-1, ::-1, :]


def to_upright(stored: np.ndarray) -> np.ndarray:
    """Return stored pictures (..., H, W, 3) upright and unmirrored; undoes `to_stored`."""
    raw = stored[..., ::-1, ::-1, :]
    return raw[..., ::-1, :, :]


def find_trajectory_files(folder: Path) -> list[Path]:
    """Return the trajectory files below a folder, sorted by path.

    Raises:
        TrajectoryError: the folder is missing or holds none.
    """
    if not folder.is_dir():
        raise TrajectoryError(
            f"no trajectories folder {folder}: give the folder that `dlr collect` wrote"
        )
    files = sorted(folder.rglob("*.hdf5"), key=lambda path: path.relative_to(folder).as_posix())
    if not files:
        raise TrajectoryError(f"{folder} holds no .hdf5 trajectory files; run `dlr collect` first")
    return files


def _is_of(info: EpisodeInfo, method: str) -> bool:
    """Return whether an episode is of a method, as `list_episodes` is told it."""
    return method in ("", info.method) or (method == DEMONSTRATIONS and not info.policy_hash)


def list_episodes(folder: Path, method: str, only_successes: bool = True) -> list[EpisodeRef]:
    """Return the episodes below a folder that one configuration publishes.

    Args:
        folder: holds trajectory files, at any depth.
        method: keep episodes of this method; `DEMONSTRATIONS` keeps those that no policy made,
            "" keeps all.
        only_successes: leave failed episodes out.

    Raises:
        TrajectoryError: a file cannot be read.
        DatasetError: nothing is left to publish.
    """
    seen: collections.Counter[str] = collections.Counter()
    refs = []
    for path in find_trajectory_files(folder):
        with TrajectoryFile(path) as source:
            for index, info in enumerate(source.infos):
                seen[info.method] += 1
                if _is_of(info, method) and (info.success or not only_successes):
                    name = path.relative_to(folder).as_posix()
                    refs.append(EpisodeRef(str(path.resolve()), name, index, source.task.key, info))
    if not refs:
        found = ", ".join(f"{count} of {name!r}" for name, count in sorted(seen.items())) or "none"
        wanted = f"{'successful ' if only_successes else ''}episodes"
        wanted += f" of method {method!r}" if method else ""
        raise DatasetError(
            f"{folder} holds no {wanted} (episodes found: {found}); collect some, or choose "
            "another configuration"
        )
    return refs


def render_episode(ref: EpisodeRef, pictures: PictureConfig) -> tuple[str, dict[str, Any]]:
    """Return one episode as (key, RLDS example), pictures rendered and encoded as JPEG.

    Raises:
        TrajectoryError: the trajectory cannot be read.
        DatasetError: the asset pack found is not the one the trajectory was recorded with, or the
            episode's numbers are not finite or do not belong together.
    """
    with TrajectoryFile(Path(ref.path)) as source:
        episode = source[ref.index]
        check_numbers(episode, ref.key)
        renderer = _renderer(source, pictures.assets, pictures.resolution)
        example: dict[str, Any] = {
            "steps": list(_steps(episode, renderer, pictures, source.task.language)),
            "episode_metadata": _episode_metadata(ref, source),
        }
    example["episode_metadata"]["content_digest"] = content_digest(example)
    return ref.key, example


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


def render_start(ref: tuple[Path, int], pictures: PictureConfig) -> dict[str, np.ndarray]:
    """Return feature -> upright picture, uint8 (H, W, 3), of the start of a stored episode.

    Args:
        ref: trajectory file, and the index of the episode in it.
        pictures: what to render.
    """
    path, index = ref
    with TrajectoryFile(path) as source:
        episode = source[index]
        renderer = _renderer(source, pictures.assets, pictures.resolution)
    return {
        feature: renderer.render(
            episode.states[0], episode.fixtures, camera, pictures.resolution, pictures.resolution
        )
        for feature, camera in pictures.cameras
    }


def _jpeg(picture: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(picture)).save(buffer, "JPEG", quality=JPEG_QUALITY)
    return buffer.getvalue()


def _episode_metadata(ref: EpisodeRef, source: TrajectoryFile) -> dict[str, Any]:
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
        "asset_pack": source.asset_pack,
        "asset_digest": source.asset_digest,
        "mujoco_version": versions["mujoco"],
        "robosuite_version": versions["robosuite"],
        "hf_libero_version": versions["hf-libero"],
        "generator_version": versions.get("dlr-vla", ""),
    }


def _renderer(source: TrajectoryFile, assets: str | None, size: int) -> Renderer:
    """Return this thread's renderer for a file's task; an OpenGL context belongs to one thread."""
    cache: dict[tuple[str, str, int], Renderer] = _local.__dict__.setdefault("renderers", {})
    key = (source.task.key, source.asset_digest, size)
    if key not in cache:
        pack = _matching_assets(source, assets)
        while len(cache) >= _MAX_RENDERERS:
            cache.pop(next(iter(cache))).close()
        cache[key] = Renderer(source.task, pack, width=size, height=size)
    return cache[key]


def _matching_assets(source: TrajectoryFile, assets: str | None) -> AssetPack:
    """Return the asset pack to render a trajectory file with.

    An embedded pack in the cache folder, also an earlier version's, is found by its digest.

    Raises:
        DatasetError: the pack found is not the one that the physics ran with, so the pictures
            would not show what happened.
    """
    pack = find_embedded_pack(source.asset_digest) if assets is None else None
    pack = pack or resolve_assets(assets)
    if pack.digest != source.asset_digest:
        raise DatasetError(
            f"{source.path.name} was recorded with asset pack {source.asset_pack!r} "
            f"({source.asset_digest[:12]}), but {pack.name!r} ({pack.digest[:12]}) was found: "
            "give the recorded one with --assets or $DLR_LIBERO_ASSETS"
        )
    return pack


def content_digest(example: Mapping[str, Any]) -> str:
    """Return the sha256 of an episode's content, whatever file format or shard it came from.

    Covers every feature but the digest itself; pictures by their JPEG bytes. `example` has
    `steps` (an iterable of nested dicts) and `episode_metadata`.
    """
    digest = hashlib.sha256()
    metadata = dict(example["episode_metadata"])
    metadata.pop("content_digest", None)
    for item in (metadata, *example["steps"]):
        for name, value in _flatten(item):
            content = _canonical(value)
            digest.update(f"{name}:{len(content)}:".encode() + content)
    return digest.hexdigest()


def dataset_digest(episode_digests: Sequence[str]) -> str:
    """Return the digest of a set of episodes, whatever their order."""
    return hashlib.sha256("".join(sorted(episode_digests)).encode()).hexdigest()


def _flatten(item: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name in sorted(item):
        if isinstance(item[name], Mapping):
            yield from _flatten(item[name], f"{prefix}{name}/")
        else:
            yield prefix + name, item[name]


def _canonical(value: Any) -> bytes:
    if isinstance(value, str):
        return value.encode()
    if isinstance(value, bytes):
        return value
    array = np.asarray(value)
    return array.astype(array.dtype.newbyteorder("<")).tobytes()
