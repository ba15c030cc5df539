"""`dlr publish`: a dataset to a bucket, each file proved there, the one that completes it last."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fsspec
from tqdm import tqdm

from common.errors import DatasetError, SettingError
from common.locks import lock_file
from common.manifest import MANIFEST, check_whole
from common.remote.addresses import address_errors, is_remote, open_address, retried
from common.remote.blocks import RemoteFile
from common.remote.folder import cache_of, find_file, is_there, list_folder
from dataset_builders.finishing import EPISODES
from dataset_builders.lerobot_v3.layout import ORIGIN

MARKERS = ("dataset_info.json", "meta/info.json")
"""Without its one of these a dataset is none, for TFDS, our readers and LeRobot's."""
_LAST = ("features.json", MANIFEST, "meta/info.json", "dataset_info.json")
"""Sent after all else, in this order, which ends with markers: without features.json TFDS takes
a folder for no dataset."""
_PART = 8 * 2**20
"""Bytes of a file that are in memory at once, for each upload."""
_IN_PARTS = ("gs", "gcs", "s3", "s3a")
_ATTEMPTS = 3
"""How often a file is sent that does not arrive as it is."""


@dataclass(frozen=True)
class PublishConfig:
    """What to publish, and where."""

    folder: Path
    """Folder of one version of a dataset, `<data_dir>/libero_rl/<config>/1.0.0`, or of a
    LeRobotDataset."""
    address: str
    """Where its files are to be, such as `gs://bucket/libero_rl/dlr/1.0.0`; TFDS finds it there
    by name with `data_dir="gs://bucket"`."""
    overwrite: bool = False
    """Replace what is there; files of other names below the address are removed."""
    uploads: int = 4
    """Files that are sent at the same time; each needs some 20 MB of memory."""

    def __post_init__(self) -> None:
        """Check the settings.

        Raises:
            SettingError: the address is a path on this machine, or `uploads` is not positive.
        """
        if not is_remote(self.address):
            raise SettingError(
                f"{self.address!r} is no address elsewhere: give one such as "
                "gs://bucket/libero_rl/dlr/1.0.0 (to copy a dataset on this machine, use cp -r)"
            )
        if self.uploads < 1:
            raise SettingError(f"uploads must be at least 1, not {self.uploads}")


@dataclass(frozen=True)
class Published:
    """What is at an address now."""

    address: str
    """Where."""
    files: int
    """Files of the dataset."""
    size: int
    """Bytes of all of them."""
    sent: int
    """Files that this call sent; the others were there already."""

    def __str__(self) -> str:
        """Return a line for a terminal."""
        return (
            f"{self.address}: {self.files} files, {self.size / 1e6:.1f} MB, digests verified; "
            f"{self.sent} sent, {self.files - self.sent} were there"
        )


def publish(config: PublishConfig, extra: Mapping[str, Path] | None = None) -> Published:
    """Send a dataset's files to an address, and prove that they are there.

    What a killed call has sent is kept. Until the last file is there, which is sent when all
    others have been verified, no loader takes the folder for a dataset. Digests are those that
    the server tells, or else each file is read back.

    Args:
        config: what, and where.
        extra: files to publish with it, by their names there.

    Raises:
        DatasetError: the folder holds no whole dataset, something else is at the address, or it
            cannot be written.
        BusyError: another process here is publishing to the address.
    """
    files = {**_files(config.folder), **(extra or {})}
    address = config.address.rstrip("/")
    with lock_file(cache_of(address) / "publish"), address_errors(address, "publish to"):
        there = list_folder(address)
        different = [n for n, p in files.items() if not is_there(p, there.get(n))]
        _make_room(address, there, files, different, config.overwrite)
        different = [name for name in files if name in different or name not in there]
        last = [name for name in _LAST if name in files]
        _send_all({n: files[n] for n in different if n not in last}, address, config.uploads)
        _check_sizes(address, {n: p for n, p in files.items() if n not in last})
        for name in last:
            if name in different:
                _send(files[name], f"{address}/{name}")
    size = sum(path.stat().st_size for path in files.values())
    return Published(address, len(files), size, len(different))


