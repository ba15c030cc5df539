"""Speed of reading a dataset for training, beside TFDS and what decoding its JPEGs allows."""

from __future__ import annotations

import functools
import os
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.dataset import record
from benchmarks.measure import (
    Result,
    Setting,
    Target,
    benchmark,
    in_fresh_process,
    summarise,
    wall_rate,
)

_SIZE_PX = 256
_CAMERAS = 2


@benchmark
def reader(setting: Setting) -> list[Result]:
    """Decoded pictures a second, each side in a process of its own on one core.

    Ours are shuffled over all episodes and stacked into batches; TFDS's come in the order of the
    file. Either begins with an epoch that is not counted.
    """
    with tempfile.TemporaryDirectory(prefix="dlr-benchmark-") as name:
        dataset = build_random(Path(name), setting)
        sides = (rate_of_ours, _decoding_alone, _nested, _flat)
        rates = [
            [in_fresh_process(side, dataset) for side in sides]
            for _ in range(setting.repetitions(4))
        ]
    compared = f"reading pictures for training, {_SIZE_PX} px, one core"
    unit = "frames/s"
    return [
        summarise(f"{compared} / TFDS, nested", unit, [(r[0], r[2]) for r in rates], Target(2)),
        summarise(f"{compared} / TFDS, flattened", unit, [(r[0], r[3]) for r in rates]),
        summarise(f"{compared} / decoding alone", unit, [(r[0], r[1]) for r in rates]),
    ]


def build_random(folder: Path, setting: Setting) -> Path:
    """Return a dataset of episodes of random actions."""
    from dataset_builders.build import BuildConfig, build

    episodes, steps = (4, 10) if setting.quick else (12, 60)
    path = folder / "trajectories" / "episodes.hdf5"
    in_fresh_process(record, path, episodes, steps, setting.assets)
    assets = str(setting.assets.path)
    return build(BuildConfig(path.parent, folder / "built", resolution=_SIZE_PX, assets=assets))


def _rate(epoch: Callable[[], object], frames: int) -> float:
    """Return the frames a second of an epoch on one core, after one that is not counted."""
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    epoch()
    return wall_rate(epoch, frames)


def rate_of_ours(dataset: Path | str) -> float:
    """Return the decoded pictures a second of our reader on one core; the dataset may be remote."""
    from vla_adapters.reader import Reader, ReaderConfig

    reader = Reader([dataset], ReaderConfig(workers=0), stack)
    return _rate(lambda: list(map(len, reader)), _CAMERAS * reader.steps)


def stack(samples: Sequence[Any]) -> Any:
    """Return the samples' pictures and actions as tensors, as every adapter stacks them."""
    import torch

    pictures = {
        name: torch.from_numpy(np.stack([sample.images[name] for sample in samples]))
        for name in samples[0].images
    }
    return {**pictures, "actions": torch.from_numpy(np.stack([s.actions for s in samples]))}


def _decoding_alone(dataset: Path) -> float:
    import simplejpeg

    from vla_adapters.records import open_records

    records = open_records([dataset])
    pictures = [
        records.encoded(episode, step, camera)
        for episode in range(len(records))
        for step in range(records.steps[episode])
        for camera in records.cameras
    ]
    decode = functools.partial(simplejpeg.decode_jpeg, fastdct=True, fastupsample=False)
    return _rate(lambda: [len(decode(picture)) for picture in pictures], len(pictures))


def _nested(dataset: Path) -> float:
    import tensorflow_datasets as tfds

    builder = tfds.builder_from_directory(dataset)
    episodes = tfds.as_numpy(builder.as_dataset(split="train"))
    steps = sum(len(list(episode["steps"])) for episode in episodes)

    def epoch() -> None:
        for episode in episodes:
            for _ in episode["steps"]:
                pass

    return _rate(epoch, _CAMERAS * steps)


def _flat(dataset: Path) -> float:
    import tensorflow_datasets as tfds

    builder = tfds.builder_from_directory(dataset)
    episodes = builder.as_dataset(split="train").flat_map(lambda episode: episode["steps"])
    steps = tfds.as_numpy(episodes)
    count = sum(1 for _ in steps)

    def epoch() -> None:
        for _ in steps:
            pass

    return _rate(epoch, _CAMERAS * count)
