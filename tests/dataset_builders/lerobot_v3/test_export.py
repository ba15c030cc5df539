"""The export as LeRobot's own loader reads it, and a training step of its policy on it."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from common.errors import DatasetError
from dataset_builders.cloud.publish import PublishConfig, publish
from dataset_builders.lerobot_v3.export import ExportConfig, export
from dataset_builders.lerobot_v3.layout import features
from dataset_builders.lerobot_v3.running import Running
from dataset_builders.lerobot_v3.statistics import of_vectors
from dataset_builders.records.tfrecords import HEADER_BYTES, records
from tests.cloud_storage import BUCKET
from tests.vla_adapters.conftest import tensorflow_side  # noqa: F401 (a fixture)
from tests.vla_adapters.test_records import shards, spoil
from vla_adapters.records import open_records

pytest.importorskip("datasets", reason="LeRobot's datasets are not installed")


@pytest.fixture(scope="module")
def exported(tensorflow_side, tmp_path_factory):  # noqa: F811
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        folder = tmp_path_factory.mktemp("lerobot") / "dlr"
        export(ExportConfig(str(tensorflow_side.libero_rl), folder))
        return folder, open_records([tensorflow_side.libero_rl])


_LOADER = """
import sys, json
import numpy as np
import torch
from lerobot.datasets import LeRobotDataset
from lerobot.datasets.compute_stats import compute_episode_stats, get_feature_stats
from lerobot.policies.act.configuration_act import ACTConfig
from lerobot.policies.act.modeling_act import ACTPolicy
from lerobot.configs import FeatureType, PolicyFeature

folder, out = sys.argv[1:]
dataset = LeRobotDataset("dlr/libero_rl", root=folder)
items = [dataset[index] for index in range(len(dataset))]
chunks = LeRobotDataset(
    "dlr/libero_rl", root=folder, delta_timestamps={"action": [0.0, 0.05, 0.1]}
)
names = ("observation.state", "action")
numbers = {name: np.stack([item[name].numpy() for item in items]) for name in names}
theirs = {name: get_feature_stats(array, 0, False) for name, array in numbers.items()}
np.savez(
    out,
    image=np.stack([item["observation.images.image"].numpy() for item in items]),
    image2=np.stack([item["observation.images.image2"].numpy() for item in items]),
    task=np.array([item["task"] for item in items]),
    episode=np.array([int(item["episode_index"]) for item in items]),
    time=np.array([float(item["timestamp"]) for item in items]),
    chunk=chunks[int(dataset.meta.episodes[0]["dataset_to_index"]) - 2]["action"].numpy(),
    **numbers,
    **{f"{n}/{s}": v for n, stats in theirs.items() for s, v in stats.items()},
)
assert dataset.meta.fps == 20 and dataset.meta.robot_type == "panda"

kinds = {"action": FeatureType.ACTION, "observation.state": FeatureType.STATE}
shapes = {"action": (7,), "observation.state": (8,)}
pictures = {k: (3, 24, 24) for k in dataset.meta.camera_keys}
features = {
    name: PolicyFeature(kinds.get(name, FeatureType.VISUAL), shape)
    for name, shape in {**shapes, **pictures}.items()
}
config = ACTConfig(
    input_features={n: f for n, f in features.items() if n != "action"},
    output_features={"action": features["action"]},
    chunk_size=3, n_action_steps=3, dim_model=32, n_heads=2, dim_feedforward=32,
    n_encoder_layers=1, n_vae_encoder_layers=1, pretrained_backbone_weights=None, device="cpu",
)
policy = ACTPolicy(config)
batch = next(iter(torch.utils.data.DataLoader(chunks, batch_size=4)))
optimizer = torch.optim.AdamW(policy.parameters(), lr=1e-3)
losses = []
for _ in range(3):
    loss, _ = policy.forward(batch)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    losses.append(loss.item())
