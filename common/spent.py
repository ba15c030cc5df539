"""CPU seconds of a piece of work, those of processes that were killed at it included."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from common.errors import DlrError, OutputError
from common.files import write_json
from common.json_files import read_json

_EVERY_S = 10.0
"""Seconds between two notes; what a killed process has spent since its last one is lost."""


@contextmanager
def spending(path: Path) -> Iterator[Callable[[], float]]:
    """Note in a small file what a piece of work takes, beside what earlier tries of it took.

    Args:
        path: the file, which stays until someone removes it.

    Yields:
        What gives the CPU seconds of this process since now, and of all tries before it.

    Raises:
        DlrError: the file is damaged.
        OutputError: it cannot be written.
    """
    before, began, ended = spent(path), time.process_time(), threading.Event()

    def total() -> float:
        return before + time.process_time() - began

    def note() -> None:
        write_json(path, {"cpu_seconds": total()})

    def keep() -> None:
        while not ended.wait(_EVERY_S):
            try:
                note()
            except OutputError:
                return  # the work itself meets the full disk, and the last note below tells it

    keeper = threading.Thread(target=keep, daemon=True)
    keeper.start()
    try:
        yield total
    finally:
        ended.set()
        keeper.join()
        note()


def spent(path: Path) -> float:
    """Return the CPU seconds that a file of `spending` notes; 0 where there is none.

    Raises:
        DlrError: it is damaged.
    """
    if not path.exists():
        return 0.0
    remedy = "delete it: only what the work took is lost"
    try:
        return float(read_json(path, "what a piece of work took", DlrError, remedy)["cpu_seconds"])
    except (KeyError, TypeError, ValueError) as error:
        raise DlrError(f"{path} does not say what a piece of work took: {remedy}") from error
