"""Writing files: each is there whole or not at all, and a failure is one clear error."""

from __future__ import annotations

import json
import os
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from common.errors import DlrError, OutputError

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
