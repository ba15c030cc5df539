"""One writer at a time: an output is locked while a process writes it, and by whom is told."""

from __future__ import annotations

import datetime
import fcntl
import json
import os
import shlex
import socket
import sys
import time
import weakref
from pathlib import Path
from typing import Any

from common.errors import BusyError
from common.files import ensure_writable, output_errors

LOCK = ".lock"
"""Name of a locked folder's lock file, and the ending of that beside a locked file."""
_LONGEST_COMMAND = 200
_PATIENCE_S = 1.0
"""How long the owner of a lock may take to write down who it is."""


def lock_file(path: Path) -> Lock:
    """Lock a file, or a folder that is to appear whole, by a lock file beside it; see `Lock`."""
    return Lock(path, path.with_name(f".{path.name}{LOCK}"))


def lock_folder(folder: Path) -> Lock:
    """Lock a folder, which is made if need be, by a lock file in it; see `Lock`."""
    return Lock(folder, folder / LOCK)


class Lock:
    """The right to write an output, held until it is released, or its process ends anyhow.

    The system takes the lock from a process that dies, so that the lock file that a killed one
    leaves is no obstacle. A process that this one forks does not keep the lock.

    Args:
        output: what is locked.
        path: the lock file; it holds process, host, command and time of the owner, and is
            removed in the end.

    Raises:
        BusyError: another process, or another part of this one, has the lock.
        OutputError: the lock file cannot be written.
    """

    def __init__(self, output: Path, path: Path) -> None:
        ensure_writable(path.parent)
        with output_errors(path):
            descriptor = _acquire(path)
            if descriptor is None:
                raise BusyError(_describe(output, path))
            self._descriptor = descriptor
            self._finalizer = weakref.finalize(self, _release, descriptor, path, os.getpid())
            _held.add(self)
            try:
                os.ftruncate(descriptor, 0)
                os.write(descriptor, json.dumps(_identity()).encode())
            except OSError:
                self.release()
                raise

    def release(self) -> None:
        """Let others write; a second call does nothing."""
        _held.discard(self)
        self._finalizer()

    def leave_to_parent(self) -> None:
        """Give up a forked process's copy, without which its parent's would outlive the parent."""
        self._finalizer.detach()
        os.close(self._descriptor)

    def __enter__(self) -> Lock:
        """Return the lock itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Release it."""
        self.release()


_held: weakref.WeakSet[Lock] = weakref.WeakSet()


def _leave_all_to_parent() -> None:
    for lock in tuple(_held):
        lock.leave_to_parent()
    _held.clear()


os.register_at_fork(after_in_child=_leave_all_to_parent)


def _acquire(path: Path) -> int | None:
    """Return the descriptor of the locked file; None if another has it.

    An owner removes the file before it lets go, so the file locked may be no longer the one there.
    """
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(os.fstat(descriptor), path.stat()):
                return descriptor
        except BlockingIOError:
            os.close(descriptor)
            return None
        except FileNotFoundError:
            pass
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)


def _release(descriptor: int, path: Path, owner: int) -> None:
    if os.getpid() == owner:
        path.unlink(missing_ok=True)
        os.close(descriptor)


def _identity() -> dict[str, Any]:
    """Return who this process is; one that works for a command has that command's words."""
    program, *arguments = sys.argv or [sys.executable]
    command = shlex.join([Path(program).name, *arguments])
    return {
        "pid": os.getpid(),
        "host": socket.gethostname(),
        "command": command[:_LONGEST_COMMAND],
        "since": datetime.datetime.now().astimezone().isoformat(" ", "seconds"),
    }


def _describe(output: Path, path: Path) -> str:
    """Return the one line that names an output's owner."""
    owner = _read_owner(path)
    who = "another process"
    if owner:
        who = (
            f"process {owner['pid']} on {owner['host']} (`{owner['command']}`), since "
            f"{owner['since']}"
        )
    return (
        f"{output} is being written by {who}: wait until that has ended, or choose another output"
    )


def _read_owner(path: Path) -> dict[str, Any] | None:
    """Return what the owner wrote, for which it may need a moment; None if that is unreadable."""
    deadline = time.monotonic() + _PATIENCE_S
    while time.monotonic() < deadline:
        try:
            content = json.loads(path.read_bytes())
            return content if content.keys() >= {"pid", "host", "command", "since"} else None
        except FileNotFoundError:
            return None
        except ValueError:
            time.sleep(0.02)
    return None
