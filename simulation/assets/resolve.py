"""Where LIBERO's meshes, textures and MJCF files come from, and proof of which ones they are."""

from __future__ import annotations

import contextlib
import fcntl
import functools
import hashlib
import json
import os
import tempfile
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

from common.errors import AssetError
from common.files import user_cache_folder, write_text
from simulation.assets.embedded import PACK_NAME, ROBOT_FILE, pack_files, write_embedded_pack
from simulation.tasks import libero_root

ASSETS_VARIABLE = "DLR_LIBERO_ASSETS"
"""Environment variable that names a folder of assets."""

HUB_REPOSITORY = "lerobot/libero-assets"
"""Dataset repository of the published assets on the Hugging Face hub."""

UPSTREAM_DOWNLOAD = Path("~/.cache/libero/assets")
"""Folder into which hf-libero itself downloads the published assets."""

STYLE_TEXTURES = (
    "textures/gray_ceramic_tile.png",
    "textures/light-gray-floor-tile.png",
    "textures/light-gray-plaster.png",
    "textures/seamless_wood_planks_floor.png",
    "textures/yellow_linen_wall_texture.png",
)
"""Pictures that upstream's problem classes ask for by name, beside those the MJCF files name."""


@dataclass(frozen=True)
class AssetPack:
    """One folder of LIBERO assets."""

    name: str
    """`embedded-v1`, or where the folder was found: `local`, `hf-libero` or `hub`."""
    path: Path
    """The folder."""
    digest: str
    """SHA-256 over the sorted (relative path, SHA-256 of content) of its files."""


def resolve_assets(path: str | Path | None = None, download: bool = False) -> AssetPack:
    """Find LIBERO's assets.

    In this order: `path`; the folder in `$DLR_LIBERO_ASSETS`; hf-libero's own folder; the
    Hugging Face hub's cache of `lerobot/libero-assets`; with `download` that repository itself;
    at last the embedded pack, which is written to the user's cache folder on first use.

    Raises:
        AssetError: the folder asked for is missing or incomplete, the download failed, or the
            cache folder cannot be written.
    """
    asked = path if path is not None else os.environ.get(ASSETS_VARIABLE)
    if asked:
        return _open_pack("local", Path(asked).expanduser().resolve())
    for name, folder in _installed():
        missing = _missing(folder)
        if not missing:
            return _open_pack(name, folder)
        warnings.warn(
            f"the LIBERO assets in {folder} lack {missing[0]} and {len(missing) - 1} more files; "
            "looking elsewhere",
            stacklevel=2,
        )
    if download:
        return _open_pack("hub", _download())
    return embedded_pack()


def embedded_pack() -> AssetPack:
    """Return the embedded pack, written to the user's cache folder unless it is there and whole.

    Safe with concurrent processes.

    Raises:
        AssetError: the cache folder cannot be written.
    """
    digest = embedded_digest()
    parent = _cache_folder()
    folder = parent / f"embedded-{digest[:16]}"
    with _locked(parent / "embedded.lock"):
        if not folder.is_dir() or _folder_digest(folder) != digest:
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
    folder = _cache_folder() / f"embedded-{digest[:16]}"
    if not folder.is_dir() or _folder_digest(folder) != digest:
        return None
    return AssetPack(PACK_NAME, folder, digest)


@functools.cache
def embedded_digest() -> str:
    """Digest of the embedded pack that this version writes."""
    hashes = {name: _sha256(content) for name, content in pack_files().items()}
    return _listing_digest(hashes)


def verify_pack(pack: AssetPack) -> None:
    """Read every file of the pack and compare with its digest.

    Raises:
        AssetError: a file is missing, unreadable or not what the digest was made from.
    """
    _check_layout(pack.path)
    digest = _listing_digest(_hash_files(pack.path))
    if digest == pack.digest:
        return
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


def _installed() -> Iterator[tuple[str, Path]]:
    """Folders of published assets that are on this machine: hf-libero's, then the hub's cache."""
    from huggingface_hub.constants import HF_HUB_CACHE

    for folder in (libero_root() / "assets", UPSTREAM_DOWNLOAD.expanduser()):
        if folder.is_dir():
            yield "hf-libero", folder
    repository = Path(HF_HUB_CACHE) / f"datasets--{HUB_REPOSITORY.replace('/', '--')}"
    reference = repository / "refs" / "main"
    if reference.is_file():
        snapshot = repository / "snapshots" / reference.read_text().strip()
        if snapshot.is_dir():
            yield "hub", snapshot


