"""Files elsewhere read at any place, in blocks that are kept in the user's cache folder.

The cache has a bound, `$DLR_CACHE_GB`; what was not used for longest makes room. All processes of a
user share it. A block carries its checksum, so one that a crash or a disk spoiled is fetched again.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import io
import os
import threading
from dataclasses import dataclass
from io import FileIO
from pathlib import Path

import google_crc32c

from common.errors import DatasetError, SettingError
from common.files import output_errors, user_cache_folder
from common.remote.addresses import address_errors, open_address, retried

BLOCK = 4 * 2**20
"""Bytes of a block; the last one of a file is shorter."""
CACHE_GB = "DLR_CACHE_GB"
"""Environment variable: how large the cache of blocks may become, in GB."""
_DEFAULT_GB = 20.0
_CHECKSUM_BYTES = 4
_OPEN_BLOCKS = 256
_TRIM_EVERY = 16
"""Blocks that a process fetches between two looks at the size of the cache."""


@dataclass(frozen=True)
class RemoteFile:
    """A file elsewhere; read like a `Path` of this machine where a module reads either."""

    address: str
    """Where it is, such as `gs://bucket/folder/file`."""
    size: int
    """Bytes."""
    version: str
    """Text that is another one when the content is."""
    digest: tuple[str, str] | None = None
    """Algorithm and hexadecimal digest of the content, if the server tells one."""

    @property
    def name(self) -> str:
        """Name without the folders."""
        return self.address.rsplit("/", 1)[-1]

    def __str__(self) -> str:
        """Return the address."""
        return self.address

    def pread(self, length: int, offset: int) -> bytes:
        """Return `length` bytes from `offset` on; fewer where the file ends before.

        Raises:
            DatasetError: it cannot be read, or has another size by now.
            OutputError: the cache cannot be written.
        """
        end = min(offset + length, self.size)
        if offset >= end:
            return b""
        parts = []
        for number in range(offset // BLOCK, (end - 1) // BLOCK + 1):
            first = number * BLOCK
            start, stop = max(offset - first, 0), min(end - first, BLOCK)
            block = _open_block(self, number)  # (a thread that forgets it would close it)
            parts.append(os.pread(block.fileno(), stop - start, start))
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def open(self, mode: str = "rb") -> io.BufferedReader:
        """Return the file for reading bytes from its start, a block at a time in memory."""
        if mode != "rb":
            raise ValueError(f"a file elsewhere is opened for reading bytes, not {mode!r}")
        return io.BufferedReader(_Stream(self), BLOCK)


AnyFile = Path | RemoteFile
"""A file here or elsewhere."""


def size_of(file: AnyFile) -> int:
    """Return a file's size in bytes."""
    return file.size if isinstance(file, RemoteFile) else file.stat().st_size


class _Stream(io.RawIOBase):
    """A remote file from start to end."""

    def __init__(self, file: RemoteFile) -> None:
        self._file, self._position = file, 0

    def readable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        content = self._file.pread(len(buffer), self._position)
        buffer[: len(content)] = content
        self._position += len(content)
        return len(content)


def fetch_range(address: str, start: int, end: int) -> bytes:
    """Return the bytes `start` to `end` of a file elsewhere, which has them.

    Raises:
        DatasetError: it cannot be read, or is shorter.
    """
    filesystem, path = open_address(address)

    def fetch() -> bytes:
        content: bytes = filesystem.cat_file(path, start=start, end=end)
        if len(content) != end - start:
            raise EOFError(f"{len(content)} bytes came, not {end - start}")
        return content

    return retried(fetch)


def cache_bytes() -> int:
    """Return the bound of the cache of blocks, bytes.

    Raises:
        SettingError: `$DLR_CACHE_GB` is no positive number.
    """
    text = os.environ.get(CACHE_GB) or str(_DEFAULT_GB)
    try:
        bound = float(text)
    except ValueError:
        bound = 0.0
    if not bound > 0:
        raise SettingError(f"{CACHE_GB} must be a number of GB above 0, not {text!r}")
    return int(bound * 1e9)


def _blocks_folder() -> Path:
    return user_cache_folder() / "blocks"


@functools.lru_cache(_OPEN_BLOCKS)
def _open_block(file: RemoteFile, number: int) -> FileIO:
    """Return an open file that begins with a block; it stays readable when it is removed."""
    key = hashlib.sha256(f"{file.address}\n{file.size}\n{file.version}".encode()).hexdigest()[:20]
    path = _blocks_folder() / key / f"{number:06d}"
    start, end = number * BLOCK, min((number + 1) * BLOCK, file.size)
    if stored := _open_whole(path, end - start):
        return stored
    with address_errors(file.address):
        content = fetch_range(file.address, start, end)
    _store(path, content)
    if stored := _open_whole(path, end - start):
        return stored
    raise DatasetError(
        f"{path} is not what was written a moment ago: the cache is too small (raise {CACHE_GB}) "
        "or its disk is failing"
    )


def _checksum(content: bytes) -> bytes:
    return int(google_crc32c.value(content)).to_bytes(_CHECKSUM_BYTES, "little")


def _open_whole(path: Path, length: int) -> FileIO | None:
    """Return a stored block, or None if there is none or it is damaged."""
    try:
        stored = FileIO(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    content = stored.read(length + _CHECKSUM_BYTES + 1) or b""
    if len(content) != length + _CHECKSUM_BYTES or _checksum(content[:length]) != content[length:]:
        stored.close()
        return None
    with contextlib.suppress(OSError):  # another user's or a read-only cache: it is only read
        os.utime(stored.fileno())
    return stored


_fetched = 0


def _store(path: Path, content: bytes) -> None:
    """Write a block; a power cut may spoil it, which its checksum shows."""
    global _fetched
    if _fetched % _TRIM_EVERY == 0:
        _trim(cache_bytes() - _TRIM_EVERY * BLOCK)
    _fetched += 1
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_ident()}.tmp")
    with output_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            temporary.write_bytes(content + _checksum(content))
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)


def _trim(bound: int) -> None:
    """Remove the blocks that were not used for longest until the cache is within its bound."""
    found = []
    for path in _blocks_folder().glob("*/*"):
        try:
            status = path.stat()
        except FileNotFoundError:  # another process removed it
            continue
        found.append((status.st_mtime_ns, status.st_size, path))
    total = sum(size for _, size, _ in found)
    for _, size, path in sorted(found):
        if total <= bound:
            return
        path.unlink(missing_ok=True)
        total -= size
