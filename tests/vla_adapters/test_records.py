"""The records against what TFDS reads of the same dataset, and what damage is said to be."""

from __future__ import annotations

import json
import pickle
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest
from tensorflow_datasets.proto import tf_example_pb2

from common.errors import DatasetError
from common.manifest import MANIFEST, write_manifest
from dataset_builders.records.tfrecords import masked_crc32c, records
from vla_adapters.records import open_records

_ALONE = """
import sys
from vla_adapters.adapter import Adapter
from vla_adapters.reader import Reader, ReaderConfig
collate = lambda samples: {"count": len(samples), "state": sum(s.state.sum() for s in samples)}
reader = Reader([sys.argv[1]], ReaderConfig(batch=4, workers=0), collate)
assert sum(batch["count"] for batch in reader) == reader.steps
assert "tensorflow" not in sys.modules, "TensorFlow was imported"
"""


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "dlr-vla" / "datasets"


def shards(dataset: Path) -> list[Path]:
    return sorted(dataset.glob("*.tfrecord-*"))


def write(shard: Path, contents: list[bytes]) -> None:
    """Write a TFRecord file."""
    with shard.open("wb") as file:
        for content in contents:
            header = struct.pack("<Q", len(content))
            file.write(header + struct.pack("<I", masked_crc32c(header)))
            file.write(content + struct.pack("<I", masked_crc32c(content)))


def edit_json(path: Path, edit: Callable[[Any], None]) -> None:
    """Change a file of a dataset, which then is like one of another builder: without digests."""
    (path.parent / MANIFEST).unlink(missing_ok=True)
    content = json.loads(path.read_text())
    edit(content)
    path.write_text(json.dumps(content))


def test_all_is_what_tfds_reads(rlds, tensorflow_side):
    read, found = tensorflow_side.read, open_records([rlds])
    assert found.steps.tolist() == read["lengths"].tolist()
    assert list(found.metadata["trajectory_index"]) == read["numbers"].tolist()
    episodes = [found.episode(number) for number in range(len(found))]
    assert np.array_equal(np.concatenate([e.actions for e in episodes]), read["action"])
    assert np.array_equal(np.concatenate([e.states for e in episodes]), read["state"])
    texts = [text.encode() for e in episodes for text in e.instructions]
    assert texts == read["language_instruction"].tolist()
    for camera in ("image", "wrist_image"):
        pictures = [
            found.picture(number, step, camera)
            for number in range(len(found))
            for step in range(found.steps[number])
        ]
        assert np.array_equal(np.stack(pictures), read[camera])


def test_training_reads_without_tensorflow(rlds):
    subprocess.run([sys.executable, "-c", _ALONE, rlds], check=True)


def test_openvla_s_layout_and_several_datasets_are_read(rlds, tensorflow_side):
    single, both = open_records([rlds]), open_records([tensorflow_side.openvla, rlds])
    first = len(both) - len(single)
    assert both.name == "libero_spatial_no_noops+libero_rl_dlr"
    for number in range(len(single)):
        mine, other = single.episode(number), both.episode(first + number)
        assert np.array_equal(mine.actions, other.actions)
    assert np.array_equal(both.picture(first, 0, "image"), single.picture(0, 0, "image"))


def test_the_index_is_kept_until_the_shards_change(rlds, cache):
    files = sorted(rlds.iterdir())
    before = open_records([rlds])
    assert sorted(rlds.iterdir()) == files
    (index,) = cache.glob("*/dlr_index_train.json")
    written = index.stat().st_mtime_ns
    open_records([rlds])
    assert index.stat().st_mtime_ns == written
    contents = [record.content for record in records(shards(rlds)[0])]
    write(shards(rlds)[0], contents[1:])
    edit_json(rlds / "dataset_info.json", lambda info: lengths(info, [len(contents) - 1]))
    assert open_records([rlds]).steps.tolist() == before.steps[1:].tolist()
    whole = index.read_bytes()
    same = [path.read_bytes() for path in shards(rlds)]
    for path, content in zip(shards(rlds), same, strict=True):
        path.write_bytes(content)  # as a build that gives the same sizes by chance
    open_records([rlds])
    assert index.read_bytes() != whole
    whole = index.read_bytes()
    for damaged in (b"{", whole.replace(b'"offset"', b'"offsex"'), whole.replace(b"1", b"2", 1)):
        index.write_bytes(damaged)
        assert open_records([rlds]).digest([0, 1]) == before.digest([1, 2])
        assert index.read_bytes() == whole
    assert len(open_records([rlds])) == len(before) - 1


