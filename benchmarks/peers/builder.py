"""The TFDS builder of the usual way: reads pictures from HDF5 and leaves encoding to TFDS."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any, ClassVar

import h5py
import numpy as np
import tensorflow_datasets as tfds

from benchmarks.peers.scripts import CAMERAS


@dataclasses.dataclass(eq=False)
class PeerLiberoConfig(tfds.core.BuilderConfig):
    """What to read."""

    pictures: str = ""
    """HDF5 file of pictures, a group for each episode."""
    size: int = 256
    """Height and width of the pictures in pixels."""


class PeerLibero(tfds.core.GeneratorBasedBuilder):
    """Builds RLDS episodes of LIBERO, one after the other."""

    VERSION = tfds.core.Version("1.0.0")
    BUILDER_CONFIGS: ClassVar[list[PeerLiberoConfig]] = []

    def _info(self) -> tfds.core.DatasetInfo:
        """Return the features of the published LIBERO datasets."""
        size = self.builder_config.size
        tensor, scalar = tfds.features.Tensor, tfds.features.Scalar
        picture = tfds.features.Image(shape=(size, size, 3), encoding_format="jpeg")
        observation = {
            **dict.fromkeys(CAMERAS, picture),
            "state": tensor(shape=(8,), dtype=np.float32),
            "joint_state": tensor(shape=(7,), dtype=np.float32),
        }
        step = {
            "observation": tfds.features.FeaturesDict(observation),
            "action": tensor(shape=(7,), dtype=np.float32),
            **dict.fromkeys(("discount", "reward"), scalar(dtype=np.float32)),
            **dict.fromkeys(("is_first", "is_last", "is_terminal"), scalar(dtype=np.bool_)),
            "language_instruction": tfds.features.Text(),
        }
        features = {
            "steps": tfds.features.Dataset(step),
            "episode_metadata": tfds.features.FeaturesDict({"file_path": tfds.features.Text()}),
        }
        return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, Any]:
        """Return what makes the only split."""
        return {"train": self._generate_examples()}

    def _generate_examples(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield (key, example) of one episode after the other."""
        with h5py.File(self.builder_config.pictures) as file:
            for name, group in file.items():
                episode = {key: group[key][()] for key in group}
                metadata = {"file_path": f"{self.builder_config.pictures}#{name}"}
                steps = list(_steps(episode, str(group.attrs["language"])))
                yield name, {"steps": steps, "episode_metadata": metadata}


def _steps(episode: dict[str, np.ndarray], language: str) -> Iterator[dict[str, Any]]:
    last = len(episode["action"]) - 1
    for t, action in enumerate(episode["action"]):
        yield {
            "observation": {
                **{camera: episode[camera][t, ::-1, ::-1] for camera in CAMERAS},
                "state": episode["state"][t].astype(np.float32),
                "joint_state": episode["joint_state"][t].astype(np.float32),
            },
            "action": action.astype(np.float32),
            "discount": 1.0,
            "reward": float(t == last),
            "is_first": t == 0,
            "is_last": t == last,
            "is_terminal": t == last,
            "language_instruction": language,
        }
