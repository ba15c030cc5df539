"""LIBERO's own assets: the files that were published, and how a folder of them is told apart."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from simulation.assets.embedded import ROBOT_FILE

PUBLISHED_NAME = "libero"
"""Name of a pack that holds every published file as it was published, and what asks for one."""

PUBLISHED_DIGEST = "84eeb9ea1a476793d5be92ff681032d70b25193fb5c4c30bd39506969277ce3e"
"""Digest of such a pack: SHA-256 over the sorted (path, SHA-256 of content) of these files."""


@dataclass(frozen=True)
class PublishedFile:
    """One file of LIBERO's repository at commit 8f1084e that the 130 tasks use."""

    blob: str
    """Its git blob id."""
    wheel: int
    """Number of the wheel, from 1, that brings it."""


@functools.cache
def published_files() -> Mapping[str, PublishedFile]:
    """Return path -> what is known of the file there, for each of the 344."""
    lines = Path(__file__).with_name("published.txt").read_text().splitlines()
    rows = (line.split("  ", 2) for line in lines)
    return {name: PublishedFile(blob, int(wheel)) for blob, wheel, name in rows}


def blob_id(path: Path) -> str:
    """Return the git blob id of a file: SHA-1 of a header with its size, and its content."""
    content = path.read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


def differing(folder: Path, files: Mapping[str, PublishedFile]) -> list[str]:
    """Return those of `files` that a folder lacks or holds with another content."""
    return [
        name
        for name, file in files.items()
        if not (folder / name).is_file() or blob_id(folder / name) != file.blob
    ]


def unpublished(folder: Path) -> list[str]:
    """Return what of a folder is not LIBERO's own: files that are missing, differ, or replace it.

    Files that no task uses do not count; other looks of the robot do.
    """
    looks = [ROBOT_FILE] if (folder / ROBOT_FILE).is_file() else []
    return differing(folder, published_files()) + looks
