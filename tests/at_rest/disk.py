"""A disk of a few MiB, which a test may fill or make read-only."""

from __future__ import annotations

import contextlib
import ctypes
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest


@dataclass(frozen=True)
class SmallDisk:
    """A disk of a few MiB that can be full or read-only."""

    path: Path

    def fill(self, room: int) -> None:
        """Take all but `room` bytes."""
        stat = os.statvfs(self.path)
        free = stat.f_bavail * stat.f_frsize
        (self.path / "filler").write_bytes(bytes(max(0, free - room)))

    def free(self) -> None:
        """Give back what `fill` took."""
        (self.path / "filler").unlink()

    def remount(self, options: str) -> None:
        """Change between `ro` and `rw`."""
        _mount("tmpfs", self.path, _MS_REMOUNT | (_MS_RDONLY if options == "ro" else 0), "")


_MS_RDONLY, _MS_REMOUNT = 1, 32


@contextlib.contextmanager
def small_disk(path: Path, mib: int = 64) -> Iterator[SmallDisk]:
    """Mount a tmpfs; skip the test where that is not allowed."""
    path.mkdir()
    try:
        _mount("tmpfs", path, 0, f"size={mib}m")
    except OSError as error:
        pytest.skip(f"no small disk can be mounted here: {error}")
    try:
        yield SmallDisk(path)
    finally:
        _libc.umount2(str(path).encode(), 2)  # (2: also while something is open)


_libc = ctypes.CDLL(None, use_errno=True)


def _mount(kind: str, path: Path, flags: int, options: str) -> None:
    words = kind.encode(), str(path).encode(), kind.encode()
    if _libc.mount(*words, ctypes.c_ulong(flags), options.encode()):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