def not_as_listed(dataset: Path, name: str) -> None:
    write_manifest(dataset, [name])
    (dataset / name).write_text("{}")


def lead_out(info: Any, name: str) -> None:
    info["splits"].append({**info["splits"][0], "name": name})


def lengths(info: Any, first: list[int]) -> None:
    (split,) = info["splits"]
    split["shardLengths"] = [*map(str, first), *split["shardLengths"][len(first) :]]


def test_a_dataset_elsewhere_is_read_in_blocks(rlds, cache):
    memory = fsspec.filesystem("memory")
    memory.put(str(rlds), "/bucket/1.0.0", recursive=True)
    try:
        distant, near = open_records(["memory://bucket/1.0.0"]), open_records([rlds])
        assert np.array_equal(distant.picture(2, 0, "image"), near.picture(2, 0, "image"))
        assert not list(cache.glob("*/*.tfrecord-*"))
        assert list((cache.parent / "blocks").glob("*/*"))
        memory.rm(f"/bucket/1.0.0/{shards(rlds)[1].name}")
        with pytest.raises(DatasetError, match=r"memory://bucket/1.0.0/.*is missing"):
            open_records(["memory://bucket/1.0.0"])
        memory.rm("/bucket/1.0.0/dataset_info.json")
        with pytest.raises(DatasetError, match="its upload has not ended"):
            open_records(["memory://bucket/1.0.0"])
    finally:
        memory.rm("/bucket", recursive=True)


def test_a_folder_that_nobody_may_write_is_opened(rlds, cache):
    files = sorted(rlds.iterdir())
    rlds.chmod(0o555)
    try:
        assert len(open_records([rlds])) == len(open_records([f"file://{rlds}"]))
        assert sorted(rlds.iterdir()) == files
    finally:
        rlds.chmod(0o755)


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("memory://nothing", "no dataset is there.*check the address"),
        ("nonsense://somewhere", "check the address"),
    ],
)
def test_an_address_where_nothing_is_is_one_clear_error(address, message):
    with pytest.raises(DatasetError, match=message) as caught:
        open_records([address])
    assert "make room" not in str(caught.value)


def test_records_can_be_sent_to_a_process_that_is_not_forked(rlds):
    found = open_records([rlds])
    sent = pickle.loads(pickle.dumps(found))
    assert np.array_equal(sent.episode(1).actions, found.episode(1).actions)


