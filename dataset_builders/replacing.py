"""A dataset's folder: what killed builds have left beside it, and how another takes its place."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from common.files import output_errors

_UNFINISHED = "incomplete."
"""Beginning of the name that TFDS gives to a folder until it is whole."""
_REPLACED = f"{_UNFINISHED}replaced_"
_WORK = "unfinished_"
"""Beginning of the name of the folder that a build works in."""


def work_folder(folder: Path) -> Path:
    """Return where a dataset's build keeps what it has finished, for the next one to go on."""
    return folder.with_name(f"{_WORK}{folder.name}")


def remove_unfinished(folder: Path) -> None:
    """Remove what killed builds of a dataset have left; the caller has the dataset's lock."""
    for left in folder.parent.glob(f"{_UNFINISHED}*_{folder.name}"):
        if not left.name.startswith(_REPLACED):
            shutil.rmtree(left)


def remove_work(folder: Path) -> None:
    """Remove the folder that a build worked in, once the dataset is whole."""
    work = work_folder(folder)
    if work.exists():
        shutil.rmtree(work)


@contextmanager
def making_way(folder: Path, replace: bool) -> Iterator[None]:
    """Set a dataset aside, if it is to be replaced, until another is in its place.

    If there is none in the end, or a build before was killed, the old one is put back.

    Args:
        folder: the dataset's folder, whose lock the caller has.
        replace: whether a dataset that is there makes way.

    Raises:
        OutputError: the folder beside cannot be written.
    """
    aside = folder.with_name(f"{_REPLACED}{folder.name}")
    with output_errors(folder):
        _settle(folder, aside)
        if replace and folder.exists():
            folder.rename(aside)
        try:
            yield
        finally:
            _settle(folder, aside)


def _settle(folder: Path, aside: Path) -> None:
    """Put back what was set aside if nothing took its place; else remove it."""
    if not aside.exists():
        return
    if folder.exists():
        shutil.rmtree(aside)
    else:
        aside.rename(folder)
