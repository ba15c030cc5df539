"""The digests of a folder's files, kept beside them: what was copied badly is seen before use."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType

from common.errors import DlrError
from common.files import write_text
from common.json_files import read_sealed, write_sealed

MANIFEST = "digests.json"
"""The file that names all others of a folder with their sha256."""

SUMS = "SHA256SUMS"
"""The file that `sha256sum` writes of files that others made, if someone asks it to."""


def file_sha256(path: Path) -> str:
    """Return the sha256 of a file, read once from start to end."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digest_files(
    files: Iterable[Path], folder: Path, known: Mapping[str, str] = MappingProxyType({})
) -> str:
    """Return the sha256 of some files of a folder: of their names and contents, in order.

    Args:
        files: the files.
        folder: where they are.
        known: name in the folder -> sha256 of those that need not be read.
    """
    whole = hashlib.sha256()
    for file in sorted(set(files)):
        content = known.get(file.relative_to(folder).as_posix()) or file_sha256(file)
        whole.update(f"{file.name} {content}\n".encode())
    return whole.hexdigest()


def write_manifest(folder: Path, names: Iterable[str] | None = None) -> None:
    """Note the digests of files of a folder; by default of all that it holds, at any depth."""
    if names is None:
        files = (path for path in folder.rglob("*") if path.is_file() and path.name != MANIFEST)
        names = (path.relative_to(folder).as_posix() for path in files)
    write_sealed(folder / MANIFEST, {"files": {n: file_sha256(folder / n) for n in names}})


def check_manifest(
    folder: Path, error: type[DlrError], remedy: str, required: bool = False
) -> dict[str, str]:
    """Compare a folder's files with its manifest, if it has one; each is read once.

    Args:
        folder: the folder.
        error: what is raised.
        remedy: what to do with a damaged folder.
        required: whether one without a manifest is damaged.

    Returns:
        Name -> sha256 of the files that were compared.

    Raises:
        DlrError: `error`: a file is missing or is not what was written, or the manifest is not.
    """
    if not required and not (folder / MANIFEST).exists():
        return {}
    listed = read_sealed(folder / MANIFEST, "a list of digests", error, remedy).get("files")
    if not isinstance(listed, dict):
        raise error(f"{folder / MANIFEST} is not a list of digests: {remedy}")
    _compare(folder, listed, MANIFEST, error, remedy)
    return listed


def check_whole(folder: Path, error: type[DlrError], remedy: str, required: bool = False) -> None:
    """Compare all files of a folder with its manifest and its `SHA256SUMS`; each is read once.

    Args: as for `check_manifest`.

    Raises:
        DlrError: `error`: a file is missing or is not what was written.
    """
    listed, sums = check_manifest(folder, error, remedy, required), read_sums(folder)
    others = {name: sums[name] for name in sorted(sums.keys() - listed.keys())}
    _compare(folder, others, SUMS, error, remedy)


def _compare(
    folder: Path, listed: Mapping[str, str], source: str, error: type[DlrError], remedy: str
) -> None:
    """Read each of a folder's listed files (name -> sha256); `source` is what lists them."""
    for name, digest in listed.items():
        path = folder / name
        if name.startswith("/") or ".." in Path(name).parts:
            raise error(f"{folder / source} names {name!r}, which is not in its folder: {remedy}")
        if not path.is_file():
            raise error(f"{path} is missing, one of {len(listed)} files: {remedy}")
        if file_sha256(path) != digest:
            raise error(f"{path} is damaged (it does not match {source}): {remedy}")


def check_sums(path: Path, error: type[DlrError], remedy: str) -> None:
    """Compare a file with its line in the `SHA256SUMS` beside it, if there is one.

    Raises:
        DlrError: `error`: it is not the file that the line was written of.
    """
    noted = read_sums(path.parent).get(path.name)
    if noted is not None and noted != file_sha256(path):
        raise error(f"{path} is damaged (it does not match {SUMS}): {remedy}")


def read_sums(folder: Path) -> dict[str, str]:
    """Return name -> sha256 of the lines of a folder's `SHA256SUMS`; none where it has none."""
    sums = folder / SUMS
    lines = sums.read_text(errors="replace").splitlines() if sums.is_file() else []
    parts = (line.partition(" ") for line in lines)
    return {name[1:]: digest for digest, _, name in parts if name[1:]}


def note_sums(folder: Path, sums: Mapping[str, str]) -> None:
    """Add lines (name -> sha256) to a folder's `SHA256SUMS`, in place of those of the same names.

    Raises:
        OutputError: it cannot be written; it is what it was before.
    """
    lines = {**read_sums(folder), **sums}
    text = "".join(f"{digest}  {name}\n" for name, digest in sorted(lines.items()))
    write_text(folder / SUMS, text)
