"""Writing files: each is there whole or not at all, and a failure is one clear error."""

from __future__ import annotations

import errno
import json
import os
import re
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from common.errors import DlrError, OutputError, StorageError

_REFUSALS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG)
"""What a disk answers that is full, over its quota or read-only, or takes no file so large."""


def storage_fault(error: BaseException) -> str | None:
    """Return in words why a disk takes nothing more; None for any other error.

    Libraries that write by themselves (HDF5, TensorFlow, safetensors) have errors of their own,
    without the system's number but with its words.
    """
    if isinstance(error, OSError) and error.errno is not None:
        return os.strerror(error.errno) if error.errno in _REFUSALS else None
    text = str(error)
    return next((words for words in map(os.strerror, _REFUSALS) if words in text), None)


@contextmanager
def output_errors(path: Path) -> Iterator[None]:
    """Give any failure to write `path` inside, whichever library meets it, one clear error.

    Raises:
        StorageError: the disk is full, over its quota or read-only.
        OutputError: the system has another reason.
    """
    try:
        yield
    except DlrError:
        raise
    except Exception as error:
        if reason := storage_fault(error):
            raise StorageError(
                f"cannot write to {path}: {reason}; make room or choose another folder, and the "
                "same command goes on"
            ) from error
        if isinstance(error, OSError) or "(os error " in str(error):  # (Rust's words)
            reason = getattr(error, "strerror", None) or str(error)
            raise OutputError(
                f"cannot write to {path}: {reason}; choose another folder or make room"
            ) from error
        raise


_PROTOCOL = re.compile(r"[a-z][a-z0-9+.-]+:")
"""What a path begins with that was made of an address, such as gs://bucket."""
_NAME = re.compile(r"[\w+=@-][\w.+=@-]{0,199}")


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path` that takes its place once it has been written.

    After an exception, SIGKILL or a power cut `path` is what it was before. Missing folders are
    made.

    Raises:
        OutputError: the file cannot be written.
    """
    writer = f"{os.getpid()}-{threading.get_ident()}"
    temporary = path.with_name(f".{path.name}.{writer}.tmp")
    with output_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield temporary
            with temporary.open("rb+") as file:
                os.fsync(file.fileno())
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file with `atomic_write`."""
    with atomic_write(path) as temporary:
        temporary.write_bytes(content)


def write_text(path: Path, text: str) -> None:
    """Write a UTF-8 file with `atomic_write`."""
    write_bytes(path, text.encode())


def write_json(path: Path, content: Any) -> None:
    """Write indented JSON, keys sorted, with `atomic_write`."""
    write_text(path, json.dumps(content, indent=2, sort_keys=True) + "\n")


def append_bytes(path: Path, content: bytes, sync: bool = True) -> None:
    """Add to a file's end all of `content` or nothing; with `sync` it is then safe on disk.

    Raises:
        OutputError: the file cannot be written; it ends where it ended before.
    """
    with output_errors(path), path.open("ab", buffering=0) as file:
        end, left = file.tell(), memoryview(content)
        try:
            while left:
                left = left[file.write(left) :]
            if sync:
                os.fsync(file.fileno())
        except OSError:
            file.truncate(end)
            raise


def check_name(name: object, what: str, error: type[DlrError]) -> str:
    """Return a name that a file or folder may be given: it stays in the folder that it is put in.

    Args:
        name: what was read or asked for.
        what: what it names, for the message.
        error: what is raised.

    Raises:
        DlrError: `error`: it is empty, hidden, too long, no text, or may lead elsewhere.
    """
    if isinstance(name, str) and _NAME.fullmatch(name):
        return name
    raise error(
        f"{what} is named {str(name)[:80]!r}, which may lead out of its folder: letters, digits "
        "and ._+=@- are allowed, a dot not first"
    )


def files_below(folder: Path) -> Iterator[Path]:
    """Yield the files of a folder and of all below it, in no order; links are followed.

    Data lies where there is room for it, and what is linked to is entered once.
    """
    entered: set[Path] = set()
    for here, folders, names in folder.walk(follow_symlinks=True):
        if (place := here.resolve()) in entered:
            folders.clear()
            continue
        entered.add(place)
        yield from (here / name for name in names)


def follow_umask(path: Path) -> None:
    """Give a file, or all files below a folder, the permissions that new files get here.

    Some libraries, safetensors among them, make files that nobody else can read.
    """
    folder = path if path.is_dir() else path.parent
    probe = folder / f".mode-probe-{os.getpid()}"
    probe.touch()
    mode = stat.S_IMODE(probe.stat().st_mode)
    probe.unlink()
    for file in path.rglob("*") if path.is_dir() else (path,):
        if file.is_file():
            file.chmod(mode)


def ensure_writable(folder: Path) -> Path:
    """Create `folder` and return it.

    Raises:
        OutputError: it cannot be created or written, or is an address elsewhere.
    """
    if _PROTOCOL.fullmatch(folder.parts[0] if folder.parts else ""):
        raise OutputError(
            f"{folder} is an address elsewhere, and this is written on this machine: give a folder "
            "here; `dlr publish` sends a dataset from there"
        )
    with output_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / f".write-probe-{os.getpid()}-{threading.get_ident()}"
        probe.touch()
        probe.unlink()
    return folder


def user_cache_folder() -> Path:
    """Return this project's cache folder: `$XDG_CACHE_HOME/dlr-vla`, else `~/.cache/dlr-vla`."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "dlr-vla"