assert np.isfinite(losses).all() and losses[-1] < losses[0], losses
"""


def test_lerobot_loads_it_and_trains_on_it(exported, tmp_path):
    folder, records = exported
    subprocess.run(
        [sys.executable, "-c", _LOADER, folder, tmp_path / "found.npz"],
        check=True,
        env={**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path)},
    )
    found = np.load(tmp_path / "found.npz")
    episodes = [records.episode(number) for number in range(len(records))]
    lengths = [len(episode.actions) for episode in episodes]
    assert np.array_equal(found["action"], np.concatenate([e.actions for e in episodes]))
    assert np.array_equal(found["observation.state"], np.concatenate([e.states for e in episodes]))
    assert found["task"].tolist() == [text for e in episodes for text in e.instructions]
    assert np.array_equal(found["episode"], np.repeat(np.arange(len(episodes)), lengths))
    assert np.allclose(found["time"], np.concatenate([np.arange(n) / 20 for n in lengths]))
    last = lengths[0] - 1  # what follows the end is the last action again
    assert np.array_equal(found["chunk"], found["action"][[last - 1, last, last]])
    assert_pictures_agree(found, records, lengths)
    assert_statistics_agree(found, json.loads((folder / "meta" / "stats.json").read_text()))


def decoded(jpeg):
    return np.asarray(Image.open(io.BytesIO(jpeg)))


def assert_pictures_agree(found, records, lengths):
    for name, camera in (("image", "image"), ("image2", "wrist_image")):
        steps = [(episode, step) for episode, n in enumerate(lengths) for step in range(n)]
        jpegs = [records.encoded(*step, camera) for step in steps]
        theirs = found[name].transpose(0, 2, 3, 1)
        assert np.allclose(np.stack([decoded(jpeg) for jpeg in jpegs]) / 255, theirs, atol=1e-6)


def assert_statistics_agree(found, ours):
    for name in ("action", "observation.state"):
        for statistic in ("min", "max", "mean", "std", "count"):
            assert np.allclose(ours[name][statistic], found[f"{name}/{statistic}"], atol=1e-6)
        spread = np.ptp(found[name], axis=0)
        for statistic in ("q01", "q50", "q99"):
            gap = np.abs(np.array(ours[name][statistic]) - found[f"{name}/{statistic}"])
            assert (gap < 0.2 * spread).all()  # (of 34 steps; theirs lie between edges of bins)


def test_pictures_are_byte_for_byte_and_statistics_of_them_are_right(exported):
    folder, records = exported
    (path,) = folder.glob("data/*/*.parquet")
    table = pq.read_table(path)
    assert pq.ParquetFile(path).num_row_groups == len(records)
    jpegs = [row["bytes"] for row in table["observation.images.image2"].to_pylist()]
    steps = [(e, s) for e, length in enumerate(records.steps) for s in range(length)]
    assert jpegs == [records.encoded(e, s, "wrist_image") for e, s in steps]
    pictures = np.stack([decoded(jpeg) for jpeg in jpegs]) / 255
    stats = json.loads((folder / "meta" / "stats.json").read_text())["observation.images.image2"]
    assert np.allclose(np.ravel(stats["mean"]), pictures.mean(axis=(0, 1, 2)), atol=1e-6)
    assert np.allclose(np.ravel(stats["std"]), pictures.std(axis=(0, 1, 2)), atol=1e-6)
    middle = np.quantile(pictures, 0.5, axis=(0, 1, 2))
    assert np.allclose(np.ravel(stats["q50"]), middle)
    (listed,) = folder.glob("meta/episodes/*/*.parquet")
    rows = pq.read_table(listed).to_pylist()
    assert [row["dlr/pattern"] for row in rows] == list(records.metadata["pattern"])
    assert [row["length"] for row in rows] == records.steps.tolist()


def test_it_is_exported_from_and_published_to_the_cloud(exported, tensorflow_side, cloud, tmp_path):  # noqa: F811
    folder, _ = exported
    source = f"gs://{BUCKET}/libero_rl/dlr/1.0.0"
    publish(PublishConfig(tensorflow_side.libero_rl, source))
    again = export(ExportConfig(source, tmp_path / "again"))
    names = sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*.parquet"))
    assert [(again / n).read_bytes() for n in names] == [(folder / n).read_bytes() for n in names]
    cloud.requests.clear()
    assert publish(PublishConfig(folder, f"gs://{BUCKET}/lerobot")).sent == 7
    asked = [path.rpartition("/")[2].replace("%2F", "/") for _, path, _ in cloud.requests]
    asked = [name.removeprefix("lerobot/").partition("?")[0] for name in asked]
    assert asked.index("digests.json") < asked.index("meta/info.json"), "the marker is the last"


def test_what_cannot_be_exported_is_one_clear_error(exported, tensorflow_side, tmp_path):  # noqa: F811
    folder, _ = exported
    with pytest.raises(DatasetError, match="is there already"):
        export(ExportConfig(str(tensorflow_side.libero_rl), folder))
    with pytest.raises(DatasetError, match="no split 'val'; there are train"):
        export(ExportConfig(str(tensorflow_side.libero_rl), tmp_path / "x", split="val"))
    assert not list(tmp_path.glob("x*"))


def test_numbers_that_are_not_finite_are_not_exported(tensorflow_side, tmp_path):  # noqa: F811
    damaged = shutil.copytree(tensorflow_side.libero_rl, tmp_path / "dlr" / "1.0.0")
    spoil(damaged)
    with pytest.raises(DatasetError, match=r"action holds NaN or infinity at step 2, .* again"):
        export(ExportConfig(str(damaged), tmp_path / "x"))
    assert not (tmp_path / "x").exists()


def test_a_shard_cut_behind_a_record_is_not_exported(tensorflow_side, tmp_path):  # noqa: F811
    damaged = shutil.copytree(tensorflow_side.libero_rl, tmp_path / "dlr" / "1.0.0")
    path = shards(damaged)[-1]
    *rest, last = records(path)
    os.truncate(path, last.offset - HEADER_BYTES)
    said = rf"holds {len(rest)} episodes, not {len(rest) + 1} as dataset_info.json says"
    with pytest.raises(DatasetError, match=said):
        export(ExportConfig(str(damaged), tmp_path / "x"))
    assert not (tmp_path / "x").exists()


def test_two_pictures_of_one_name_are_refused():
    size = 64, 64
    assert "observation.images.front" in features({"image": size, "front": size})
    with pytest.raises(DatasetError, match="image2 LeRobot would call two alike"):
        features({"image": size, "wrist_image": size, "image2": size})


def test_statistics_of_parts_are_those_of_the_whole():
    rows = np.random.default_rng(0).normal(size=(1000, 3))
    running, bounded = Running(), Running(most=300)
    for part in np.array_split(rows, 7):
        running.add(part)
        bounded.add(part)
    whole = of_vectors(rows)
    for name, value in running.summary().items():
        assert np.allclose(value, whole[name])
    assert sum(map(len, bounded._kept)) <= 300
    for name in ("mean", "std", "min", "max"):
        assert np.allclose(bounded.summary()[name], whole[name])
    assert np.allclose(bounded.summary()["q50"], whole["q50"], atol=0.2)
