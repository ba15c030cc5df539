"""Episodes of RLDS datasets at random access, without TensorFlow; pictures stay encoded."""

from __future__ import annotations

import functools
import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import simplejpeg

from common.errors import DatasetError
from common.remote.blocks import AnyFile, RemoteFile
from dataset_builders.records.tfrecords import corrupt, masked_crc32c, parse_example
from vla_adapters.dataset_folder import DatasetFolder, open_folder
from vla_adapters.index import ACTION, STATE, Index, Scalar, read_index
from vla_adapters.samples import ACTION_DIM, CAMERAS, STATE_DIM

_INSTRUCTION = "steps/language_instruction"
_PICTURES = "steps/observation/"
_OPEN_SHARDS = 128
_EPISODES_HELD = 4096
"""Episodes whose numbers and places of pictures are kept: about 10 KB each."""

Numbers = npt.NDArray[np.int64]
"""Numbers of episodes or steps, (count,)."""


@dataclass(frozen=True)
class EpisodeData:
    """All of an episode but its pictures."""

    actions: npt.NDArray[np.float32]
    """(steps, 7)."""
    states: npt.NDArray[np.float32]
    """(steps, 8)."""
    instructions: tuple[str, ...]
    """Language of each step."""
    pictures: Mapping[str, npt.NDArray[np.int64]]
    """Camera -> (steps, 2): where in the shard a JPEG begins, and its length, bytes."""


class Records:
    """The episodes of datasets, one after another, numbered from 0.

    Args:
        folders: datasets of one layout.
        indices: the index of each.
        cameras: pictures that will be read.
    """

    def __init__(
        self, folders: Sequence[DatasetFolder], indices: Sequence[Index], cameras: Sequence[str]
    ) -> None:
        self._arguments = (tuple(folders), tuple(indices), tuple(cameras))
        self.folders = self._arguments[0]
        self.cameras = self._arguments[2]
        self.name = "+".join(folder.name for folder in folders)
        self.steps: npt.NDArray[np.int64] = _joined(indices, "steps")
        self.metadata: dict[str, tuple[Scalar, ...]] = {
            name: tuple(value for index in indices for value in index.metadata[name])
            for name in indices[0].metadata
            if all(name in index.metadata for index in indices)
        }
        self._offsets, self._lengths = _joined(indices, "offset"), _joined(indices, "length")
        self._checksums = _joined(indices, "checksum")
        self._shards = [
            folder.shards[shard]
            for folder, index in zip(folders, indices, strict=True)
            for shard in index.shard
        ]
        self._open = functools.lru_cache(_OPEN_SHARDS)(_open_shard)
        self._first_of: dict[AnyFile, int] = {}
        for episode, shard in enumerate(self._shards):
            self._first_of.setdefault(shard, episode)
        # A cache of a bound method would refer to these records, and keep them and their open
        # files alive until the garbage collector comes by.
        self._held: dict[int, EpisodeData] = {}

    def __len__(self) -> int:
        """Return the number of episodes."""
        return len(self.steps)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle without what is open or held."""
        return Records, self._arguments

    def episode(self, episode: int) -> EpisodeData:
        """Return an episode, which is kept for a while.

        Raises:
            DatasetError: the record is damaged or has changed.
        """
        found = self._held.get(episode)
        if found is None:
            if len(self._held) == _EPISODES_HELD:
                del self._held[next(iter(self._held))]
            found = self._held[episode] = self._read_episode(episode)
        return found

    def picture(self, episode: int, step: int, camera: str) -> npt.NDArray[np.uint8]:
        """Return a picture, uint8 (H, W, 3), RGB, decoded as TensorFlow does by default.

        Raises:
            DatasetError: the JPEG is corrupt.
        """
        jpeg = self.encoded(episode, step, camera)
        try:
            return simplejpeg.decode_jpeg(jpeg, fastdct=True, fastupsample=False)
        except ValueError as error:
            raise DatasetError(
                f"{self._shards[episode]}: {camera} of episode {episode}, step {step} is no whole "
                "JPEG: copy or build the dataset again"
            ) from error

    def encoded(self, episode: int, step: int, camera: str) -> bytes:
        """Return a picture's JPEG.

        Raises:
            DatasetError: the shard is damaged or has changed.
        """
        offset, length = self.episode(episode).pictures[camera][step]
        return self._bytes(episode, int(offset), int(length))

    def digest(self, episodes: Sequence[int] | Numbers) -> str:
        """Return the sha256 of the chosen episodes' lengths and checksums, in this order."""
        chosen = np.stack([self._lengths[episodes], self._checksums[episodes]])
        return hashlib.sha256(chosen.astype("<i8").tobytes()).hexdigest()

    def _read_episode(self, episode: int) -> EpisodeData:
        path, start = self._shards[episode], int(self._offsets[episode])
        content = self._bytes(episode, start, int(self._lengths[episode]))
        if masked_crc32c(content) != self._checksums[episode]:
            raise corrupt(path, self._number(episode))
        features = parse_example(content, path, self._number(episode))
        actions = np.array(features[ACTION].float_list.value, np.float32).reshape(-1, ACTION_DIM)
        states = np.array(features[STATE].float_list.value, np.float32).reshape(-1, STATE_DIM)
        texts: dict[bytes, str] = {}
        found = features[_INSTRUCTION].bytes_list.value
        instructions = tuple(texts.setdefault(text, text.decode()) for text in found)
        pictures = {
            camera: start + _places(content, features[_PICTURES + camera].bytes_list.value)
            for camera in self.cameras
        }
        for camera in self.cameras:
            pictures[camera][:, 1] -= start
        lengths = {len(states), len(instructions), *map(len, pictures.values())}
        if lengths != {len(actions)}:
            raise corrupt(path, self._number(episode))
        return EpisodeData(actions, states, instructions, pictures)

    def _bytes(self, episode: int, offset: int, length: int) -> bytes:
        path = self._shards[episode]
        if isinstance(path, RemoteFile):
            content = path.pread(length, offset)
        else:
            content = os.pread(self._open(path).fileno(), length, offset)
        if len(content) != length:
            raise corrupt(path, self._number(episode))
        return content

    def _number(self, episode: int) -> int:
        """Return the number of an episode in its shard."""
        return episode - self._first_of[self._shards[episode]]


