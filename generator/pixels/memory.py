"""Whether there is memory for the pictures that are asked for, before any is drawn."""

from __future__ import annotations

import os
from pathlib import Path

from common.errors import SettingError

_GIB = 2**30
_SPARE = 0.9
"""Share of the free memory that pictures may take."""


def check_memory(what: str, size: int, limit_gib: float) -> None:
    """Ask whether pictures of `size` bytes may be kept in memory.

    Args:
        what: the pictures, such as `an iteration of PPO`.
        size: bytes.
        limit_gib: what the settings allow.

    Raises:
        SettingError: they allow less, or less is free.
    """
    free = _SPARE * free_memory()
    if size <= min(limit_gib * _GIB, free):
        return
    allowed = (
        f"only {free / _GIB:.2g} GiB is free"
        if size > free
        else f"--observe.memory-gib allows {limit_gib:g}"
    )
    raise SettingError(
        f"the pictures of {what} take {size / _GIB:.2g} GiB, but {allowed}: take a smaller "
        "--observe.size, fewer cameras or episodes, or --observe.train-encoder learn, which keeps "
        "no pictures in PPO"
    )


def free_memory() -> int:
    """Return the bytes that are free: what Linux calls available, or else all of the machine."""
    path = Path("/proc/meminfo")
    for line in path.read_text().splitlines() if path.exists() else ():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
