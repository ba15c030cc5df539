"""Where records lie in an array_record file that `records.formats.writer` wrote uncompressed.

An array_record file is one of Riegeli's: blocks of 64 KiB, each with a header of 24 bytes, and in
what lies between these a chunk for each record: a header of 40 bytes, a byte for "uncompressed",
two lengths as variable-length integers, and the record (Riegeli's `doc/riegeli_records_file_format`
describes it). So a record's place follows from the lengths of those before it, and a damaged one is
told from its neighbours.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

_BLOCK, _BLOCK_HEADER, _CHUNK_HEADER = 1 << 16, 24, 40


def read_contents(path: Path, lengths: Sequence[int]) -> Iterator[bytes]:
    """Yield the bytes where records of such lengths lie; fewer of the one where the file ends.

    Args:
        path: the file.
        lengths: of its records, in order, in bytes.
    """
    with path.open("rb") as file:
        for start, length in zip(_starts(lengths), lengths, strict=True):
            yield _read(file, start, length)


def record_at(offset: int, lengths: Sequence[int]) -> int | None:
    """Return which record's chunk a byte of the file lies in or before; None behind the last."""
    block, inside = divmod(offset, _BLOCK)
    flat = block * (_BLOCK - _BLOCK_HEADER) + max(0, inside - _BLOCK_HEADER)
    for number, (start, length) in enumerate(zip(_starts(lengths), lengths, strict=True)):
        if flat < start + length:
            return number
    return None


def _starts(lengths: Sequence[int]) -> Iterator[int]:
    """Yield where records begin, in bytes without the blocks' headers."""
    place = _CHUNK_HEADER  # (that of the file's signature)
    for length in lengths:
        place += _CHUNK_HEADER + 2 + len(_varint(length))
        yield place
        place += length


def _read(file: BinaryIO, start: int, length: int) -> bytes:
    """Return bytes of the file without the blocks' headers."""
    found = bytearray()
    while len(found) < length:
        block, inside = divmod(start + len(found), _BLOCK - _BLOCK_HEADER)
        file.seek(block * _BLOCK + _BLOCK_HEADER + inside)
        some = file.read(min(length - len(found), _BLOCK - _BLOCK_HEADER - inside))
        if not some:
            break
        found += some
    return bytes(found)


def _varint(value: int) -> bytes:
    """Return a non-negative integer, seven bits a byte, the lowest first."""
    found = bytearray()
    while value >= 0x80:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes((*found, value))
