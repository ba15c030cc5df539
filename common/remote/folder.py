"""Folders elsewhere: what lies in them, their small files here, and whole copies of them."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import fsspec
import google_crc32c
from tqdm import tqdm

from common.errors import DatasetError
from common.files import output_errors, user_cache_folder, write_bytes
from common.locks import lock_folder
from common.remote.addresses import (
    ETAG,
    address_errors,
    content_digest,
    content_version,
    is_remote,
    open_address,
    retried,
)
from common.remote.blocks import RemoteFile, fetch_range

_PART = 8 * 2**20
"""Bytes that are copied at once, of each file."""


def cache_of(address: str) -> Path:
    """Return the folder in the user's cache that belongs to an address."""
    key = hashlib.sha256(address.rstrip("/").encode()).hexdigest()[:16]
    return user_cache_folder() / "datasets" / key


def local_path(address: str | os.PathLike[str]) -> Path:
    """Return the path that an address on this machine stands for; `file://` is left away."""
    return Path(fsspec.core.strip_protocol(str(address)) if "://" in str(address) else address)


def local_folder(
    address: str, first: Sequence[str], others: Callable[[Path], Sequence[str]]
) -> Path:
    """Return the folder at an address, or a copy of its files in the user's cache folder.

    Args:
        address: a path, or anything that `fsspec` opens, such as `gs://bucket/folder`.
        first: files that are always fetched anew.
        others: from the copy that holds `first` to the names of the remaining files; one that is
            there already as the server tells it is kept.

    Raises:
        BusyError: another process is copying from the address.
        DatasetError: a file is not there, or cannot be read.
        OutputError: the cache cannot be written.
    """
    if not is_remote(address):
        return local_path(address)
    files = list_folder(address)
    _check_there(address, first, files)
    target = small_copy(address, files, first)
    names = others(target)
    _check_there(address, names, files)
    missing = [name for name in names if not _is_here(files[name], target / name)]
    if missing:  # (a cache that can only be read serves as it is)
        with lock_folder(target):
            for name in tqdm(missing, desc=f"copying {address}", unit="file", disable=None):
                _copy_file(files[name], target / name)
    return target


def _check_there(address: str, names: Sequence[str], files: Mapping[str, RemoteFile]) -> None:
    if absent := [name for name in names if name not in files]:
        raise DatasetError(
            f"cannot read {address}: it holds no {absent[0]}; nothing was published there, or its "
            "upload has not ended: check the address, or run `dlr publish` again"
        )


def list_folder(address: str) -> dict[str, RemoteFile]:
    """Return the files of a folder elsewhere, at any depth: name, with `/`, -> file.

    Raises:
        DatasetError: the server cannot be asked, or names a file outside.
    """
    address = address.rstrip("/")
    with address_errors(address):
        filesystem, root = open_address(address)
        try:
            found = retried(lambda: filesystem.find(root, detail=True))
        except FileNotFoundError:
            return {}
    base, files = root.strip("/"), {}
    for path, info in found.items():
        name = path.strip("/").removeprefix(base).strip("/")
        if info.get("type") == "file" and name and not path.endswith("/"):
            if ".." in Path(name).parts:
                raise DatasetError(f"{address}/{name} leads out of its folder: do not use it")
            files[name] = _remote_file(f"{address}/{name}", info)
    return files


def find_file(address: str) -> RemoteFile | None:
    """Return the file at an address as its server tells it, or None if there is none.

    Raises:
        DatasetError: the server cannot be asked.
    """
    with address_errors(address):
        filesystem, path = open_address(address)
        try:
            return _remote_file(address, retried(lambda: filesystem.info(path)))
        except FileNotFoundError:
            return None


def _remote_file(address: str, info: Mapping[str, Any]) -> RemoteFile:
    return RemoteFile(address, int(info["size"]), content_version(info), content_digest(info))


def small_copy(address: str, files: Mapping[str, RemoteFile], names: Sequence[str]) -> Path:
    """Return a folder in the user's cache that holds these files of a folder elsewhere, anew.

    Raises:
        DatasetError: they cannot be read.
        OutputError: the cache cannot be written.
    """
    target = cache_of(address)
    for name in names:
        with address_errors(files[name].address):
            content = fetch_range(files[name].address, 0, files[name].size)
        if not (target / name).is_file() or (target / name).read_bytes() != content:
            write_bytes(target / name, content)
    return target


