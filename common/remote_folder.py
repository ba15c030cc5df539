"""Folders that may lie elsewhere: copied to the user's cache once, file by file."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import fsspec
from fsspec.implementations.local import LocalFileSystem
from tqdm import tqdm

from common.errors import DatasetError, one_line
from common.files import atomic_write, storage_fault, user_cache_folder


def local_folder(
    address: str, first: Sequence[str], others: Callable[[Path], Sequence[str]]
) -> Path:
    """Return the folder at an address, or a copy of its files in the user's cache folder.

    Args:
        address: a path, or anything that `fsspec` opens, such as `gs://bucket/folder`.
        first: files that are always fetched anew.
        others: from the copy that holds `first` to the names of the remaining files; one that is
            there already with the right size is kept.

    Raises:
        DatasetError: it cannot be read.
    """
    try:
        filesystem, root = fsspec.core.url_to_fs(address)
        if isinstance(filesystem, LocalFileSystem):
            return Path(root)
        return _copy(filesystem, root, cache_of(address), first, others)
    except (OSError, ValueError, ImportError) as error:
        if isinstance(error, DatasetError):
            raise
        raise DatasetError(
            f"cannot read {address} ({error}): check the address, the network and the "
            "credentials, or copy the dataset to this machine"
        ) from error


def cache_of(address: str) -> Path:
    """Return the folder in the user's cache that belongs to an address."""
    key = hashlib.sha256(address.rstrip("/").encode()).hexdigest()[:16]
    return user_cache_folder() / "datasets" / key


def _copy(
    filesystem: Any,
    root: str,
    target: Path,
    first: Sequence[str],
    others: Callable[[Path], Sequence[str]],
) -> Path:
    for name in first:
        _fetch(filesystem, f"{root}/{name}", target / name)
    for name in tqdm(others(target), desc=f"copying {root}", unit="file"):
        source, copy = f"{root}/{name}", target / name
        if not copy.is_file() or copy.stat().st_size != filesystem.size(source):
            _fetch(filesystem, source, copy)
    return target


def _fetch(filesystem: Any, source: str, target: Path) -> None:
    with atomic_write(target) as temporary:
        try:
            filesystem.get_file(source, str(temporary))
        except OSError as error:
            if storage_fault(error):
                raise
            reason = "it is not there" if isinstance(error, FileNotFoundError) else one_line(error)
            raise DatasetError(
                f"cannot read {filesystem.unstrip_protocol(source)} ({reason}): check the address, "
                "the network and the credentials"
            ) from error
