"""Files of records, by the format that a shard's name tells: TFRecord and array_record."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from common.errors import DatasetError
from dataset_builders.records.tfrecords import Record, records, unframe

TFRECORD, ARRAY_RECORD = "tfrecord", "array_record"
FORMATS = (TFRECORD, ARRAY_RECORD)
"""Formats of shards; OpenVLA's and Octo's loaders take the first alone."""
_OPTIONS = "group_size:1,uncompressed"
"""A record can be read without its neighbours, as TFDS has it; its bytes lie in the file as they
are, so that a damaged feature can be named. JPEGs do not become smaller."""


def format_of(name: str) -> str:
    """Return the format of a shard of a name such as `libero_rl-train.tfrecord-00000-of-00001`.

    Raises:
        DatasetError: it names none.
    """
    for known in FORMATS:
        if f".{known}-" in name:
            return known
    raise DatasetError(f"{name} is no shard of {' or '.join(FORMATS)}: build the dataset again")


@contextmanager
def writer(path: Path, name: str) -> Iterator[Callable[[bytes], object]]:
    """Yield a function that appends a record, framed as in a TFRecord file.

    Args:
        path: the file that is written.
        name: the name that it will have, which tells its format.
    """
    if format_of(name) == TFRECORD:
        with path.open("wb") as file:
            yield file.write
        return
    from array_record.python.array_record_module import ArrayRecordWriter

    target = ArrayRecordWriter(str(path), _OPTIONS)
    try:
        yield lambda record: target.write(unframe(record))
    finally:
        target.close()


def read_records(path: Path) -> Iterator[Record]:
    """Yield the records of a shard, in order, each checked as far as its format can.

    Raises:
        DatasetError: the file is truncated or damaged.
    """
    if format_of(path.name) == TFRECORD:
        yield from records(path)
        return
    from array_record.python.array_record_module import ArrayRecordReader

    try:
        reader = ArrayRecordReader(str(path))
        for number in range(reader.num_records()):
            (content,) = reader.read([number])
            yield Record(-1, content, 0)
        reader.close()
    except (RuntimeError, ValueError, IndexError) as error:
        raise DatasetError(
            f"{path} is truncated or damaged: copy or build the dataset again"
        ) from error
