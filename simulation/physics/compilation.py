"""Tells that a function is being compiled, which takes long, and keeps it apart by its sources."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import sys
import time
from pathlib import Path
from typing import Any

from numba.core import event
from numba.core.caching import Cache, IndexDataCacheFile
from numba.core.dispatcher import Dispatcher

_PREFIX = "sources_"
_UNUSED_S = 30 * 86400.0
"""Seconds after which what was compiled of other sources is deleted."""


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


def cache_by_sources(package: Path) -> None:
    """Let numba keep what it compiles of a package in a folder that is named by its sources.

    numba looks whether the file of a function has changed, but not those of what it calls; and
    a process may compile long after it has read the sources, which may be others by then.

    Args:
        package: folder of the modules; all of them count. It is called once they are imported.
    """
    parts = (path.read_bytes() for path in sorted(package.glob("*.py")))
    name = f"{_PREFIX}{hashlib.sha256(b''.join(parts)).hexdigest()[:16]}"
    caches = [cache for cache in _caches(package) if Path(cache.cache_path).name != name]
    for above in {Path(cache.cache_path) for cache in caches}:
        (above / name).mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(OSError):  # another user's, or gone meanwhile
            _tidy(above, name)
    for cache in caches:
        folder, stamp = os.path.join(cache.cache_path, name), cache._impl.locator.get_source_stamp()
        cache._cache_path = folder
        cache._cache_file = IndexDataCacheFile(folder, cache._impl.filename_base, stamp)


def _caches(package: Path) -> list[Any]:
    """Return the caches of the compiled functions of a package's modules, each once."""
    files = ((module, getattr(module, "__file__", None)) for module in list(sys.modules.values()))
    modules = [module for module, file in files if file and Path(file).parent == package]
    functions = (value for module in modules for value in vars(module).values())
    caches = (vars(f).get("_cache") for f in functions if isinstance(f, Dispatcher))
    return list({id(cache): cache for cache in caches if isinstance(cache, Cache)}.values())


def _tidy(above: Path, used: str) -> None:
    """Let what was compiled of other sources go if it is old; note that a folder is in use."""
    os.utime(above / used)
    for folder in above.glob(f"{_PREFIX}*"):
        if folder.stat().st_mtime < time.time() - _UNUSED_S:
            shutil.rmtree(folder)


def _say(line: str) -> None:
    print(f"dlr: {line}", file=sys.stderr, flush=True)
