"""Publishing to Google's storage on loopback: complete or not at all, whatever is in the way."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
from pathlib import Path

import fsspec
import pytest

from common.errors import DatasetError, SettingError
from common.manifest import file_sha256, note_sums, write_manifest
from common.remote import folder as remote_folder
from common.remote.addresses import ETAG
from dataset_builders.cloud.load import copy_dataset
from dataset_builders.cloud.publish import PublishConfig, publish
from tests.cloud_storage import BUCKET, one_in

ADDRESS = f"gs://{BUCKET}/data/libero_rl/dlr/1.0.0"
KILLS = int(os.environ.get("DLR_TEST_KILLS", "2"))
"""How often a publishing process is killed."""


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    """Folder with the files of a dataset: three of half a megabyte and one that goes in parts."""
    folder = tmp_path / "built" / "1.0.0"
    folder.mkdir(parents=True)
    rng = random.Random(3)
    for name, size in {"a": 500_000, "b": 500_000, "c": 500_000, "d": 9_000_000}.items():
        (folder / f"libero_rl-train.tfrecord-{name}").write_bytes(rng.randbytes(size))
    for name in ("features.json", "dataset_info.json", "metadata.json"):
        (folder / name).write_text(f'{{"name": "{name}"}}')
    (folder / ".1.0.0.lock").write_text("")
    write_manifest(folder, [path.name for path in folder.glob("*.json")])
    return folder


def there(address: str = ADDRESS) -> dict[str, bytes]:
    """Return what is at an address."""
    filesystem, root = fsspec.core.url_to_fs(address, use_listings_cache=False)
    found = filesystem.find(root) if filesystem.exists(root) else []
    return {path.removeprefix(f"{root}/"): filesystem.cat_file(path) for path in found}


def here(folder: Path) -> dict[str, bytes]:
    """Return what is to be published."""
    return {p.name: p.read_bytes() for p in folder.iterdir() if not p.name.startswith(".")}


def test_what_is_published_is_equal_and_ends_with_its_marker(cloud, dataset, tmp_path):
    done = publish(PublishConfig(dataset, ADDRESS))
    assert done.sent == done.files == 8
    verified = [path.rpartition("%2F")[2] for _, path, _ in cloud.requests if "/o/" in path][:8]
    assert verified[5:] == ["features.json", "digests.json", "dataset_info.json"]
    assert there() == here(dataset)
    again = publish(PublishConfig(dataset, ADDRESS))
    assert again.sent == 0
    copy = copy_dataset(ADDRESS, tmp_path / "copy")
    assert here(copy) == here(dataset)


def test_a_server_that_fails_is_asked_again(cloud, dataset, tmp_path):
    with cloud.failing(one_in(5)):
        publish(PublishConfig(dataset, ADDRESS))
        assert here(copy_dataset(ADDRESS, tmp_path / "copy")) == here(dataset)
    assert there() == here(dataset)
    assert {fault for _, _, fault in cloud.requests if fault} == {"503", "drop", "half"}


def test_a_file_that_arrives_as_another_is_sent_again_and_never_completes(
    cloud, dataset, monkeypatch
):
    from gcsfs import GCSFileSystem

    put, spoiled = GCSFileSystem.put_file, dataset.parent / "spoiled"
    spoiled.write_bytes(b"x" * 500_000)
    times = {"left": 1}

    def put_another(self, path, target, **options):
        if path.endswith("-b") and times["left"]:
            times["left"] -= 1
            path = str(spoiled)
        return put(self, path, target, **options)

    monkeypatch.setattr(GCSFileSystem, "put_file", put_another)
    times["left"] = 100
    with pytest.raises(DatasetError, match=r"tfrecord-b does not become"):
        publish(PublishConfig(dataset, ADDRESS))
    assert "dataset_info.json" not in there()
    times["left"] = 1
    publish(PublishConfig(dataset, ADDRESS))
    assert there() == here(dataset)


def test_a_server_that_stays_away_is_one_clear_error(cloud, dataset, monkeypatch):
    monkeypatch.setattr("common.remote.addresses._TRIES", 1)
    monkeypatch.setattr("gcsfs.retry.random.random", lambda: 0.0)

    async def at_once(seconds):
        return None

    monkeypatch.setattr("gcsfs.retry.asyncio.sleep", at_once)
    with (
        cloud.failing(lambda method, path: "503"),
        pytest.raises(DatasetError, match=r"cannot read gs://.*503.*goes on") as caught,
    ):
        publish(PublishConfig(dataset, ADDRESS))
    assert "\n" not in str(caught.value)
    assert there() == {}


def test_another_dataset_is_replaced_only_when_asked(cloud, dataset):
    publish(PublishConfig(dataset, ADDRESS))
    before = there()
    (dataset / "libero_rl-train.tfrecord-a").unlink()
    (dataset / "libero_rl-train.tfrecord-b").write_bytes(b"other")
    with pytest.raises(DatasetError, match=r"another dataset.*--overwrite"):
        publish(PublishConfig(dataset, ADDRESS))
    assert there() == before
    publish(PublishConfig(dataset, ADDRESS, overwrite=True))
    assert there() == here(dataset)
    removed = [path for method, path, _ in cloud.requests if method == "DELETE"]
    assert removed[0].partition("?")[0].endswith("dataset_info.json")


def test_what_is_no_whole_dataset_is_not_published(cloud, dataset, tmp_path):
    with pytest.raises(SettingError, match="no address elsewhere"):
        PublishConfig(dataset, str(tmp_path))
    with pytest.raises(DatasetError, match="build has ended"):
        publish(PublishConfig(tmp_path, ADDRESS))
    (dataset / "features.json").write_text("{}")
    with pytest.raises(DatasetError, match=r"features.json is damaged"):
        publish(PublishConfig(dataset, ADDRESS))
    with pytest.raises(DatasetError, match="upload has not ended"):
        copy_dataset(ADDRESS, tmp_path / "copy")
    assert there() == {}


def test_any_file_system_takes_it(dataset, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    address = "memory://published/1.0.0"
    try:
        assert publish(PublishConfig(dataset, address)).sent == 8
        assert publish(PublishConfig(dataset, address)).sent == 0
        assert there(address) == here(dataset)
        assert here(copy_dataset(address, tmp_path / "copy")) == here(dataset)
    finally:
        fsspec.filesystem("memory").rm("/published", recursive=True)


def test_an_etag_that_is_no_md5_is_read_back(cloud, dataset, monkeypatch):
    """As S3's under a key of one's own."""
    monkeypatch.setattr(remote_folder, "content_digest", lambda info: (ETAG, 32 * "0"))
    sent = publish(PublishConfig(dataset, ADDRESS)).sent
    assert sent == 8 and there() == here(dataset)
    assert publish(PublishConfig(dataset, ADDRESS)).sent == 0


def publish_and_die(cloud, dataset: Path, request: int) -> bool:
    """Publish in a process that is killed at a request, and return whether it was."""
    config, seen = PublishConfig(dataset, ADDRESS, uploads=2), [0]
    process = multiprocessing.get_context("fork").Process(target=publish, args=(config,))

    def fault(method: str, path: str) -> str | None:
        seen[0] += 1
        if seen[0] == request:
            process.kill()
        return None

    with cloud.failing(fault):
        process.start()
        process.join()
    return process.exitcode == -signal.SIGKILL


def test_killed_at_random_it_goes_on_and_never_looks_complete(cloud, dataset):
    rng, whole, kills = random.Random(KILLS), here(dataset), 0
    sent: set[str] = set()
    assert there() == {}  # (gcsfs is imported before the processes are forked)
    while kills < KILLS:
        kills += publish_and_die(cloud, dataset, rng.randint(2, 24))
        found = there()
        assert all(content == whole[name] for name, content in found.items())
        assert "dataset_info.json" not in found or found == whole
        assert sent <= set(found)  # what was there is kept
        sent = set(found)
        if found == whole:
            fsspec.filesystem("gs").rm(ADDRESS.removeprefix("gs://"), recursive=True)
            sent = set()
    publish(PublishConfig(dataset, ADDRESS))
    assert there() == whole


def test_damaged_and_missing_shards_are_not_sent(cloud, dataset):
    shards = sorted(dataset.glob("*.tfrecord-*"))
    note_sums(dataset, {path.name: file_sha256(path) for path in shards})
    content = bytearray(shards[0].read_bytes())
    content[1000] ^= 1
    shards[0].write_bytes(content)
    with pytest.raises(DatasetError, match=r"tfrecord-a is damaged.*build the dataset again"):
        publish(PublishConfig(dataset, ADDRESS))
    content[1000] ^= 1
    shards[0].write_bytes(content)
    shards[1].unlink()
    with pytest.raises(DatasetError, match=r"tfrecord-b is missing"):
        publish(PublishConfig(dataset, ADDRESS))
    assert not there()
