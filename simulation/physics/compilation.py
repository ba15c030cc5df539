"""Tells that a function is being compiled, which takes long, and when it has to be once more."""

from __future__ import annotations

import hashlib
import sys
import time
from pathlib import Path
from typing import Any

from numba.core import event

from common.files import write_text

_SOURCES = "sources.sha256"
"""Beside what is compiled: of which sources it is."""


class _Announcer(event.Listener):
    """Prints a line when numba begins to compile one function, and when it is done."""

    def __init__(self, function: Any, what: str, seconds: int) -> None:
        self._function, self._what, self._seconds = function, what, seconds
        self._begun = 0.0

    def notify(self, event: event.Event) -> None:
        """Pass on what concerns the function; numba tells of all functions."""
        if event.data["dispatcher"] is self._function:
            super().notify(event)

    def on_start(self, event: event.Event) -> None:
        """Print that it begins."""
        self._begun = time.monotonic()
        _say(
            f"compiling {self._what}, once for this machine and version: about {self._seconds} s "
            "on an idle core ..."
        )

    def on_end(self, event: event.Event) -> None:
        """Print that it has ended."""
        _say(f"compiled {self._what} in {time.monotonic() - self._begun:.0f} s")


def announce(function: Any, what: str, seconds: int) -> None:
    """Have it said when a compiled function is made anew rather than read from numba's cache.

    Args:
        function: function that numba compiles when it is first called.
        what: what it is, in words.
        seconds: how long that takes.
    """
    event.register("numba:compile", _Announcer(function, what, seconds))


def forget_stale(function: Any, package: Path) -> None:
    """Delete what is compiled of a function's package if that is of other sources.

    numba looks whether the file of a function has changed, but not those of what it calls.

    Args:
        function: compiled function with a cache, of a module of the package.
        package: folder of the modules; all of them count.
    """
    folder = Path(function._cache.cache_path)
    parts = (path.read_bytes() for path in sorted(package.glob("*.py")))
    digest = hashlib.sha256(b"".join(parts)).hexdigest()
    mark = folder / _SOURCES
    if mark.exists() and mark.read_text() == digest:
        return
    for stale in (*folder.glob("*.nbi"), *folder.glob("*.nbc")):
        stale.unlink(missing_ok=True)
    folder.mkdir(parents=True, exist_ok=True)
    write_text(mark, digest)


def _say(line: str) -> None:
    print(f"dlr: {line}", file=sys.stderr, flush=True)
