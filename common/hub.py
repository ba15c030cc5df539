"""The Hugging Face hub: names that may be one of its repositories, and single files of these."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from common.errors import DatasetError, one_line
from common.files import ensure_writable, output_errors, storage_fault
from common.manifest import file_sha256


@dataclass(frozen=True)
class HubFile:
    """One large file of a dataset's repository, as the hub lists it."""

    repository: str
    """Its owner and name."""
    revision: str
    """The commit, or a branch's name."""
    path: str
    """Where it lies in the repository."""
    size: int
    """Bytes."""
    sha256: str
    """Of its content."""


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


def list_hub_files(
    repository: str, revision: str, paths: Sequence[str], remedy: str, endpoint: str | None = None
) -> list[HubFile]:
    """Return what the hub says of files of a dataset's repository, in the order asked for.

    Args:
        repository: its owner and name.
        revision: a commit, or a branch's name.
        paths: files that are stored as large ones, so that the hub knows their sha256.
        remedy: what to do if it cannot be had.
        endpoint: the hub's address; by default `$HF_ENDPOINT`, else the public one.

    Raises:
        DatasetError: the hub cannot be reached, refuses, or has no such file.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.hf_api import RepoFile

    try:
        found = HfApi(endpoint=endpoint).get_paths_info(
            repository, list(paths), revision=revision, repo_type="dataset"
        )
    except _hub_faults() as error:
        raise DatasetError(
            f"cannot ask the hub about {repository} ({one_line(error)}): {remedy}"
        ) from error
    large = {entry.path: entry for entry in found if isinstance(entry, RepoFile) and entry.lfs}
    if lacking := [path for path in paths if path not in large]:
        raise DatasetError(
            f"{repository} at {revision[:12]} has no file {lacking[0]} ({len(lacking)} of "
            f"{len(paths)} are not there): {remedy}"
        )
    sums = {path: entry.lfs.sha256 for path, entry in large.items() if entry.lfs}
    return [HubFile(repository, revision, p, large[p].size, sums[p]) for p in paths]


def fetch_hub_file(file: HubFile, target: Path, remedy: str, endpoint: str | None = None) -> None:
    """Fetch a file of the hub to `target`, which appears when it is whole and its sha256 is right.

    What has come already lies beside it, and the next call goes on from there; a bar shows
    how far it is where standard error is a terminal.

    Args:
        file: the file, as `list_hub_files` returned it.
        target: where to put it.
        remedy: what to do if it cannot be had.
        endpoint: as `list_hub_files`.

    Raises:
        DatasetError: the hub cannot be reached, or refuses; what came is kept.
        DamagedError: what came is another file than the hub lists; it is removed.
        OutputError: it cannot be written.
    """
    part = partial_file(file, target)
    ensure_writable(target.parent)
    with output_errors(part):
        for stale in target.parent.glob(f".{target.name}.*.part"):
            if stale != part:
                stale.unlink()
        _fetch_rest(file, part, remedy, endpoint)
        if file_sha256(part) != file.sha256:
            part.unlink()
            raise DamagedError(
                f"{file.path} did not arrive as the hub lists it (its sha256 is another), and "
                f"what came was removed: {remedy}"
            )
        os.replace(part, target)


def partial_file(file: HubFile, target: Path) -> Path:
    """Return where the beginning of a file lies until it is whole: one place for each content."""
    return target.with_name(f".{target.name}.{file.sha256[:12]}.part")


class DamagedError(DatasetError):
    """A file did not arrive as it was sent."""


def _fetch_rest(file: HubFile, part: Path, remedy: str, endpoint: str | None) -> None:
    """Append to `part` what it lacks, through to the disk."""
    from huggingface_hub import hf_hub_url
    from huggingface_hub.file_download import http_get
    from huggingface_hub.utils._headers import build_hf_headers

    url = hf_hub_url(
        file.repository,
        file.path,
        repo_type="dataset",
        revision=file.revision,
        endpoint=endpoint,
    )
    part.touch()
    with part.open("r+b") as stream:
        here = stream.seek(0, os.SEEK_END)
        if here > file.size:
            here = stream.truncate(0)
            stream.seek(0)
        try:
            http_get(
                url,
                stream,
                resume_size=here,
                headers=build_hf_headers(),
                expected_size=file.size,
                displayed_filename=Path(file.path).name,
            )
        except _hub_faults() as error:
            if storage_fault(error):
                raise
            raise DatasetError(
                f"{file.path} did not come whole ({one_line(error)}), and what came is kept: "
                f"{remedy}"
            ) from error
        finally:
            stream.flush()
            os.fsync(stream.fileno())


def _hub_faults() -> tuple[type[Exception], ...]:
    """Return what the hub's client raises where a network, a server or a name is not right."""
    import httpx
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    return (OSError, ValueError, httpx.HTTPError, HfHubHTTPError, HFValidationError)
