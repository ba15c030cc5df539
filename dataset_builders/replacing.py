"""A dataset's folder: what killed builds have left beside it, and how another takes its place."""

from __future__ import annotations

import shutil
from pathlib import Path

from common.files import output_errors

_UNFINISHED = "incomplete."
"""Beginning of the name that TFDS gives to a folder until it is whole."""
_REPLACED = f"{_UNFINISHED}replaced_"
_WORK = "unfinished_"
"""Beginning of the name of the folder that a build works in."""
_REPLACING = ".replacing_"
"""Beginning of the name of the TFDS data folder of what is to take a dataset's place."""


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


def data_dir_beside(data_dir: Path, folder: Path) -> Path:
    """Return the TFDS data folder, in the dataset's own, where what replaces it is built."""
    return data_dir / f"{_REPLACING}{folder.parent.name}"


def replace(folder: Path, new: Path, beside: Path) -> None:
    """Put a whole dataset in the place of another, whose lock the caller has.

    Args:
        folder: the dataset's folder.
        new: the other's.
        beside: the data folder that the other was built in, which is removed.

    Raises:
        OutputError: the folders cannot be renamed.
    """
    with output_errors(folder):
        folder.rename(_aside(folder))
        new.rename(folder)
        settle(folder)
        shutil.rmtree(beside)


def settle(folder: Path) -> None:
    """End what a killed `replace` began: the old dataset goes, or is put back if it is alone."""
    aside = _aside(folder)
    with output_errors(folder):
        if not aside.exists():
            return
        if folder.exists():
            shutil.rmtree(aside)
        else:
            aside.rename(folder)


def _aside(folder: Path) -> Path:
    return folder.with_name(f"{_REPLACED}{folder.name}")
