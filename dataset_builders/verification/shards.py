"""The bytes of a shard compared with what the dataset's list says of them, bit by bit."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from common.errors import DatasetError
from dataset_builders.finishing import ListedEpisode
from dataset_builders.records.array_records import read_contents, record_at
from dataset_builders.records.examples import damaged_features
from dataset_builders.records.formats import TFRECORD, format_of, writer
from dataset_builders.records.tfrecords import FOOTER_BYTES, HEADER_BYTES, frame

_COMPARED = 1 << 20


@dataclass(frozen=True)
class FoundRecord:
    """An episode's record as it lies in a shard."""

    listed: ListedEpisode
    """What the list says of it."""
    content: bytes
    """Its bytes; empty if they are not what was written."""
    offset: int
    """Where they begin in the file; -1 where the format does not say."""
    faults: tuple[str, ...]
    """What is wrong with them, in words that name the feature."""


def read_shard(path: Path, listed: Sequence[ListedEpisode]) -> Iterator[FoundRecord]:
    """Yield a shard's records in order, also behind a damaged one.

    Args:
        path: the file.
        listed: what the list says of its episodes, in order.

    Raises:
        DatasetError: the file is missing, or ends too early or too late.
    """
    if not path.is_file():
        raise DatasetError(f"{path} is missing: copy or build the dataset again")
    if format_of(path.name) != TFRECORD:
        yield from _read_any(path, listed)
        return
    expected = sum(HEADER_BYTES + episode.bytes + FOOTER_BYTES for episode in listed)
    size = path.stat().st_size
    with path.open("rb") as file:
        for episode in listed:
            header, offset = file.read(HEADER_BYTES), file.tell()
            content, footer = file.read(episode.bytes), file.read(FOOTER_BYTES)
            if len(footer) < FOOTER_BYTES:
                raise DatasetError(
                    f"{path} is truncated: it ends within {episode.key}, at {size:,} of "
                    f"{expected:,} bytes; copy or build the dataset again"
                )
            faults = _faults(header, content, footer, episode)
            yield FoundRecord(episode, b"" if faults else content, offset, tuple(faults))
    if size != expected:
        raise DatasetError(
            f"{path} has {size:,} bytes, not {expected:,}: copy or build the dataset again"
        )


def _faults(header: bytes, content: bytes, footer: bytes, listed: ListedEpisode) -> list[str]:
    """Return what is wrong with a record and its framing."""
    faults = [f"{name} is damaged" for name in damaged_features(content, listed.entries)]
    framed = frame(content)
    if header != framed[:HEADER_BYTES]:
        faults.append("the record's length, or that length's checksum, is damaged")
    if not faults and footer != framed[-FOOTER_BYTES:]:
        faults.append("the record's checksum is damaged")
    return faults


def _read_any(path: Path, listed: Sequence[ListedEpisode]) -> Iterator[FoundRecord]:
    lengths = [episode.bytes for episode in listed]
    for episode, content in zip(listed, read_contents(path, lengths), strict=True):
        if len(content) < episode.bytes:
            raise DatasetError(
                f"{path} is truncated: it ends within {episode.key}; copy or build the dataset "
                "again"
            )
        faults = tuple(f"{n} is damaged" for n in damaged_features(content, episode.entries))
        yield FoundRecord(episode, b"" if faults else content, -1, faults)


def framing_fault(path: Path, listed: Sequence[ListedEpisode]) -> str:
    """Return which episode's framing differs from what was written, where all records are whole.

    An array_record file is written again for that, beside it in the system's temporary folder.
    """
    lengths = [episode.bytes for episode in listed]
    with tempfile.TemporaryDirectory() as folder:
        again = Path(folder) / path.name
        with writer(again, path.name) as write:
            for content in read_contents(path, lengths):
                write(frame(content))
        size = path.stat().st_size
        if size != again.stat().st_size:
            return f"has {size:,} bytes, not {again.stat().st_size:,}"
        offset = _first_difference(path, again)
    number = record_at(offset, lengths)
    if number is None:
        return f"is damaged at byte {offset:,}, behind its episodes: in its index or its filling"
    episode = listed[number]
    return f"episode {episode.number} ({episode.key}): the record's own header is damaged"


def _first_difference(one: Path, other: Path) -> int:
    """Return the first place at which two files of one length differ; their end if nowhere."""
    place = 0
    with one.open("rb") as first, other.open("rb") as second:
        while (part := np.frombuffer(first.read(_COMPARED), np.uint8)).size:
            differing = np.flatnonzero(part != np.frombuffer(second.read(_COMPARED), np.uint8))
            if differing.size:
                return place + int(differing[0])
            place += part.size
    return place
