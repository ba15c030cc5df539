"""What needs TensorFlow, run as a script: small RLDS datasets by TFDS, and pictures by tf.image.

`python tensorflow_side.py FOLDER CHANGES` writes two datasets, what TFDS reads of the first
(`read.npz`), and a picture changed by each of the changes, a JSON list (`augmented.npz`).
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds

from dataset_builders.libero_rl.libero_rl_dataset_builder import (
    LiberoRlConfig,
    _metadata_features,
    _step_features,
)

PIXELS = 24
LENGTHS = (5, 3, 8, 1, 6, 4, 7)


def picture(generator: np.random.Generator, size: int) -> np.ndarray:
    """Return a smooth random picture, as photographs are, which JPEG stores well."""
    coarse = generator.integers(0, 256, (4, 4, 3)).astype(np.float32)
    return tf.image.resize(coarse, (size, size), "bicubic").numpy().clip(0, 255).astype(np.uint8)


def episode(number: int, length: int, method: str, metadata: Any) -> dict[str, Any]:
    """Return an episode of random numbers with all of libero_rl's features."""
    rng = np.random.default_rng((number, length))
    steps = [
        {
            "observation": {
                "image": picture(rng, PIXELS),
                "wrist_image": picture(rng, PIXELS),
                "state": rng.normal(size=8).astype(np.float32),
                "joint_state": rng.normal(size=7).astype(np.float32),
            },
            "action": rng.uniform(-1, 1, 7).astype(np.float32),
            "discount": 1.0,
            "reward": float(step == length - 1),
            "is_first": step == 0,
            "is_last": step == length - 1,
            "is_terminal": step == length - 1,
            "language_instruction": f"do task {number % 2}",
        }
        for step in range(length)
    ]
    values = {name: "" if item.np_dtype == np.object_ else 0 for name, item in metadata.items()}
    told = {"task": f"task_{number % 2}", "pattern": number % 3, "trajectory_index": number}
    return {"steps": steps, "episode_metadata": {**values, "method": method, **told}}


def write(folder: Path, name: str, lengths: tuple[int, ...], config: str | None) -> Any:
    """Write a dataset in two shards and return its builder."""
    metadata = _metadata_features()
    features = tfds.features.FeaturesDict(
        {
            "steps": tfds.features.Dataset(
                _step_features(LiberoRlConfig(name="dlr", resolution=PIXELS))
            ),
            "episode_metadata": metadata,
        }
    )

    def episodes() -> Iterator[tuple[int, dict[str, Any]]]:
        for number, length in enumerate(lengths):
            yield number, episode(number, length, config or name, metadata)

    builder = tfds.dataset_builders.AdhocBuilder(
        name=name,
        version="1.0.0",
        features=features,
        split_datasets={"train": episodes()},
        config=tfds.core.BuilderConfig(name=config) if config else None,
        data_dir=folder,
    )
    builder.download_and_prepare(download_config=tfds.download.DownloadConfig(num_shards=2))
    return builder


def read(builder: Any) -> dict[str, Any]:
    """Return what TFDS reads: the steps of all episodes in order, and the episodes' lengths."""
    config = tfds.ReadConfig(interleave_cycle_length=1)
    dataset = builder.as_dataset(split="train", read_config=config, shuffle_files=False)
    episodes = [
        {"number": item["episode_metadata"]["trajectory_index"], "steps": list(item["steps"])}
        for item in tfds.as_numpy(dataset)
    ]
    steps = [{**step, **step["observation"]} for item in episodes for step in item["steps"]]
    names = ("image", "wrist_image", "state", "action", "language_instruction")
    return {
        **{name: np.stack([step[name] for step in steps]) for name in names},
        "lengths": np.array([len(item["steps"]) for item in episodes]),
        "numbers": np.array([item["number"] for item in episodes]),
    }


def augmented(source: np.ndarray, change: dict[str, float]) -> np.ndarray:
    """Return a picture changed by tf.image, as dlimp's `augment_image` calls it."""
    first, last = change["offset"], change["offset"] + change["side"]
    values = tf.image.convert_image_dtype(source, tf.float32)[None]
    box = [[first, first, last, last]]
    values = tf.image.crop_and_resize(values, box, [0], source.shape[:2])[0]
    for name in ("brightness", "contrast", "saturation", "hue"):
        values = getattr(tf.image, f"adjust_{name}")(tf.clip_by_value(values, 0, 1), change[name])
    values = tf.clip_by_value(values, 0, 1)
    return tf.image.convert_image_dtype(values, tf.uint8, saturate=True).numpy()


def main(folder: Path, changes: list[dict[str, float]]) -> None:
    """Write everything."""
    builder = write(folder, "libero_rl", LENGTHS, "dlr")
    write(folder, "libero_spatial_no_noops", LENGTHS[:3], None)
    np.savez(folder / "read.npz", allow_pickle=False, **read(builder))
    source = picture(np.random.default_rng(0), 64)
    results = np.stack([augmented(source, change) for change in changes])
    np.savez(folder / "augmented.npz", source=source, results=results)


if __name__ == "__main__":
    main(Path(sys.argv[1]), json.loads(sys.argv[2]))
