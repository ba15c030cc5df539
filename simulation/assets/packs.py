"""Which asset packs are on this machine, and which one `resolve_assets` takes, and why."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from common.errors import AssetError
from simulation.assets import resolve as assets
from simulation.assets.resolve import ASSETS_VARIABLE, HUB_REPOSITORY, AssetPack
from simulation.tasks import libero_root


@dataclass(frozen=True)
class Place:
    """One place where a pack may lie."""

    source: str
    """Who put it there, or how it was named."""
    folder: Path | None
    """The folder; None where none is named."""
    state: str
    """`whole`, or what is the matter."""
    pack: AssetPack | None = None
    """The pack, if it is whole."""
    asked: bool = False
    """Whether the user named it: then it is taken, or an error."""


def list_places(path: str | Path | None = None) -> list[Place]:
    """Return where packs are looked for, in `resolve_assets`'s order, and what is there.

    Args:
        path: a folder that the user names.

    Raises:
        AssetError: the user's cache folder cannot be written.
    """
    variable = os.environ.get(ASSETS_VARIABLE)
    places = []
    if path is not None:
        places.append(_place("given", Path(path), asked=True))
    if variable:
        places.append(_place(f"${ASSETS_VARIABLE}", Path(variable), asked=True))
    else:
        places.append(Place(f"${ASSETS_VARIABLE}", None, "not set"))
    places.append(_place("hf-libero's folder", libero_root() / "assets"))
    places.append(_place("hf-libero's download", assets.UPSTREAM_DOWNLOAD))
    snapshot = _hub_snapshot()
    if snapshot is None:
        places.append(Place(f"hub ({HUB_REPOSITORY})", None, "not in the hub's cache"))
    else:
        places.append(_place("hub's cache", snapshot))
    embedded = assets.embedded_pack()
    return [*places, Place("embedded", embedded.path, "whole", embedded)]


def chosen_place(places: list[Place]) -> Place:
    """Return the place whose pack `resolve_assets` takes: the first named, else the first whole."""
    return next(place for place in places if place.asked or place.pack is not None)


def _place(source: str, folder: Path, asked: bool = False) -> Place:
    folder = folder.expanduser().resolve()
    if not folder.is_dir():
        return Place(source, folder, "not there", asked=asked)
    try:
        pack = assets.resolve_assets(folder)
    except AssetError as error:
        return Place(source, folder, str(error).split(". ")[0], asked=asked)
    return Place(source, folder, "whole", pack, asked)


def _hub_snapshot() -> Path | None:
    """Return the snapshot of the published assets in the hub's cache; None if it has none."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        folder = snapshot_download(HUB_REPOSITORY, repo_type="dataset", local_files_only=True)
    except LocalEntryNotFoundError:
        return None
    return Path(folder)
