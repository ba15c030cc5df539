"""Digests of asset folders, read anew only where a file's size or time has changed."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from common.errors import AssetError
from common.files import user_cache_folder
from common.json_files import read_sealed, write_sealed
from common.manifest import file_sha256
from simulation.assets.embedded import ROBOT_FILE
from simulation.assets.published import PUBLISHED_DIGEST, published_files

_RULES = "2"
"""Changes with what a digest is made from, so that remembered ones are not believed."""


def folder_digest(folder: Path, check: Callable[[Path], None] | None = None) -> str:
    """Return the digest of a folder, from the cache while no file's size or time has changed.

    Args:
        folder: the folder.
        check: called whenever the digest is made anew; what it raises keeps it from being made.

    Raises:
        AssetError: a file cannot be read, or the cache folder cannot be written.
    """
    with _readable(folder):
        stats = [(name, file.stat()) for name, file in _files(folder)]
    listing = "".join(f"{name}\0{stat.st_size}\0{stat.st_mtime_ns}\n" for name, stat in stats)
    signature = sha256(f"{_RULES}\n{listing}".encode())
    record = cache_folder() / "digests" / f"{sha256(str(folder).encode())[:16]}.json"
    known = _remembered(record)
    if known.get("signature") == signature and known.get("checked", False) >= (check is not None):
        return str(known["digest"])
    if check is not None:
        check(folder)
    digest = read_digest(folder)
    known = {"signature": signature, "digest": digest, "checked": check is not None}
    write_sealed(record, known)
    return digest


def _remembered(record: Path) -> dict[str, Any]:
    """Return what is remembered of a folder; nothing where the file is missing or damaged."""
    try:
        return read_sealed(record, "a remembered digest", AssetError, "it is made anew")
    except AssetError:
        return {}


def read_digest(folder: Path) -> str:
    """Read every file and return the digest of what a folder holds.

    Where every published file is as it was published and nothing of the folder takes its place,
    that of the published files; files beside them then change nothing.

    Raises:
        AssetError: a file cannot be read.
    """
    with _readable(folder):
        hashes = _hash_files(folder)
    own = {name: hashes[name] for name in published_files() if name in hashes}
    if ROBOT_FILE not in hashes and listing_digest(own) == PUBLISHED_DIGEST:
        return PUBLISHED_DIGEST
    return listing_digest(hashes)


def listing_digest(hashes: Mapping[str, str]) -> str:
    """Return the SHA-256 over the sorted (path, SHA-256 of content)."""
    lines: Iterable[str] = (f"{name}\0{hashes[name]}\n" for name in sorted(hashes))
    return sha256("".join(lines).encode())


def sha256(content: bytes) -> str:
    """Return the SHA-256 of bytes."""
    return hashlib.sha256(content).hexdigest()


def cache_folder() -> Path:
    """Return the folder in the user's cache that packs and their digests lie in.

    Raises:
        AssetError: it cannot be made or written.
    """
    folder = user_cache_folder() / "assets"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise AssetError(
            f"cannot make the cache folder {folder}: {error.strerror}. Set $XDG_CACHE_HOME to a "
            "folder that can be written."
        ) from error
    if not os.access(folder, os.W_OK):
        raise AssetError(
            f"cannot write to the cache folder {folder}. Set $XDG_CACHE_HOME to a folder that can "
            "be written."
        )
    return folder


@contextmanager
def _readable(folder: Path) -> Iterator[None]:
    """Name the file of a folder that cannot be read, such as a link to nothing."""
    try:
        yield
    except OSError as error:
        raise AssetError(
            f"cannot read {error.filename} of the asset folder {folder}: {error.strerror}. Copy "
            "the folder again, with what its links lead to."
        ) from error


def _files(folder: Path) -> list[tuple[str, Path]]:
    """All files below the folder but hidden ones, by relative POSIX path, sorted."""
    found = []
    for base, folders, files in os.walk(folder, followlinks=True):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in files:
            if not name.startswith("."):
                file = Path(base) / name
                found.append((file.relative_to(folder).as_posix(), file))
    return sorted(found)


def _hash_files(folder: Path) -> dict[str, str]:
    return {name: file_sha256(file) for name, file in _files(folder)}
