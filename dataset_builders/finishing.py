"""From finished shards to a dataset: its files beside the shards, and what it says of itself."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common.errors import DatasetError
from common.files import atomic_write, output_errors
from common.json_files import parse_sealed, sealed_line, whole_lines
from common.manifest import note_sums
from dataset_builders.certificate import from_json, summarise
from dataset_builders.digests import dataset_digest
from dataset_builders.records.examples import Entry
from dataset_builders.shards import Finished

EPISODES = "episodes.jsonl"
"""File of a dataset that names each episode with its shard, its digest and those of its features.
The first line names the features; each line is sealed."""
FORMAT = 1
_WHAT = "a list of episodes"
_REMEDY = "copy or build the dataset again"
_COPIED = ("key", "number", "content", "steps", "bytes", "lengths", "digests", "replay")


@dataclass(frozen=True)
class ListedEpisode:
    """What a dataset's list says of one episode."""

    split: str
    """Its split."""
    shard: str
    """Its file."""
    number: int
    """Its place in that file, from 0."""
    key: str
    """Trajectory file and index, `name#index`."""
    content: str
    """sha256 of its content, whatever the file format."""
    steps: int
    """Control steps."""
    bytes: int
    """Length of its record."""
    entries: tuple[Entry, ...]
    """Where its features lie in the record, and their digests."""
    replay: dict[str, Any] | None
    """What came of simulating it again when it was built; None if that was not done."""


def place_shards(finished: Sequence[Finished], folder: Path) -> None:
    """Put the shards into the dataset's folder, without taking them from where they lie.

    A killed process so loses none: the work's folder goes once the dataset is whole.
    """
    with output_errors(folder):
        for item in finished:
            target = folder / item.shard.name
            target.unlink(missing_ok=True)
            try:
                os.link(item.path, target)
            except OSError:  # (file systems without links)
                shutil.copyfile(item.path, target)


def describe_shards(finished: Sequence[Finished], folder: Path) -> dict[str, Any]:
    """Write the list of episodes and the shards' checksums; return what the metadata say of them.

    Returns:
        `digest` of the dataset, `digests` of its splits, and its `certificate`.

    Raises:
        DatasetError: the shards hold no episode, or one twice.
        OutputError: a file cannot be written.
    """
    contents: dict[str, list[str]] = {}
    found, replays, keys = [], {}, set()
    features: list[str] | None = None
    with atomic_write(folder / EPISODES) as temporary, temporary.open("wb") as file:
        for item in finished:
            for line in item.lines():
                if features is None:
                    features = line["features"]
                    file.write(sealed_line({"format": FORMAT, "features": features}))
                place = {"split": item.shard.split, "shard": item.shard.name}
                file.write(sealed_line(place | {name: line[name] for name in _COPIED}))
                contents.setdefault(item.shard.split, []).append(line["content"])
                found.append(from_json(line["conventions"]))
                keys.add(line["key"])
                if line["replay"]:
                    replays[line["key"]] = line["replay"]
    if not keys or len(keys) != len(found):
        raise DatasetError(f"{folder} holds {len(found)} episodes of {len(keys)} keys: {_REMEDY}")
    note_sums(folder, {item.shard.name: item.sha256 for item in finished})
    return {
        "digest": dataset_digest(digest for part in contents.values() for digest in part),
        "digests": {split: dataset_digest(part) for split, part in contents.items()},
        "certificate": summarise(replays, found, len(found)),
    }


def read_episodes(folder: Path) -> Iterator[ListedEpisode]:
    """Yield what a dataset's list says of each episode, in the order of the shards.

    Raises:
        DatasetError: there is no list, or a line of it is damaged.
    """
    path, features = folder / EPISODES, None
    if not path.is_file():
        raise DatasetError(f"{path} is missing: {_REMEDY}")
    for where, content in whole_lines(path):
        line = parse_sealed(content, where, _WHAT, DatasetError, _REMEDY)
        if features is None:
            if line.get("format") != FORMAT:
                raise DatasetError(f"{where} is not {_WHAT} of format {FORMAT}: {_REMEDY}")
            features = line["features"]
            continue
        try:
            rows = zip(features, line.pop("lengths"), line.pop("digests"), strict=True)
            listed = ListedEpisode(**line, entries=tuple(Entry(*row) for row in rows))
        except (KeyError, TypeError, ValueError) as error:
            raise DatasetError(f"{where} is not {_WHAT} ({error}): {_REMEDY}") from error
        yield listed
