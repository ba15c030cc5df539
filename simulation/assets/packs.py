"""Which asset packs are on this machine, and which one `resolve_assets` takes, and why."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from common.errors import AssetError
from simulation.assets.resolve import AssetPack, Source, embedded_pack, sources


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
    damaged: bool = False
    """Whether it was installed and is not whole: then nothing after it is taken."""


def list_places(path: str | Path | None = None) -> list[Place]:
    """Return where packs are looked for, in `resolve_assets`'s order, and what is there.

    Args:
        path: a folder, `libero` or `embedded`, as the user named it.

    Raises:
        AssetError: LIBERO's own were asked for and are nowhere, or the user's cache folder cannot
            be written.
    """
    embedded = embedded_pack()
    places = [_place(source) for source in sources(path)]
    return [*places, Place("embedded", embedded.path, "whole", embedded)]


def chosen_place(places: list[Place]) -> Place:
    """Return the place that decides: the first named or damaged one, else the first whole."""
    return next(p for p in places if p.asked or p.damaged or p.pack is not None)


def _place(source: Source) -> Place:
    label, folder = source.label, source.folder
    if folder is None:
        return Place(label, None, "not set" if label.startswith("$") else "not there")
    if not folder.is_dir():
        return Place(label, folder, "not there", asked=source.asked)
    try:
        pack = replace(source, asked=True).open()
    except AssetError as error:
        state = str(error).split(". ")[0]
        return Place(label, folder, state, asked=source.asked, damaged=source.installed)
    return Place(label, folder, "whole", pack, source.asked)