def _download() -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(HUB_REPOSITORY, repo_type="dataset"))
    except (OSError, HfHubHTTPError, LocalEntryNotFoundError) as error:
        reason = str(error).strip().split("\n")[0]
        raise AssetError(
            f"cannot download {HUB_REPOSITORY} ({reason}). Without a network, use the embedded "
            f"pack (no download), or copy the assets here and set ${ASSETS_VARIABLE}."
        ) from error


def _open_pack(name: str, folder: Path) -> AssetPack:
    digest = _folder_digest(folder, check=True)
    return AssetPack(PACK_NAME if digest == embedded_digest() else name, folder, digest)


@functools.cache
def _required_files() -> tuple[str, ...]:
    """The files without which not all of the 130 tasks load; the robot's looks are our own."""
    scenes = (name for name in pack_files() if name.endswith(".xml") and name != ROBOT_FILE)
    return (*scenes, *STYLE_TEXTURES)


def _missing(folder: Path) -> list[str]:
    return [name for name in _required_files() if not (folder / name).is_file()]


def _check_layout(folder: Path) -> None:
    """Raise AssetError unless the folder has the required files and all that they refer to."""
    remedy = (
        f"Give the folder that holds `articulated_objects` and `scenes` (a copy of "
        f"{HUB_REPOSITORY} on the Hugging Face hub), or unset ${ASSETS_VARIABLE} and give no path "
        "for the embedded pack."
    )
    if not folder.is_dir():
        raise AssetError(f"the LIBERO assets folder {folder} is not there. {remedy}")
    missing = _missing(folder)
    if missing:
        raise AssetError(f"{folder} lacks {missing[0]} ({len(missing)} files in all). {remedy}")
    for name in _required_files():
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
                raise AssetError(f"{file} refers to {reference}, which is missing. {remedy}")


def _files(folder: Path) -> list[tuple[str, Path]]:
    """All files below the folder but hidden ones, by relative POSIX path, sorted."""
    found = []
    for base, folders, files in os.walk(folder, followlinks=True):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in files:
            if not name.startswith("."):
                file = Path(base) / name
                found.append((file.relative_to(folder).as_posix(), file))
    return sorted(found)


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _hash_files(folder: Path) -> dict[str, str]:
    hashes = {}
    for name, file in _files(folder):
        with file.open("rb") as stream:
            hashes[name] = hashlib.file_digest(stream, "sha256").hexdigest()
    return hashes


def _listing_digest(hashes: dict[str, str]) -> str:
    lines: Iterable[str] = (f"{name}\0{hashes[name]}\n" for name in sorted(hashes))
    return _sha256("".join(lines).encode())


def _folder_digest(folder: Path, check: bool = False) -> str:
    """Digest of a folder, read from the cache while no file's size or time has changed.

    With `check`, the layout is checked whenever the digest is made anew.
    """
    if check and not folder.is_dir():
        _check_layout(folder)
    stats = [(name, file.stat()) for name, file in _files(folder)]
    listing = "".join(f"{name}\0{stat.st_size}\0{stat.st_mtime_ns}\n" for name, stat in stats)
    signature = _sha256(listing.encode())
    record = _cache_folder() / "digests" / f"{_sha256(str(folder).encode())[:16]}.json"
    if record.is_file():
        known = json.loads(record.read_text())
        if known["signature"] == signature and known["checked"] >= check:
            return str(known["digest"])
    if check:
        _check_layout(folder)
    digest = _listing_digest(_hash_files(folder))
    text = json.dumps({"signature": signature, "digest": digest, "checked": check})
    write_text(record, text)
    return digest


def _cache_folder() -> Path:
    folder = user_cache_folder() / "assets"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise AssetError(
            f"cannot make the cache folder {folder}: {error.strerror}. Set $XDG_CACHE_HOME to a "
            "folder that can be written."
        ) from error
    if not os.access(folder, os.W_OK):
        raise AssetError(
            f"cannot write to the cache folder {folder}. Set $XDG_CACHE_HOME to a folder that can "
            "be written."
        )
    return folder


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield
