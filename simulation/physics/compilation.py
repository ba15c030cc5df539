"""Says on standard error that a function is being compiled, which takes long and happens once."""

from __future__ import annotations

import sys
import time
from typing import Any

from numba.core import event


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


def _say(line: str) -> None:
    print(f"dlr: {line}", file=sys.stderr, flush=True)
