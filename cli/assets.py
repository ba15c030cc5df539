"""`dlr assets`: show, verify or write an asset pack."""

from __future__ import annotations

from pathlib import Path

from cli.main import UsageError


def assets(
    path: Path | None = None,
    download: bool = False,
    verify: bool = False,
    write: Path | None = None,
) -> None:
    """Show which LIBERO assets are in use, or write the embedded pack to a folder.

    Args:
        path: Folder of assets; by default the one that every command finds.
        download: Fetch the published assets from the Hugging Face hub if none are found.
        verify: Read every file and compare with the pack's digest.
        write: Write the embedded pack to this new folder and show that.
    """
    from simulation.assets import resolve_assets, verify_pack

    if write is not None:
        _write(write)
    pack = resolve_assets(write or path, download=download)
    if verify:
        verify_pack(pack)
    print(f"name    {pack.name}\nfolder  {pack.path}\ndigest  {pack.digest}")
    if verify:
        print("every file is as it should be")


def _write(folder: Path) -> None:
    from simulation.embedded_assets import write_embedded_pack
    from simulation.files import ensure_writable

    if any(ensure_writable(folder).iterdir()):
        raise UsageError(f"{folder} is not empty; give a new folder")
    write_embedded_pack(folder)
