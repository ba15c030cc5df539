"""`dlr export`: an RLDS dataset as a LeRobotDataset v3, an episode at a time."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from common.errors import DatasetError
from common.files import ensure_writable, output_errors, write_json
from common.locks import lock_file
from common.manifest import write_manifest
from dataset_builders.cloud.load import open_builder, shard_files
from dataset_builders.lerobot_v3 import layout, statistics
from dataset_builders.lerobot_v3.running import Running
from dataset_builders.lerobot_v3.tables import EpisodeTable, FrameTable, write_tasks
from dataset_builders.records.tfrecords import corrupt, parse_example, records

_STEPS, _METADATA, _PICTURES = "steps/", "episode_metadata/", "steps/observation/"
_ACTION_DIM, _STATE_DIM = 7, 8
_JPEG = b"\xff\xd8"


@dataclass(frozen=True)
class ExportConfig:
    """What to export, and where."""

    dataset: str
    """Folder of one version of an RLDS dataset, or its address, such as `gs://...`."""
    target: Path
    """Folder of the LeRobotDataset; it appears when it is whole."""
    split: str = "train"
    """Split to export; LeRobot has one dataset for each."""


@dataclass(frozen=True)
class _Episode:
    actions: npt.NDArray[np.float32]
    states: npt.NDArray[np.float32]
    task: str
    pictures: Mapping[str, Sequence[bytes]]
    metadata: Mapping[str, Any]


def export(config: ExportConfig) -> Path:
    """Write the LeRobotDataset and return its folder.

    Of a killed export nothing is left that looks like a dataset; the next one begins anew.

    Raises:
        DatasetError: there is no such dataset or split, a record is damaged, its features are not
            those of LIBERO's datasets, or the folder is there already.
        BusyError: another process is writing it.
        OutputError: it cannot be written.
    """
    ensure_writable(config.target.parent)
    with lock_file(config.target):
        if config.target.exists():
            raise DatasetError(
                f"{config.target} is there already: choose another folder, or remove it"
            )
        part = config.target.with_name(f".{config.target.name}.incomplete")
        with output_errors(part):
            shutil.rmtree(part, ignore_errors=True)
            _write(config, part)
            part.rename(config.target)
    return config.target


def _write(config: ExportConfig, folder: Path) -> None:
    """Write the dataset into a folder; TensorFlow is not needed, and not loaded."""
    builder = open_builder(config.dataset)
    cameras = _cameras(builder, config.dataset)
    described = layout.features(cameras)
    shards = shard_files(config.dataset, builder, config.split)
    total = builder.info.splits[config.split].num_examples
    state = _State(FrameTable(folder, described), EpisodeTable(folder))
    episodes = _episodes(shards, list(cameras))
    for episode in tqdm(episodes, total=total, desc="exporting", unit="episode", disable=None):
        _add(state, episode)
    if state.episodes == 0:
        raise DatasetError(f"{config.dataset}: the split {config.split} has no episodes")
    state.table.close()
    state.listed.close()
    write_tasks(folder, state.tasks)
    write_json(folder / layout.STATS, state.summaries())
    write_json(folder / layout.ORIGIN, _provenance(builder, config))
    write_json(folder / layout.INFO, _info(described, state))
    write_manifest(folder)


@dataclass
class _State:
    """What has been written."""

    table: FrameTable
    listed: EpisodeTable
    tasks: dict[str, int] = field(default_factory=dict)
    vectors: dict[str, Running] = field(default_factory=dict)
    histograms: dict[str, npt.NDArray[np.int64]] = field(default_factory=dict)
    sampled: int = 0
    episodes: int = 0
    frames: int = 0

    def summaries(self) -> dict[str, statistics.Summary]:
        """Return the statistics of all episodes."""
        pictures = {
            name: statistics.of_histogram(counts, self.sampled)
            for name, counts in self.histograms.items()
        }
        return {**pictures, **{name: found.summary() for name, found in self.vectors.items()}}


def _add(state: _State, episode: _Episode) -> None:
    """Write one episode and what is to be known of it."""
    count = len(episode.actions)
    number = np.arange(count)
    task = state.tasks.setdefault(episode.task, len(state.tasks))
    vectors: dict[str, np.ndarray] = {
        layout.STATE: episode.states,
        layout.ACTION: episode.actions,
        "timestamp": (number / layout.FPS).astype(np.float32)[:, None],
        "frame_index": number[:, None],
        "episode_index": np.full((count, 1), state.episodes),
        "index": state.frames + number[:, None],
        "task_index": np.full((count, 1), task),
    }
    pictures = {layout.picture_name(name): jpegs for name, jpegs in episode.pictures.items()}
    chunk, file = state.table.add(pictures, vectors)
    summaries = {name: statistics.of_vectors(values) for name, values in vectors.items()}
    sampled = min(count, statistics.MOST_FRAMES)
    for name, jpegs in pictures.items():
        counts = statistics.histogram(jpegs)
        state.histograms[name] = state.histograms.get(name, 0) + counts
        summaries[name] = statistics.of_histogram(counts, sampled)
    for name, values in vectors.items():
        state.vectors.setdefault(name, Running()).add(values)
    state.listed.add(
        {
            "episode_index": state.episodes,
            "tasks": [episode.task],
            "length": count,
            "data/chunk_index": chunk,
            "data/file_index": file,
            "dataset_from_index": state.frames,
            "dataset_to_index": state.frames + count,
            **statistics.columns(summaries),
            "meta/episodes/chunk_index": 0,
            "meta/episodes/file_index": 0,
            **{f"dlr/{name}": value for name, value in sorted(episode.metadata.items())},
        }
    )
    state.sampled += sampled
    state.episodes += 1
    state.frames += count


def _episodes(shards: Sequence[tuple[Any, int]], cameras: Sequence[str]) -> Iterator[_Episode]:
    for shard, count in shards:
        for number, record in enumerate(records(shard, count)):
            features = parse_example(record.content, shard, number)
            pictures = {c: list(features[_PICTURES + c].bytes_list.value) for c in cameras}
            texts = features[f"{_STEPS}language_instruction"].bytes_list.value
            actions = _floats(features[f"{_STEPS}action"], _ACTION_DIM)
            states = _floats(features[f"{_PICTURES}state"], _STATE_DIM)
            if {len(states), len(texts), *map(len, pictures.values())} != {len(actions)} - {0}:
                raise corrupt(shard, number)
            for name, values in (("action", actions), ("state", states)):
                _check_finite(values, f"{shard}, episode {number}", name)
            if not all(jpeg.startswith(_JPEG) for jpegs in pictures.values() for jpeg in jpegs):
                raise DatasetError(f"{shard}: pictures are no JPEGs: build them as JPEGs")
            metadata = {
                name.removeprefix(_METADATA): _plain(feature)
                for name, feature in features.items()
                if name.startswith(_METADATA)
            }
            yield _Episode(actions, states, texts[0].decode(), pictures, metadata)


def _check_finite(values: npt.NDArray[np.float32], episode: str, name: str) -> None:
    """Raise DatasetError, with the step, if a step's numbers are not finite."""
    wrong = np.flatnonzero(~np.isfinite(values).all(axis=1))
    if len(wrong):
        raise DatasetError(
            f"{episode}: {name} holds NaN or infinity at step {wrong[0]}, which no training can "
            "use: build the dataset again without this episode"
        )


