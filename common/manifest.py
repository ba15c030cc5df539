"""The digests of a folder's files, kept beside them: what was copied badly is seen before use."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

from common.errors import DlrError
from common.json_files import read_sealed, write_sealed

MANIFEST = "digests.json"
"""The file that names all others of a folder with their sha256."""

SUMS = "SHA256SUMS"
"""The file that `sha256sum` writes of files that others made, if someone asks it to."""


def file_sha256(path: Path) -> str:
    """Return the sha256 of a file, read once from start to end."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_manifest(folder: Path, names: Iterable[str] | None = None) -> None:
    """Note the digests of files of a folder; by default of all that it holds, at any depth."""
    if names is None:
        files = (path for path in folder.rglob("*") if path.is_file() and path.name != MANIFEST)
        names = (path.relative_to(folder).as_posix() for path in files)
    write_sealed(folder / MANIFEST, {"files": {n: file_sha256(folder / n) for n in names}})


def check_manifest(folder: Path, error: type[DlrError], remedy: str) -> dict[str, str]:
    """Compare a folder's files with its manifest, if it has one; each is read once.

    Args:
        folder: the folder.
        error: what is raised.
        remedy: what to do with a damaged folder.

    Returns:
        Name -> sha256 of the files that were compared.

    Raises:
        DlrError: `error`: a file is missing or is not what was written, or the manifest is not.
    """
    if not (folder / MANIFEST).exists():
        return {}
    listed = read_sealed(folder / MANIFEST, "a list of digests", error, remedy).get("files")
    if not isinstance(listed, dict):
        raise error(f"{folder / MANIFEST} is not a list of digests: {remedy}")
    for name, digest in listed.items():
        path = folder / name
        if name.startswith("/") or ".." in Path(name).parts:
            raise error(f"{folder / MANIFEST} names {name!r}, which is not in its folder: {remedy}")
        if not path.is_file():
            raise error(f"{path} is missing, one of {len(listed)} files: {remedy}")
        if file_sha256(path) != digest:
            raise error(f"{path} is damaged (it does not match {MANIFEST}): {remedy}")
    return listed


def check_sums(path: Path, error: type[DlrError], remedy: str) -> None:
    """Compare a file with its line in the `SHA256SUMS` beside it, if there is one.

    Raises:
        DlrError: `error`: it is not the file that the line was written of.
    """
    sums = path.with_name(SUMS)
    lines = sums.read_text(errors="replace").splitlines() if sums.is_file() else []
    for line in lines:
        digest, _, name = line.partition(" ")
        if name[1:] == path.name and digest != file_sha256(path):
            raise error(f"{path} is damaged (it does not match {SUMS}): {remedy}")
