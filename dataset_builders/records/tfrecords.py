"""TFRecord files without TensorFlow: framing, checksums, and the examples within.

A record is its length (8 bytes), the length's checksum (4), the content, and its checksum (4); all
little-endian, checksums CRC32C and masked, as TensorFlow's `record_writer.h` documents.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import google_crc32c
from google.protobuf.message import DecodeError
from tensorflow_datasets.proto import tf_example_pb2  # imports no TensorFlow

from common.errors import DatasetError
from common.remote.blocks import AnyFile, size_of

_HEADER = struct.Struct("<QI")
_FOOTER = struct.Struct("<I")


@dataclass(frozen=True)
class Record:
    """A record's content and place."""

    offset: int
    """Where the content begins in the file, bytes."""
    content: bytes
    """Serialised `tf.train.Example`."""
    checksum: int
    """Masked CRC32C of the content."""


def masked_crc32c(content: bytes) -> int:
    """Return the checksum of TFRecord files."""
    crc: int = google_crc32c.value(content)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def frame(content: bytes) -> bytes:
    """Return a record as a TFRecord file holds it: length and content, each with its checksum."""
    length = struct.pack("<Q", len(content))
    header = length + _FOOTER.pack(masked_crc32c(length))
    return header + content + _FOOTER.pack(masked_crc32c(content))


HEADER_BYTES, FOOTER_BYTES = _HEADER.size, _FOOTER.size
"""What a record of a TFRecord file has before and behind its content."""


def unframe(record: bytes) -> bytes:
    """Return the content of what `frame` made."""
    return record[_HEADER.size : -_FOOTER.size]


def records(path: AnyFile, count: int | None = None) -> Iterator[Record]:
    """Yield the records of a file, in order, each checked.

    Args:
        path: the file.
        count: how many it has by its dataset's `dataset_info.json`, if that is known.

    Raises:
        DatasetError: the file ends within a record, a checksum is wrong, or, raised behind the
            last record, there are more or fewer than that.
    """
    size = size_of(path)
    with path.open("rb") as file:
        number = 0
        while header := file.read(_HEADER.size):
            if len(header) < _HEADER.size:
                raise _truncated(path, number)
            length, checksum = _HEADER.unpack(header)
            if masked_crc32c(header[:8]) != checksum:
                raise corrupt(path, number)
            offset = file.tell()
            if offset + length + _FOOTER.size > size:
                raise _truncated(path, number)
            content = file.read(length)
            (checksum,) = _FOOTER.unpack(file.read(_FOOTER.size))
            if masked_crc32c(content) != checksum:
                raise corrupt(path, number)
            yield Record(offset, content, checksum)
            number += 1
    if count is not None and number != count:
        raise DatasetError(
            f"{path} holds {number} episodes, not {count} as dataset_info.json says: copy or build "
            "the dataset again"
        )


def parse_example(content: bytes, path: AnyFile, number: int) -> Any:
    """Return the features of a record, name -> protobuf `Feature`.

    Raises:
        DatasetError: the content is no example.
    """
    try:
        return tf_example_pb2.Example.FromString(content).features.feature
    except DecodeError as error:
        raise corrupt(path, number) from error


def corrupt(path: AnyFile, number: int) -> DatasetError:
    """Return the error that says which record is damaged."""
    return DatasetError(
        f"{path}: record {number} is corrupt (its checksum or content is wrong): copy or build "
        "the dataset again"
    )


def _truncated(path: AnyFile, number: int) -> DatasetError:
    return DatasetError(
        f"{path} is truncated: it ends within record {number}; copy or build the dataset again"
    )