def copy_folder(
    address: str, target: Path, last: Callable[[str], int] | None = None
) -> dict[str, RemoteFile]:
    """Copy a folder elsewhere to this machine, each file when it is whole and its digest right.

    A killed copy goes on where it stopped: files that are here are kept if they have the size and
    digest that the server tells, and so are the parts of others. Where any are not, those that
    come last are taken away first, so that no mixture with an earlier copy looks whole. No other
    process can copy to the same place meanwhile.

    Args:
        address: the folder.
        target: where to put its files.
        last: from a file's name to its place in the order, 0 for what nothing waits for; those of a
            place keep theirs by name.

    Returns:
        The files, by name; none if nothing is at the address.

    Raises:
        BusyError: another process is copying to `target`.
        DatasetError: they cannot be read, or do not arrive as they are.
        OutputError: `target` cannot be written.
    """
    files = list_folder(address)
    if not files:
        return files
    names = sorted(files, key=lambda name: (last(name) if last else 0, name))
    total = sum(file.size for file in files.values())
    with (
        lock_folder(target),
        tqdm(total=total, unit="B", unit_scale=True, desc="copying", disable=None) as bar,
    ):
        missing = {name for name in names if not _is_here(files[name], target / name)}
        if missing and last:
            marks = {name for name in names if last(name)}
            missing |= marks
            with output_errors(target):
                for name in marks:
                    (target / name).unlink(missing_ok=True)
        for name in names:
            if name in missing:
                _copy_file(files[name], target / name)
            bar.update(files[name].size)
    return files


def _copy_file(file: RemoteFile, target: Path) -> None:
    """Copy a file, which goes on in its part; the folder that it is of is locked."""
    key = hashlib.sha256(file.version.encode()).hexdigest()[:12]
    part = target.with_name(f".{target.name}.{key}.part")
    with output_errors(part):
        target.parent.mkdir(parents=True, exist_ok=True)
        with part.open("ab") as stream:
            while (here := stream.tell()) < file.size:
                with address_errors(file.address):
                    content = fetch_range(file.address, here, min(here + _PART, file.size))
                stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        if not _has_arrived(part, file):
            part.unlink()
            raise DatasetError(
                f"{file.address} did not arrive as its server tells, and what came was removed: "
                "run the same command again"
            )
        os.replace(part, target)


def _is_here(file: RemoteFile, target: Path) -> bool:
    """Return whether a copy is proved by its digest; without one it is made anew."""
    return target.is_file() and _is_proved(target, file)


def _has_arrived(part: Path, file: RemoteFile) -> bool:
    """Return whether a copy is what its server tells, which may be the size alone."""
    return part.stat().st_size == file.size if file.digest is None else is_there(part, file)


def is_there(path: Path, file: RemoteFile | None) -> bool:
    """Return whether a file elsewhere is the one here; where no digest tells, it is read back.

    Raises:
        DatasetError: it cannot be read.
    """
    if file is None or path.stat().st_size != file.size:
        return False
    if _is_proved(path, file):
        return True
    untold = file.digest is None or file.digest[0] == ETAG
    return untold and _sha256_there(file) == file_digest(path, "sha256")


def _is_proved(path: Path, file: RemoteFile) -> bool:
    """Return whether a file here has the size and digest of one elsewhere."""
    if file.digest is None or path.stat().st_size != file.size:
        return False
    return file_digest(path, file.digest[0]) == file.digest[1]


def _sha256_there(file: RemoteFile) -> str:
    """Return the sha256 of a file elsewhere, all of which is read."""
    found = hashlib.sha256()
    for start in range(0, file.size, _PART):
        with address_errors(file.address):
            found.update(fetch_range(file.address, start, min(start + _PART, file.size)))
    return found.hexdigest()


def file_digest(path: Path, algorithm: str) -> str:
    """Return a file's digest, hexadecimal; `algorithm` is crc32c, `ETAG` or one of `hashlib`'s."""
    algorithm = "md5" if algorithm == ETAG else algorithm
    with path.open("rb") as stream:
        if algorithm != "crc32c":
            return hashlib.file_digest(stream, algorithm).hexdigest()
        checksum = google_crc32c.Checksum()
        while content := stream.read(_PART):
            checksum.update(content)
        return str(checksum.hexdigest().decode())
