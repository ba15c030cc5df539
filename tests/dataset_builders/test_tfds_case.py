"""TFDS's own test of dataset builders, on ours; run in a process that may load TensorFlow."""

from __future__ import annotations

import dataclasses
import sys
import unittest
from pathlib import Path
from typing import Any, ClassVar

import pytest
from cloudpickle import register_pickle_by_value  # type: ignore[import-untyped]

from common.errors import DatasetError
from common.workers import run_in_fresh_process
from dataset_builders import import_tfds

register_pickle_by_value(sys.modules[__name__])  # the fresh process cannot import this file


DUMMY_DATA = Path(__file__).parents[2] / "dataset_builders" / "libero_rl" / "dummy_data"


class Stop(Exception):
    """Ends a build before its dataset is put together."""


def read_unfinished(trajectories: Path, folder: Path) -> dict[str, Any]:
    """Stop a build, and return what can be read of it before and after it goes on."""
    tfds = import_tfds()
    from dataset_builders.libero_rl import libero_rl_dataset_builder as module

    def read(path: Path) -> int:
        return len(list(tfds.builder_from_directory(path).as_dataset(split="train")))

    def stop(finished: list[Any], target: Path) -> None:
        builder._show(finished[:1], [item.shard for item in finished], work)
        raise Stop

    config = module.LiberoRlConfig(name="tiny", method="dlr", resolution=32)
    settings = {"download_config": tfds.download.DownloadConfig(manual_dir=trajectories)}
    builder = module.LiberoRl(data_dir=folder, config=config)
    builder.shard_bytes, builder.workers, builder.replay = 1, 1, 0.0
    whole = Path(builder.data_path)
    work = whole.with_name("unfinished_1.0.0")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "place_shards", stop)
        with pytest.raises(Stop):
            builder.download_and_prepare(**settings)
    found = {"before": read(work), "was there": whole.exists()}
    times = {path.name: path.stat().st_mtime_ns for path in work.glob("*.tfrecord*-*2")}
    builder.download_and_prepare(**settings)
    same = all((whole / name).stat().st_mtime_ns == time for name, time in times.items())
    return {**found, "after": read(whole), "same": same, "left": work.exists()}


def run_case() -> dict[str, Any]:
    """Run all of `tfds.testing.DatasetBuilderTestCase` on `dummy_data`; return what failed."""
    tfds = import_tfds()
    from absl import flags

    from dataset_builders.libero_rl.libero_rl_dataset_builder import (
        LiberoRl,
        _collecting,
        named_config,
    )

    flags.FLAGS.mark_as_parsed()
    examples, config = str(DUMMY_DATA), named_config("dlr_1")
    config.resolution = 32

    # (TFDS looks for dummy_data beside the builder by itself; a class of no file has to say it.)
    class Case(tfds.testing.DatasetBuilderTestCase):  # type: ignore[name-defined]
        DATASET_CLASS = LiberoRl
        SPLITS: ClassVar = {"train": 1}
        EXAMPLE_DIR = examples
        BUILDER_CONFIG_NAMES_TO_TEST: ClassVar = [config]
        MOCK_OUT_FORBIDDEN_OS_FUNCTIONS = False

    result = unittest.TestResult()
    unittest.defaultTestLoader.loadTestsFromTestCase(Case).run(result)
    told = [text for _, text in (*result.failures, *result.errors)]
    info = LiberoRl(data_dir="/nowhere", config="human+dlr_50").info
    mine = dataclasses.replace(config, collect={"episodes": 6})
    with pytest.raises(DatasetError, match=r"unknown: episode.* takes episodes, groups"):
        _collecting(dataclasses.replace(config, collect={"episode": 6}))
    return {
        "collected": _collecting(mine).episodes,
        "run": result.testsRun,
        "told": told,
        "configs": [item.name for item in LiberoRl.BUILDER_CONFIGS],
        "notes": [LiberoRl.RELEASE_NOTES.get(str(LiberoRl.VERSION), "")],
        "cited": info.citation,
        "license": info.redistribution_info.license,
        "homepage": info.homepage,
    }


def test_finished_shards_are_a_dataset_and_stay(trajectories: Path, tmp_path: Path) -> None:
    found = run_in_fresh_process(read_unfinished, trajectories, tmp_path)
    assert found == {"before": 1, "was there": False, "after": 2, "same": True, "left": False}


def test_tfds_accepts_the_builder() -> None:
    found = run_in_fresh_process(run_case)
    assert not found["told"], found["told"][0]
    assert found["run"] >= 5 and found["collected"] == 6
    assert {"dlr", "o2o_rl", "human", "scripted", "human+dlr", "dlr_10"} <= set(found["configs"])
    assert all(found["notes"]) and "liu2023libero" in found["cited"]
    assert "Apache-2.0" in found["license"] and found["homepage"].startswith("https://")
