"""Names that may be a folder here or a repository of the Hugging Face hub."""

from __future__ import annotations

from pathlib import Path


def why_no_folder(name: str) -> str | None:
    """Return why a name cannot be had if it is meant as a path and there is no such folder.

    Meant as a path is what begins with `.`, `~` or `/`, has more than one slash, or lies in a
    folder that exists; the hub is not asked for these. None for a folder, and for what may be a
    repository's name.
    """
    path = Path(name)
    if path.is_dir():
        return None
    if path.is_file():
        return f"{name} is a file: give the folder that it lies in"
    nested = "/" in name and path.parent.is_dir()
    if name.startswith((".", "~", "/")) or name.count("/") > 1 or nested:
        return f"there is no folder {name}: check the path"
    return None
