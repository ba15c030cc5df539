"""LIBERO's assets from primitive shapes: a folder of upstream's layout, written by this code."""

from __future__ import annotations

from pathlib import Path

from simulation.assets.embedded.arenas import arena_xml, arenas
from simulation.assets.embedded.containers import containers
from simulation.assets.embedded.fixtures import fixtures
from simulation.assets.embedded.mjcf import item_xml
from simulation.assets.embedded.packages import packages
from simulation.assets.embedded.robots import ROBOT_FILE, robot_files
from simulation.assets.embedded.shapes import Item
from simulation.assets.embedded.textures import texture_files

__all__ = ["PACK_NAME", "ROBOT_FILE", "Item", "items", "pack_files", "write_embedded_pack"]

PACK_NAME = "embedded-v1"


def items() -> tuple[Item, ...]:
    """Every object of the 130 tasks."""
    return (*containers(), *fixtures(), *packages())


def pack_files() -> dict[str, bytes]:
    """Content of every file of the pack by its path there, sorted by path."""
    files = {item.path: item_xml(item) for item in items()}
    files |= {f"scenes/{arena.name}.xml": arena_xml(arena) for arena in arenas()}
    return dict(sorted((files | robot_files() | texture_files()).items()))


def write_embedded_pack(folder: Path) -> None:
    """Write the pack into a folder, which is made where it is not there.

    Raises:
        OSError: the folder cannot be written.
    """
    for name, content in pack_files().items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