def open_records(
    addresses: Sequence[str | Path], split: str = "train", cameras: Sequence[str] = CAMERAS
) -> Records:
    """Return the episodes of one split of each dataset.

    Args:
        addresses: folders of a version each, or what `fsspec` opens, such as `gs://...`.
        split: name of the split.
        cameras: pictures that will be read, of `vla_adapters.samples.CAMERAS` or other names of
            features.

    Raises:
        DatasetError: no address is given, or a dataset is missing, damaged or of another layout.
        OutputError: the index, or the copy of a dataset, cannot be written.
    """
    if not addresses:
        raise DatasetError("no dataset is given: name the folder of one version of a dataset")
    folders = [open_folder(address, split, cameras) for address in addresses]
    return Records(folders, [read_index(folder) for folder in folders], cameras)


def _joined(indices: Sequence[Index], column: str) -> npt.NDArray[np.int64]:
    return np.concatenate([np.array(getattr(index, column), np.int64) for index in indices])


def _places(content: bytes, pictures: Sequence[bytes]) -> npt.NDArray[np.int64]:
    """Return where each picture lies in the record's content, (pictures, 2): start and length.

    They lie in it one after another, each after a byte for its tag and a few for its length.
    """
    places = np.empty((len(pictures), 2), np.int64)
    position = 0
    for step, picture in enumerate(pictures):
        position += 1 + (len(picture).bit_length() + 6) // 7
        if not content.startswith(picture, position):
            position = content.index(picture)
        places[step] = position, len(picture)
        position += len(picture)
    return places


def _open_shard(path: Path) -> FileIO:
    return FileIO(path)
