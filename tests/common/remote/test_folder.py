"""Folders elsewhere: copied whole, going on where a copy was killed, and refused if not as told."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from common.errors import BusyError, DatasetError
from common.remote import folder
from common.remote.addresses import ETAG
from common.remote.blocks import fetch_range
from common.remote.folder import copy_folder, file_digest, list_folder, local_folder
from dataset_builders.verify import verify
from tests.cloud_storage import BUCKET, one_in

ADDRESS = f"gs://{BUCKET}/folder"


@pytest.fixture
def stored(cloud) -> dict[str, bytes]:
    """What is in the folder at ADDRESS."""
    import fsspec

    content = {name: os.urandom(5000) for name in ("a", "b", "below/c")}
    filesystem = fsspec.filesystem("gs")
    for name, bytes_ in content.items():
        filesystem.pipe_file(f"{BUCKET}/folder/{name}", bytes_)
    return content


def copied(target: Path) -> dict[str, bytes]:
    return {
        path.relative_to(target).as_posix(): path.read_bytes()
        for path in target.rglob("*")
        if path.is_file()
    }


def killed_after(fetches: int) -> Callable[[str, int, int], bytes]:
    """Return what fetches so often, and then is as if the process was killed."""
    left = [fetches]

    def fetch(address: str, start: int, end: int) -> bytes:
        left[0] -= 1
        if left[0] < 0:
            raise KeyboardInterrupt
        return fetch_range(address, start, end)

    return fetch


def test_a_copy_is_whole_though_the_server_fails_and_is_not_fetched_twice(
    cloud, stored, tmp_path, monkeypatch
):
    monkeypatch.setattr(folder, "_PART", 1500)
    with cloud.failing(one_in(6)):
        copy_folder(ADDRESS, tmp_path / "copy")
    assert copied(tmp_path / "copy") == stored
    cloud.requests.clear()
    copy_folder(ADDRESS, tmp_path / "copy")
    assert not [path for _, path, _ in cloud.requests if "alt=media" in path]


def test_a_killed_copy_goes_on_with_its_part(cloud, stored, tmp_path, monkeypatch):
    monkeypatch.setattr(folder, "_PART", 1500)
    monkeypatch.setattr(folder, "fetch_range", killed_after(2))
    with pytest.raises(KeyboardInterrupt):
        copy_folder(ADDRESS, tmp_path / "copy")
    assert not [name for name in copied(tmp_path / "copy") if not name.endswith(".part")]
    cloud.requests.clear()
    monkeypatch.setattr(folder, "fetch_range", fetch_range)
    copy_folder(ADDRESS, tmp_path / "copy")
    assert copied(tmp_path / "copy") == stored
    assert len([path for _, path, _ in cloud.requests if "alt=media" in path]) == 3 * 4 - 2


@pytest.mark.parametrize("in_cache", [False, True])
def test_a_second_copy_to_the_same_place_is_refused_and_the_first_is_whole(
    in_cache: bool, stored: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = folder.cache_of(ADDRESS) if in_cache else tmp_path / "copy"
    fetch, asked, go_on = fetch_range, threading.Event(), threading.Event()
    monkeypatch.setattr(folder, "_PART", 1500)

    def copy() -> None:
        if in_cache:
            local_folder(ADDRESS, [], lambda here: list(stored))
        else:
            copy_folder(ADDRESS, target)

    def waiting(address: str, start: int, end: int) -> bytes:
        if not asked.is_set():
            asked.set()
            assert go_on.wait(60)
        return fetch(address, start, end)

    monkeypatch.setattr(folder, "fetch_range", waiting)
    first = threading.Thread(target=copy)
    first.start()
    try:
        assert asked.wait(60)
        with pytest.raises(BusyError, match="is being written by process"):
            copy()
    finally:
        go_on.set()
        first.join()
    assert copied(target) == stored


def test_what_does_not_arrive_as_told_is_not_kept(stored, tmp_path, monkeypatch):
    fetch = fetch_range

    def spoiled(address, start, end):
        content = fetch(address, start, end)
        return content[:-1] + bytes([content[-1] ^ 1]) if address.endswith("/b") else content

    monkeypatch.setattr(folder, "fetch_range", spoiled)
    with pytest.raises(DatasetError, match=r"folder/b did not arrive"):
        copy_folder(ADDRESS, tmp_path / "copy")
    assert "b" not in copied(tmp_path / "copy")


def test_an_etag_that_is_no_md5_proves_nothing_and_forbids_nothing(
    cloud, stored, tmp_path, monkeypatch
):
    """As S3's under a key of one's own."""
    monkeypatch.setattr(folder, "content_digest", lambda info: (ETAG, 32 * "0"))
    copy_folder(ADDRESS, tmp_path / "copy")
    assert copied(tmp_path / "copy") == stored
    fetch, asked = fetch_range, []

    def spoiled_once(address, start, end):
        asked.append(address)
        content = fetch(address, start, end)
        return content if len(asked) > 1 else bytes(len(content))

    monkeypatch.setattr(folder, "fetch_range", spoiled_once)
    with pytest.raises(DatasetError, match=r"folder/a did not arrive"):
        copy_folder(ADDRESS, tmp_path / "other")


def test_a_killed_copy_of_another_version_does_not_look_whole(cloud, stored, tmp_path, monkeypatch):
    import fsspec

    def copy() -> None:
        copy_folder(ADDRESS, tmp_path / "copy", last=lambda name: int(name == "a"))

    copy()
    content = {name: os.urandom(5000) for name in stored}
    for name, bytes_ in content.items():
        fsspec.filesystem("gs").pipe_file(f"{BUCKET}/folder/{name}", bytes_)
    monkeypatch.setattr(folder, "fetch_range", killed_after(1))
    with pytest.raises(KeyboardInterrupt):
        copy()
    assert "a" not in copied(tmp_path / "copy")
    monkeypatch.setattr(folder, "fetch_range", fetch_range)
    copy()
    assert copied(tmp_path / "copy") == content


def test_only_what_is_asked_for_is_copied(stored):
    copy = local_folder(ADDRESS, ["a"], lambda here: ["below/c"] if (here / "a").is_file() else [])
    assert copied(copy) == {name: stored[name] for name in ("a", "below/c")}
    with pytest.raises(DatasetError, match=r"holds no x; nothing was published there"):
        local_folder(ADDRESS, ["x"], lambda here: [])


def test_a_missing_dataset_elsewhere_is_no_full_disk(cloud):
    with pytest.raises(DatasetError, match=r"nothing: it holds no dataset_info") as caught:
        verify("gs://bucket/nothing")
    assert "make room" not in str(caught.value)
    with pytest.raises(DatasetError, match=r"cannot read gs://no-bucket/x|holds no dataset_info"):
        verify("gs://no-bucket/x")


def test_digests_of_files_here(tmp_path):
    (tmp_path / "x").write_bytes(b"hello")
    assert file_digest(tmp_path / "x", "crc32c") == "9a71bb4c"
    assert file_digest(tmp_path / "x", "md5") == "5d41402abc4b2a76b9719d911017c592"


def test_a_folder_here_is_itself(tmp_path):
    assert local_folder(str(tmp_path), ["x"], lambda here: ["y"]) == tmp_path
    assert local_folder(f"file://{tmp_path}", [], lambda here: []) == tmp_path


def test_a_name_that_leads_out_of_its_folder_is_refused(cloud, monkeypatch):
    class Hostile:
        def find(self, root: str, detail: bool) -> dict[str, dict[str, object]]:
            return {f"{root}/../../escaped": {"type": "file", "size": 1}}

    monkeypatch.setattr(folder, "open_address", lambda address: (Hostile(), f"{BUCKET}/folder"))
    for copy in (list_folder, lambda at: local_folder(at, [], lambda here: ["../../escaped"])):
        with pytest.raises(DatasetError, match="leads out of its folder"):
            copy(ADDRESS)


def test_names_and_digests_are_the_server_s(stored):
    found = list_folder(ADDRESS)
    assert sorted(found) == ["a", "b", "below/c"]
    assert found["b"].size == 5000
    assert found["b"].digest is not None and found["b"].digest[0] == "md5"
