"""Names of the hub told from paths, and its files fetched from a server on loopback."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from common.errors import DatasetError, StorageError
from common.hub import (
    DamagedError,
    fetch_hub_file,
    list_hub_files,
    partial_file,
    why_no_folder,
)
from tests.at_rest.disk import small_disk
from tests.hub import LoopbackHub, loopback_hub


@pytest.mark.parametrize(
    "name", ["./pi0", "../pi0", "~/pi0", "/tmp/no/such", "runs/pi0/final", "here/pi0", "a/b/c/"]
)
def test_a_mistyped_path_is_told(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "here").mkdir()
    assert why_no_folder(name) == f"there is no folder {name}: check the path"


@pytest.mark.parametrize("name", ["lerobot/pi0_base", "gpt2", "here/pi0", "here"])
def test_a_folder_and_a_repositorys_name_are_let_through(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "here" / "pi0").mkdir(parents=True)
    assert why_no_folder(name) is None


def test_a_file_is_no_folder(tmp_path):
    file = tmp_path / "model.safetensors"
    file.touch()
    assert why_no_folder(str(file)) == f"{file} is a file: give the folder that it lies in"


CONTENT = {"a/b.bin": bytes(range(256)) * 400, "a/c.bin": b"c" * 1000}


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[LoopbackHub]:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("huggingface_hub.file_download.time.sleep", lambda seconds: None)
    monkeypatch.setattr("huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE", 4096)
    with loopback_hub("owner/set", "1" * 40, dict(CONTENT)) as server:
        yield server


def fetch(hub: LoopbackHub, target: Path, path: str = "a/b.bin") -> None:
    (file,) = list_hub_files("owner/set", "1" * 40, [path], "do this", hub.endpoint)
    fetch_hub_file(file, target, "do this", hub.endpoint)


def test_files_are_listed_in_order_with_their_sha256(hub: LoopbackHub) -> None:
    names = ["a/c.bin", "a/b.bin"]
    listed = list_hub_files("owner/set", "1" * 40, names, "do this", hub.endpoint)
    assert [(file.path, file.size) for file in listed] == [("a/c.bin", 1000), ("a/b.bin", 102400)]
    assert listed[0].sha256 == hashlib.sha256(CONTENT["a/c.bin"]).hexdigest()
    with pytest.raises(DatasetError, match=r"no file x \(1 of 2 are not there\): do this"):
        list_hub_files("owner/set", "1" * 40, ["a/b.bin", "x"], "do this", hub.endpoint)
    with pytest.raises(DatasetError, match=r"cannot ask the hub about other/set .*: do this"):
        list_hub_files("other/set", "1" * 40, names, "do this", hub.endpoint)
    with pytest.raises(DatasetError, match=r"cannot ask the hub about owner/set .*: do this"):
        list_hub_files("owner/set", "1" * 40, names, "do this", "http://127.0.0.1:1")


def test_a_file_is_fetched_whole(hub: LoopbackHub, tmp_path: Path) -> None:
    fetch(hub, tmp_path / "new" / "b.bin")
    assert (tmp_path / "new" / "b.bin").read_bytes() == CONTENT["a/b.bin"]
    assert os.listdir(tmp_path / "new") == ["b.bin"]


def test_a_broken_connection_is_taken_up_again(hub: LoopbackHub, tmp_path: Path) -> None:
    hub.cuts = [50_000]
    fetch(hub, tmp_path / "b.bin")
    assert (tmp_path / "b.bin").read_bytes() == CONTENT["a/b.bin"]
    assert len(hub.ranges) == 2 and hub.ranges[0] == "" and hub.ranges[1].startswith("bytes=")


def test_what_came_is_kept_and_the_next_call_goes_on(hub: LoopbackHub, tmp_path: Path) -> None:
    hub.cuts = [40_000, *[0] * 9]
    with pytest.raises(DatasetError, match=r"b.bin did not come whole .* is kept: do this"):
        fetch(hub, tmp_path / "b.bin")
    (part,) = tmp_path.iterdir()
    came = part.stat().st_size
    assert part.name.endswith(".part") and 0 < came <= 40_000
    hub.cuts, hub.ranges = [], []
    fetch(hub, tmp_path / "b.bin")
    assert hub.ranges == [f"bytes={came}-"]
    assert (tmp_path / "b.bin").read_bytes() == CONTENT["a/b.bin"]
    assert os.listdir(tmp_path) == ["b.bin"]


def test_parts_of_another_content_or_too_long_are_not_gone_on_with(
    hub: LoopbackHub, tmp_path: Path
) -> None:
    (file,) = list_hub_files("owner/set", "1" * 40, ["a/c.bin"], "", hub.endpoint)
    (tmp_path / ".c.bin.0123456789ab.part").write_bytes(b"older")
    partial_file(file, tmp_path / "c.bin").write_bytes(b"d" * 2000)
    fetch(hub, tmp_path / "c.bin", "a/c.bin")
    assert hub.ranges == [""] and os.listdir(tmp_path) == ["c.bin"]
    assert (tmp_path / "c.bin").read_bytes() == CONTENT["a/c.bin"]


def test_other_bytes_than_listed_are_removed(hub: LoopbackHub, tmp_path: Path) -> None:
    hub.wrong = {"a/b.bin"}
    with pytest.raises(DamagedError, match=r"b.bin did not arrive as the hub lists it .*: do this"):
        fetch(hub, tmp_path / "b.bin")
    assert not os.listdir(tmp_path)


def test_full_and_read_only_disks_are_told(hub: LoopbackHub, tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", mib=1) as disk:
        disk.fill(40_000)
        with pytest.raises(StorageError, match="No space left on device; make room"):
            fetch(hub, disk.path / "b.bin")
        disk.free()
        fetch(hub, disk.path / "b.bin")
        assert (disk.path / "b.bin").read_bytes() == CONTENT["a/b.bin"]
        assert any(asked.startswith("bytes=") for asked in hub.ranges)
        disk.remount("ro")
        with pytest.raises(StorageError, match="Read-only file system"):
            fetch(hub, disk.path / "c.bin", "a/c.bin")