def _floats(feature: Any, dim: int) -> npt.NDArray[np.float32]:
    values = np.array(feature.float_list.value, np.float32)
    return values.reshape(-1, dim) if values.size % dim == 0 else values[:0].reshape(0, dim)


def _plain(feature: Any) -> Any:
    """Return the value of a metadata feature, or a list if it has not just one."""
    texts = [text.decode(errors="replace") for text in feature.bytes_list.value]
    values = [*texts, *feature.int64_list.value, *feature.float_list.value]
    return values[0] if len(values) == 1 else values


def _cameras(builder: Any, dataset: str) -> dict[str, tuple[int, int]]:
    """Return picture feature -> height and width, of a dataset whose steps are LIBERO's."""
    import tensorflow_datasets as tfds

    try:
        steps = builder.info.features["steps"].feature
        observation = steps["observation"]
        shapes = (steps["action"].shape, observation["state"].shape)
        pictures = {
            name: feature
            for name, feature in observation.items()
            if isinstance(feature, tfds.features.Image) and feature.shape[2] == 3
        }
    except (KeyError, AttributeError, TypeError, IndexError) as error:
        raise DatasetError(f"{dataset} has no steps as LIBERO's datasets have them") from error
    if shapes != ((_ACTION_DIM,), (_STATE_DIM,)) or "language_instruction" not in steps:
        raise DatasetError(
            f"{dataset}: action and state have the shapes {shapes[0]} and {shapes[1]}, not (7,) "
            "and (8,), or the steps have no language_instruction"
        )
    return {name: (feature.shape[0], feature.shape[1]) for name, feature in pictures.items()}


def _info(described: dict[str, Any], state: _State) -> dict[str, Any]:
    return {
        "codebase_version": layout.VERSION,
        "robot_type": "panda",
        "fps": layout.FPS,
        "features": described,
        "total_episodes": state.episodes,
        "total_frames": state.frames,
        "total_tasks": len(state.tasks),
        "chunks_size": layout.FILES_OF_A_CHUNK,
        "data_files_size_in_mb": layout.MEGABYTES_OF_A_FILE,
        "video_files_size_in_mb": layout.MEGABYTES_OF_A_FILE,
        "data_path": layout.DATA,
        "video_path": None,
        "splits": {"train": f"0:{state.episodes}"},
    }


def _provenance(builder: Any, config: ExportConfig) -> dict[str, Any]:
    """Return the RLDS dataset's metadata, and which of its splits this is."""
    told = json.loads(json.dumps(dict(builder.info.metadata or {}), default=str))
    return {"exported_from": builder.info.full_name, "split": config.split, "metadata": told}
