"""Blocks of files elsewhere: what is read, kept, fetched anew and forgotten."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest

from common.errors import DatasetError, SettingError
from common.remote import blocks
from common.remote.addresses import ETAG, content_digest, is_remote
from common.remote.blocks import RemoteFile
from common.remote.folder import find_file, list_folder, local_path

ADDRESS = "memory://elsewhere/file"


@pytest.fixture
def content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[bytes]:
    """What is in a file at ADDRESS: ten blocks of 1,000 bytes and a short one."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(blocks, "BLOCK", 1000)
    blocks._open_block.cache_clear()
    content = os.urandom(10_300)
    fsspec.filesystem("memory").pipe_file("/elsewhere/file", content)
    yield content
    fsspec.filesystem("memory").rm("/elsewhere", recursive=True)
    blocks._open_block.cache_clear()


@pytest.fixture
def fetched(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Where the ranges begin that are asked for."""
    begun: list[int] = []
    fetch = blocks.fetch_range

    def noted(address, start, end):
        begun.append(start)
        return fetch(address, start, end)

    monkeypatch.setattr(blocks, "fetch_range", noted)
    return begun


def kept(tmp_path: Path) -> list[Path]:
    """Return the blocks in the cache."""
    return sorted((tmp_path / "cache" / "dlr-vla" / "blocks").glob("*/*"))


def file() -> RemoteFile:
    found = find_file(ADDRESS)
    assert found is not None
    return found


def test_any_range_is_read_and_fetched_once(content, fetched):
    found = file()
    for offset, length in (
        (0, 10),
        (990, 30),
        (2500, 4000),
        (10_250, 500),
        (10_300, 5),
        (0, 20_000),
    ):
        assert found.pread(length, offset) == content[offset : offset + length]
    assert sorted(fetched) == list(range(0, 11_000, 1000))
    blocks._open_block.cache_clear()  # as in another process
    with found.open() as stream:
        assert stream.read() == content
    assert len(fetched) == 11


def test_a_damaged_or_cut_block_is_fetched_again(content, fetched, tmp_path):
    found = file()
    found.pread(3000, 0)
    first, second, _ = kept(tmp_path)
    first.write_bytes(b"x" + first.read_bytes()[1:])
    second.write_bytes(second.read_bytes()[:-1])
    blocks._open_block.cache_clear()
    assert found.pread(3000, 0) == content[:3000]
    assert fetched == [0, 1000, 2000, 0, 1000]


def test_another_content_at_the_address_has_other_blocks(content, tmp_path):
    assert file().pread(10, 0) == content[:10]
    other = os.urandom(10_300)
    fsspec.filesystem("memory").rm("/elsewhere/file")
    fsspec.filesystem("memory").pipe_file("/elsewhere/file", other)
    assert file().pread(10, 0) == other[:10]


def test_the_cache_stays_within_its_bound(content, tmp_path, monkeypatch):
    monkeypatch.setattr(blocks, "_TRIM_EVERY", 2)
    monkeypatch.setenv(blocks.CACHE_GB, str(5000 / 1e9))
    found = file()
    for number in range(11):
        assert found.pread(100, number * 1000) == content[number * 1000 : number * 1000 + 100]
        assert sum(path.stat().st_size for path in kept(tmp_path)) <= 5000 + 2 * 4
    assert found.pread(100, 0) == content[:100]


@pytest.mark.parametrize("text", ["none", "0", "-1", "nan"])
def test_a_bound_that_is_no_size_is_refused(text, monkeypatch):
    monkeypatch.setenv(blocks.CACHE_GB, text)
    with pytest.raises(SettingError, match="a number of GB above 0"):
        blocks.cache_bytes()


def test_a_file_that_shrank_or_went_away_is_one_clear_error(content, monkeypatch):
    monkeypatch.setattr("common.remote.addresses._TRIES", 1)
    found = file()
    fsspec.filesystem("memory").pipe_file("/elsewhere/file", b"short")
    with pytest.raises(DatasetError, match=r"cannot read memory://elsewhere/file"):
        found.pread(10, 5000)
    fsspec.filesystem("memory").rm("/elsewhere/file")
    with pytest.raises(DatasetError, match="there is no"):
        found.pread(10, 5000)
    assert find_file(ADDRESS) is None
    fsspec.filesystem("memory").pipe_file("/elsewhere/file", content)


def test_a_cache_that_cannot_be_written_says_so(content, tmp_path):
    (tmp_path / "cache").write_text("a file where the folder should be")
    with pytest.raises(OSError, match=r"cannot write to .*cache"):
        file().pread(10, 0)


def test_a_cache_that_can_only_be_read_serves_as_it_is(content, fetched, monkeypatch):
    assert file().pread(10, 0) == content[:10]
    blocks._open_block.cache_clear()

    def refuse(descriptor):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(os, "utime", refuse)
    assert file().pread(10, 0) == content[:10] and len(fetched) == 1


def test_what_an_address_is(tmp_path):
    assert [is_remote(a) for a in ("gs://b/x", "s3://b", "memory://x", "hf://datasets/a/b")] == [
        True
    ] * 4
    assert not any(is_remote(a) for a in ("/x", "x/y", "file:///x", tmp_path))
    assert local_path(f"file://{tmp_path}") == local_path(tmp_path) == tmp_path


def test_digests_that_servers_tell():
    google = {"md5Hash": "XUFAKrxLKna5cZ2REBfFkg==", "crc32c": "mnG7TA=="}
    assert content_digest(google) == ("md5", "5d41402abc4b2a76b9719d911017c592")
    assert content_digest({"crc32c": "mnG7TA=="}) == ("crc32c", "9a71bb4c")
    s3 = {"ETag": '"5d41402abc4b2a76b9719d911017c592"'}
    assert content_digest(s3) == (ETAG, "5d41402abc4b2a76b9719d911017c592")
    assert content_digest({"ETag": '"5d41402abc4b2a76b9719d911017c592-2"'}) is None
    assert content_digest({"lfs": {"sha256": "ab"}}) == ("sha256", "ab")
    assert content_digest({"size": 3}) is None


def test_names_in_a_folder(content):
    fsspec.filesystem("memory").pipe_file("/elsewhere/below/other", b"x")
    assert sorted(list_folder("memory://elsewhere/")) == ["below/other", "file"]
    assert list_folder("memory://nowhere") == {}
