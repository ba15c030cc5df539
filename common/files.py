"""Writing files: each is there whole or not at all, and a failure is one clear error."""

from __future__ import annotations

import json
import os
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from common.errors import DlrError, OutputError


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
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield temporary
            with temporary.open("rb+") as file:
                os.fsync(file.fileno())
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
    except DlrError:
        raise
    except OSError as error:
        raise OutputError(
            f"cannot write {path}: {error.strerror or error}; choose another folder or make room"
        ) from error


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
        OutputError: it cannot be created or written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / f".write-probe-{os.getpid()}"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise OutputError(
            f"cannot write to {folder}: {error.strerror}. Choose another output folder."
        ) from error
    return folder


def user_cache_folder() -> Path:
    """Return this project's cache folder: `$XDG_CACHE_HOME/dlr-vla`, else `~/.cache/dlr-vla`."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "dlr-vla"
