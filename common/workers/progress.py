"""How far a work item is, told by its process in a small file that others read."""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from tqdm import tqdm

from common.files import write_text

_INTERVAL_S = 1.0
"""Least time between two writings of one step."""


@dataclass(frozen=True)
class Progress:
    """How far a work item is."""

    name: str
    """The item's."""
    step: str = ""
    """What is done now, such as `reinforce 80%`."""
    done: int = 0
    """Of `total` parts of the step."""
    total: int = 0
    """0 where that is not known."""
    first: int = 0
    """Parts that were done before, which tell nothing about the speed."""
    began: float = 0.0
    """When the item was begun, seconds since the epoch."""
    step_began: float = 0.0
    """When the step was begun, seconds since the epoch."""

    def seconds_left(self, now: float) -> float | None:
        """Return how long the step will take if it goes on so; None where that is not known."""
        made = self.done - self.first
        if made < 1 or not self.total:
            return None
        return (now - self.step_began) * (self.total - self.done) / made


@dataclass
class _Told:
    """The file that this process tells its progress in."""

    path: Path
    progress: Progress
    written: float = 0.0


_told: _Told | None = None


@contextlib.contextmanager
def telling(path: Path, name: str) -> Iterator[None]:
    """Tell in a file, which is there meanwhile, how far this process's work item is."""
    global _told
    now = time.time()
    _told = _Told(path, Progress(name, began=now, step_began=now))
    _write(_told)
    try:
        yield
    finally:
        _told = None
        path.unlink(missing_ok=True)


def tell(step: str, done: int = 0, total: int = 0) -> None:
    """Tell that a step begins; does nothing where nobody asked to be told."""
    if _told is not None:
        _told.progress = replace(
            _told.progress, step=step, done=done, total=total, first=done, step_began=time.time()
        )
        _write(_told)


def _tell_on(done: int, step: str | None = None) -> None:
    """Tell how far the step is, at most once a second."""
    if _told is not None:
        now = _told.progress
        _told.progress = replace(now, done=done, step=now.step if step is None else step)
        if time.time() > _told.written + _INTERVAL_S:
            _write(_told)


def _write(told: _Told) -> None:
    write_text(told.path, json.dumps(asdict(told.progress)))
    told.written = time.time()


def read_progress(folder: Path) -> list[Progress]:
    """Return the progress of all items that are at work, the one begun first at the head.

    Files that others are just replacing are left out.
    """
    found = []
    for path in folder.glob("*.json") if folder.is_dir() else ():
        with contextlib.suppress(FileNotFoundError):
            found.append(Progress(**json.loads(path.read_text())))
    return sorted(found, key=lambda progress: (progress.began, progress.name))


class Bar(tqdm):
    """A progress bar on a terminal, and a step that is told to whoever watches the work item."""

    def __init__(self, desc: str, total: int, initial: int = 0) -> None:
        watched = "TQDM_DISABLE" in os.environ  # by a table, which a bar would tear apart
        super().__init__(total=total, desc=desc, initial=initial, disable=watched or None)
        self._done = initial
        tell(desc, initial, total)

    def update(self, n: float | None = 1) -> bool | None:
        """Go on by `n` parts."""
        self._done += int(n or 0)
        _tell_on(self._done)
        return super().update(n)

    def set_description(self, desc: str | None = None, refresh: bool | None = True) -> None:
        """Say what is done now."""
        _tell_on(self._done, desc)
        super().set_description(desc, refresh)


def clear_progress(folder: Path) -> None:
    """Remove what killed items have left; no item may be at work."""
    for path in folder.glob("*.json") if folder.is_dir() else ():
        path.unlink(missing_ok=True)
