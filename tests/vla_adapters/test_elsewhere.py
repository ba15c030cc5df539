"""Reading published datasets from Google's storage on loopback, also while it fails."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

import cli.publish
from cli.load import load
from common.remote import blocks
from tests.cloud_storage import BUCKET, one_in
from vla_adapters.reader import Reader, ReaderConfig
from vla_adapters.records import open_records

ADDRESS = f"gs://{BUCKET}/libero_rl/dlr/1.0.0"


def collate(samples):
    return {
        "sums": [int(s.images["image"].sum()) for s in samples],
        "of": [s.step for s in samples],
    }


def sums(address, workers, epochs=1):
    reader = Reader([address], ReaderConfig(batch=5, workers=workers), collate)
    found = [batch["sums"] for _ in range(epochs) for batch in reader]
    reader.close()
    return found


@pytest.fixture
def published(cloud, rlds):
    cli.publish.publish(rlds, ADDRESS)
    blocks._open_block.cache_clear()
    cloud.requests.clear()
    return rlds


def read_shards(cloud):
    return [
        path for method, path, _ in cloud.requests if "tfrecord-" in path and "alt=media" in path
    ]


def test_batches_are_those_of_the_folder(cloud, published):
    wanted = sums(published, 0)
    assert sums(ADDRESS, 0) == wanted
    assert len(read_shards(cloud)) == 2  # each shard is one block, and the index was published
    assert sums(ADDRESS, 2) == wanted
    assert len(read_shards(cloud)) == 2


def test_worker_processes_read_from_a_server_that_fails(cloud, published, monkeypatch):
    monkeypatch.setattr(blocks, "BLOCK", 2000)
    wanted = sums(published, 0)
    with cloud.failing(one_in(9)):
        assert sums(ADDRESS, 2) == wanted
    assert sum(fault is not None for _, _, fault in cloud.requests) > 2


def test_without_a_published_index_one_is_made(cloud, rlds):
    cli.publish.publish(rlds, ADDRESS, index=False)
    distant, near = open_records([ADDRESS]), open_records([rlds])
    assert distant.digest(np.arange(len(near))) == near.digest(np.arange(len(near)))
    cloud.requests.clear()
    open_records([ADDRESS])
    assert not read_shards(cloud)


def test_what_is_there_is_told_and_copied(cloud, published, capsys, tmp_path, monkeypatch):
    monkeypatch.setenv("DLR_ANONYMOUS", "")
    load(ADDRESS)
    told = capsys.readouterr().out
    assert "libero_rl_dlr train: 7 episodes, 34 steps" in told
    assert not read_shards(cloud)
    load(ADDRESS, tmp_path / "copy", anonymous=True)
    assert {p.name for p in published.iterdir()} < {p.name for p in (tmp_path / "copy").iterdir()}
    index = tmp_path / "copy" / "dlr_index_train.json"
    assert len(open_records([index.parent])) == 7
    assert index.is_file()


_TFDS = """
import sys
import numpy as np
from dataset_builders.cloud.load import load, open_builder
address, folder = sys.argv[1:]
import tensorflow_datasets as tfds
def plain(dataset):
    return [
        [(step["observation"]["image"].sum(), step["action"].tolist()) for step in item["steps"]]
        for item in tfds.as_numpy(dataset)
    ]
order = tfds.ReadConfig(interleave_cycle_length=1)
wanted = plain(tfds.builder_from_directory(folder).as_dataset(split="train", read_config=order))
assert plain(load(address, readers=1)) == wanted
assert sorted(map(str, plain(load(address, readers=2)))) == sorted(map(str, wanted))
assert plain(load(folder, readers=1)) == wanted
assert open_builder(address).info.splits["train"].num_examples == len(wanted)
skipped = {"steps": {"observation": {"image": tfds.decode.SkipDecoding()}}}
for item in tfds.as_numpy(load(address, decoders=skipped).take(1)):
    assert next(iter(item["steps"]))["observation"]["image"][:2] == bytes([255, 216])
"""


def test_tfds_gives_what_it_gives_of_the_folder(cloud, published):
    with cloud.failing(one_in(5)):
        subprocess.run([sys.executable, "-c", _TFDS, ADDRESS, published], check=True)