def flip(dataset: Path, shard: int, record: int) -> None:
    """Change one byte in the middle of a record."""
    path = shards(dataset)[shard]
    found = list(records(path))[record]
    content = bytearray(path.read_bytes())
    content[found.offset + len(found.content) // 2] ^= 1
    path.write_bytes(content)


def spoil(dataset: Path) -> None:
    """Make an action of the second episode of the second shard NaN, at step 2."""
    path = shards(dataset)[1]
    contents = [record.content for record in records(path)]
    number, example = next(
        (number, example)
        for number, example in enumerate(map(tf_example_pb2.Example.FromString, contents))
        if len(example.features.feature["steps/action"].float_list.value) > 2 * 7
    )
    example.features.feature["steps/action"].float_list.value[2 * 7 + 3] = np.nan
    write(path, [*contents[:number], example.SerializeToString(), *contents[number + 1 :]])


def steps_of(features: Any) -> Any:
    steps = features["featuresDict"]["features"]["steps"]["sequence"]["feature"]
    return steps["featuresDict"]["features"]


def without_camera(features: Any) -> None:
    del steps_of(features)["observation"]["featuresDict"]["features"]["wrist_image"]


def with_png(features: Any) -> None:
    observation = steps_of(features)["observation"]["featuresDict"]["features"]
    observation["image"]["image"]["encodingFormat"] = "png"


def with_six_numbers(features: Any) -> None:
    steps_of(features)["action"]["tensor"]["shape"]["dimensions"] = ["6"]


def cut(path: Path, count: int) -> None:
    path.write_bytes(path.read_bytes()[:-count])


DAMAGE: dict[str, tuple[Callable[[Path], Any], str]] = {
    "no_info": (lambda d: (d / "dataset_info.json").unlink(), "no TFDS dataset"),
    "info_is_no_json": (lambda d: cut(d / "dataset_info.json", 5), "is no JSON"),
    "no_shard": (lambda d: shards(d)[1].unlink(), "00001-of-00002 is missing"),
    "truncated": (lambda d: cut(shards(d)[0], 9), "00000-of-00002 is truncated"),
    "in_the_header": (lambda d: cut(shards(d)[0], shards(d)[0].stat().st_size - 5), "record 0"),
    "empty_shard": (lambda d: shards(d)[1].write_bytes(b""), "holds 0 episodes"),
    "corrupt": (lambda d: flip(d, 1, 1), "00001-of-00002: record 1 is corrupt"),
    "nan": (spoil, "the action of episode [3-6], step 2 is not finite"),
    "no_camera": (lambda d: edit_json(d / "features.json", without_camera), "wrist_image"),
    "png": (lambda d: edit_json(d / "features.json", with_png), "no JPEGs"),
    "shape": (lambda d: edit_json(d / "features.json", with_six_numbers), r"\[6\], not \[7\]"),
    "no_episodes": (
        lambda d: edit_json(d / "dataset_info.json", lambda info: lengths(info, [0, 0])),
        "no episodes",
    ),
    "other_digest": (
        lambda d: not_as_listed(d, "features.json"),
        r"features\.json is damaged",
    ),
    "split_elsewhere": (
        lambda d: edit_json(d / "dataset_info.json", lambda info: lead_out(info, "../x")),
        "may lead out of its folder",
    ),
    "shard_elsewhere": (
        lambda d: edit_json(
            d / "dataset_info.json",
            lambda info: info["splits"][0].update(filepathTemplate="../{SHARD_INDEX}"),
        ),
        "may lead out of its folder",
    ),
    "config_elsewhere": (
        lambda d: edit_json(d / "dataset_info.json", lambda info: info.update(configName="/x")),
        "may lead out of its folder",
    ),
    "splits_are_a_number": (
        lambda d: edit_json(d / "dataset_info.json", lambda info: info.update(splits=1)),
        "not what TFDS writes",
    ),
    "features_are_a_list": (
        lambda d: edit_json(d / "features.json", lambda info: info.update(featuresDict=[])),
        "not what TFDS writes",
    ),
    "deep": (lambda d: (d / "features.json").write_text("[" * 100_000), "not what TFDS writes"),
    "array_record": (
        lambda d: edit_json(
            d / "dataset_info.json", lambda info: info.update(fileFormat="array_record")
        ),
        "file_format=tfrecord",
    ),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_damage_is_one_clear_error(damage, rlds):
    harm, message = DAMAGE[damage]
    harm(rlds)
    with pytest.raises(DatasetError, match=message) as caught:
        open_records([rlds])
    assert "\n" not in str(caught.value)


def test_wrong_addresses_and_splits_are_clear_errors(rlds, tmp_path):
    with pytest.raises(DatasetError, match="is not there"):
        open_records([tmp_path / "nothing"])
    with pytest.raises(DatasetError, match="no split 'val'; there are train"):
        open_records([rlds], split="val")
    with pytest.raises(DatasetError, match="no dataset"):
        open_records([])


def test_damage_after_indexing_is_found_when_it_is_read(rlds):
    found = open_records([rlds])
    number = len(list(records(shards(rlds)[0])))
    flip(rlds, 1, 0)
    with pytest.raises(DatasetError, match="00001-of-00002: record 0 is corrupt"):
        found.episode(number)
    cut(shards(rlds)[0], 100)
    with pytest.raises(DatasetError, match=f"00000-of-00002: record {number - 1} is corrupt"):
        found.episode(number - 1)