def has_manifest(folder: Path) -> bool:
    """Return whether a folder is of a dataset that was made here, and so has a list of digests."""
    return any((folder / name).exists() for name in (EPISODES, ORIGIN))


def _files(folder: Path) -> dict[str, Path]:
    """Return the files of a whole dataset by name; hidden ones, such as locks, stay here."""
    if not any((folder / marker).is_file() for marker in MARKERS):
        raise DatasetError(
            f"{folder} holds no {' or '.join(MARKERS)}: give the folder of one version of a "
            "dataset, <data_dir>/libero_rl/<config>/1.0.0, whose build has ended"
        )
    remedy = "build the dataset again before it is published"
    check_whole(folder, DatasetError, remedy, has_manifest(folder))
    paths = {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*"))}
    return {
        name: path
        for name, path in paths.items()
        if path.is_file() and not any(part.startswith(".") for part in name.split("/"))
    }


def _make_room(
    address: str,
    there: dict[str, RemoteFile],
    files: Mapping[str, Path],
    different: list[str],
    overwrite: bool,
) -> None:
    """Take away what is not of this dataset, that first which would make the rest look whole."""
    strangers = sorted(set(there) - set(files))
    marked = [marker for marker in MARKERS if marker in there]
    if not strangers and not (marked and different):
        return
    if not overwrite:
        found = "another dataset" if marked else f"other files, such as {strangers[0]},"
        raise DatasetError(
            f"{address} holds {found}: choose another address, or replace what is there with "
            "--overwrite"
        )
    filesystem, _ = open_address(address)
    for name in [*marked, *(name for name in strangers if name not in marked)]:
        _, path = open_address(f"{address}/{name}")
        _remove(filesystem, path)
        there.pop(name)


def _remove(filesystem: Any, path: str) -> None:
    """Remove a file; a retry may find that the first try did."""

    def remove() -> None:
        try:
            filesystem.rm_file(path)
        except FileNotFoundError:
            return

    retried(remove)


def _send_all(files: Mapping[str, Path], address: str, uploads: int) -> None:
    total = sum(path.stat().st_size for path in files.values())
    with (
        tqdm(total=total, unit="B", unit_scale=True, desc="publishing", disable=None) as bar,
        ThreadPoolExecutor(uploads) as pool,
    ):
        sent = [pool.submit(_send, path, f"{address}/{name}") for name, path in files.items()]
        try:
            for future, path in zip(sent, files.values(), strict=True):
                future.result()
                bar.update(path.stat().st_size)
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise


def _send(path: Path, address: str) -> None:
    """Send a file until it is at the address as it is here."""
    filesystem, target = open_address(address)
    in_parts = fsspec.core.split_protocol(address)[0] in _IN_PARTS
    put = functools.partial(
        filesystem.put_file, str(path), target, **({"chunksize": _PART} if in_parts else {})
    )
    for _ in range(_ATTEMPTS):
        retried(functools.partial(_put, put))
        if is_there(path, find_file(address)):
            return
    raise DatasetError(
        f"{address} does not become what {path} is, after {_ATTEMPTS} uploads: check that nothing "
        "else writes either of them"
    )


def _put(put: functools.partial[None]) -> None:
    try:
        put()
    except AttributeError as error:  # gcsfs 2026.2, for a part that did not come through
        raise ConnectionError(f"a part was not taken ({error.__context__})") from error


def _check_sizes(address: str, files: Mapping[str, Path]) -> None:
    """Look once more at all files that were verified one by one.

    Raises:
        DatasetError: one is missing or has another size by now.
    """
    there = list_folder(address)
    for name, path in files.items():
        if name not in there or there[name].size != path.stat().st_size:
            raise DatasetError(
                f"{address}/{name} was changed while the dataset was published: check that nothing "
                "else writes there, and run the same command again"
            )
