"""Where each episode of a dataset lies, how long it is and what its metadata say; made once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from common.errors import DatasetError
from common.json_files import read_sealed, write_sealed
from common.remote.blocks import AnyFile, RemoteFile, size_of
from dataset_builders.records.tfrecords import corrupt, parse_example, records
from vla_adapters.dataset_folder import DatasetFolder
from vla_adapters.samples import ACTION_DIM, STATE_DIM

ACTION, STATE = "steps/action", "steps/observation/state"
"""Keys of an example, under which TFDS stores the features of the steps."""
_FORMAT = 1
_MOST_BYTES = 2**32
"""Size of an index; one of a million episodes has some hundred MiB."""
_METADATA = "episode_metadata/"
_COLUMNS = ("shard", "offset", "length", "checksum", "steps")

Scalar = str | int | float | None
"""One value of an episode's metadata."""


@dataclass(frozen=True)
class Index:
    """The episodes of a split, one entry each, in the order of the shards."""

    shard: tuple[int, ...]
    """Number of the shard."""
    offset: tuple[int, ...]
    """Where the record's content begins in it, bytes."""
    length: tuple[int, ...]
    """Length of the content, bytes."""
    checksum: tuple[int, ...]
    """Masked CRC32C of the content."""
    steps: tuple[int, ...]
    """Number of steps."""
    metadata: Mapping[str, tuple[Scalar, ...]]
    """Name of an episode metadata feature -> its values."""


def read_index(folder: DatasetFolder) -> Index:
    """Return the index of a split, or make it: one pass over all of it.

    It is the one that was published with the data, or it lies in the user's cache and is made
    anew when the shards are others than it was made of.

    Raises:
        DatasetError: a shard is truncated, corrupt or not whole, or an action or state is not
            finite.
        OutputError: the index cannot be written to the cache folder.
    """
    name = index_name(folder.split)
    named = [[shard.name, size_of(shard)] for shard in folder.shards]
    published = _read_stored(folder.path / name)
    if found := _index(published, named):
        return found
    path, states = folder.beside(name), list(map(_state, folder.shards))
    stored = _read_stored(path)
    if stored.get("states") == states and (found := _index(stored, named)):
        return found
    write_sealed(path, {**_made(folder, named), "states": states})
    return read_index(folder)


def index_to_publish(folder: DatasetFolder) -> Path:
    """Return the index of a split as a file of the user's cache, to be published with the data.

    Raises:
        DatasetError: as `read_index`.
        OutputError: the cache folder cannot be written.
    """
    index = read_index(folder)
    named = [[shard.name, size_of(shard)] for shard in folder.shards]
    columns = {name: list(getattr(index, name)) for name in _COLUMNS}
    metadata = {name: list(values) for name, values in index.metadata.items()}
    path = folder.beside(f"published/{index_name(folder.split)}")
    write_sealed(path, {"format": _FORMAT, "shards": named, **columns, "metadata": metadata})
    return path


def index_name(split: str) -> str:
    """Return the name of an index's file."""
    return f"dlr_index_{split}.json"


def _index(stored: dict[str, Any], shards: list[list[Any]]) -> Index | None:
    """Return a stored index if it is of these shards."""
    if stored.get("format") != _FORMAT or stored.get("shards") != shards:
        return None
    metadata = {name: tuple(values) for name, values in stored["metadata"].items()}
    return Index(**{name: tuple(stored[name]) for name in _COLUMNS}, metadata=metadata)


def _state(shard: AnyFile) -> str:
    """Return text that is another one when a shard has been written anew."""
    return shard.version if isinstance(shard, RemoteFile) else str(shard.stat().st_mtime_ns)


def _made(folder: DatasetFolder, shards: list[list[Any]]) -> dict[str, Any]:
    """Return the content of an index's file."""
    rows = list(tqdm(_rows(folder), desc="indexing", unit="episode", total=sum(folder.counts)))
    columns = {name: [row[name] for row in rows] for name in _COLUMNS}
    names = set.intersection(*(set(row["metadata"]) for row in rows))
    told = {name: [row["metadata"][name] for row in rows] for name in sorted(names)}
    return {"format": _FORMAT, "shards": shards, **columns, "metadata": told}


def _read_stored(path: Path) -> dict[str, Any]:
    """Return a stored index, empty if there is none or it is damaged: then it is made anew."""
    if not path.is_file():
        return {}
    try:
        return read_sealed(path, "an index", DatasetError, "", _MOST_BYTES)
    except DatasetError:
        return {}


def _rows(folder: DatasetFolder) -> Iterator[dict[str, Any]]:
    episode = 0
    for shard, (path, count) in enumerate(zip(folder.shards, folder.counts, strict=True)):
        for number, record in enumerate(records(path, count)):
            features = parse_example(record.content, path, number)
            steps = _check_numbers(features, path, number, episode)
            yield {
                "shard": shard,
                "offset": record.offset,
                "length": len(record.content),
                "checksum": record.checksum,
                "steps": steps,
                "metadata": _metadata(features),
            }
            episode += 1


def _check_numbers(features: Any, path: AnyFile, number: int, episode: int) -> int:
    """Return the steps of an episode whose actions and states are finite."""
    steps = len(features[ACTION].float_list.value) // ACTION_DIM
    for key, size in ((ACTION, ACTION_DIM), (STATE, STATE_DIM)):
        values = np.array(features[key].float_list.value, np.float32)
        if values.size != steps * size:
            raise corrupt(path, number)
        wrong = np.flatnonzero(~np.isfinite(values))
        if wrong.size:
            name = key.rsplit("/", 1)[-1]
            raise DatasetError(
                f"{path}: the {name} of episode {episode}, step {wrong[0] // size} is not finite "
                f"({values[wrong[0]]}): leave the episode out and build the dataset again"
            )
    return steps


def _metadata(features: Any) -> dict[str, Scalar]:
    """Return what is scalar in an episode's metadata."""
    found: dict[str, Scalar] = {}
    for key, feature in features.items():
        kind = feature.WhichOneof("kind")
        if not key.startswith(_METADATA) or kind is None:
            continue
        values = getattr(feature, kind).value
        if len(values) == 1:
            (value,) = values
            text = value.decode(errors="replace") if isinstance(value, bytes) else value
            found[key.removeprefix(_METADATA)] = text
    return found
