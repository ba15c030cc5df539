"""What a folder must hold for all 130 tasks to load from it."""

from __future__ import annotations

import functools
from pathlib import Path
from xml.etree import ElementTree

from common.errors import AssetError
from simulation.assets.embedded import ROBOT_FILE, pack_files

STYLE_TEXTURES = (
    "textures/gray_ceramic_tile.png",
    "textures/light-gray-floor-tile.png",
    "textures/light-gray-plaster.png",
    "textures/seamless_wood_planks_floor.png",
    "textures/yellow_linen_wall_texture.png",
)
"""Pictures that upstream's problem classes ask for by name, beside those the MJCF files name."""

_REMEDY = (
    "Give the folder that holds `articulated_objects` and `scenes`, `libero` for LIBERO's own "
    "(`dlr assets install` fetches them), or `embedded` for the embedded pack."
)


@functools.cache
def required_files() -> tuple[str, ...]:
    """The files without which not all of the 130 tasks load; the robot's looks are our own."""
    scenes = (name for name in pack_files() if name.endswith(".xml") and name != ROBOT_FILE)
    return (*scenes, *STYLE_TEXTURES)


def missing_files(folder: Path) -> list[str]:
    """Return the required files that a folder lacks."""
    return [name for name in required_files() if not (folder / name).is_file()]


def check_layout(folder: Path) -> None:
    """Check that a folder has the required files and all that they refer to.

    Raises:
        AssetError: it does not; the message names a file and says what to do.
    """
    if not folder.is_dir():
        raise AssetError(f"the LIBERO assets folder {folder} is not there. {_REMEDY}")
    missing = missing_files(folder)
    if missing:
        raise AssetError(f"{folder} lacks {missing[0]} ({len(missing)} files in all). {_REMEDY}")
    for name in required_files():
        if not name.endswith(".xml"):
            continue
        file = folder / name
        try:
            root = ElementTree.parse(file).getroot()
        except ElementTree.ParseError as error:
            raise AssetError(f"{file} is not an MJCF file: {error}. Fetch it again.") from error
        for element in root.iter():
            reference = element.get("file")
            if reference and not (file.parent / reference).is_file():
                raise AssetError(f"{file} refers to {reference}, which is missing. {_REMEDY}")
