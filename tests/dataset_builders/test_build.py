"""Every way of building gives the same content, and mistakes get one clear error."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

import dataset_builders
from cli.main import main
from common.errors import DatasetError, OutputError, SettingError, TrajectoryError, WorkerError
from common.workers import map_in_processes
from dataset_builders.build import BuildConfig, build, parse_cameras
from dataset_builders.episodes import check_numbers
from dataset_builders.finishing import read_episodes
from dataset_builders.replacing import data_dir_beside, settle
from dataset_builders.sources import list_episodes, split_episodes
from dataset_builders.verify import verify
from simulation.assets.resolve import AssetPack
from simulation.recordings.trajectories import TrajectoryFile, TrajectoryWriter
from tests.generator.conftest import kill_when

BUILDER_FOLDER = Path(dataset_builders.__file__).parent / "libero_rl"
FNAPI = "runner=FnApiRunner"


def test_tfds_build_with_beam_gives_the_same_content(
    dataset: Path, trajectories: Path, tmp_path: Path
) -> None:
    resolution = int(dataset.parent.name.removeprefix("dlr_").removesuffix("px"))
    config = f'{{"name": "mine", "method": "dlr", "resolution": {resolution}}}'
    command: list[str | Path] = [Path(sys.executable).parent / "tfds", "build", "--config", config]
    command += ["--manual_dir", trajectories, "--data_dir", tmp_path]
    command += ["--beam_pipeline_options", FNAPI]
    subprocess.run(command, cwd=BUILDER_FOLDER, check=True, capture_output=True)
    mine = tmp_path / "libero_rl/mine/1.0.0"
    assert verify(mine, replay=0).digest == verify(dataset, replay=0).digest
    (ours,), (theirs,) = dataset.glob("*.tfrecord*"), mine.glob("*.tfrecord*")
    assert ours.read_bytes() == theirs.read_bytes()


def test_building_again_keeps_the_dataset_unless_the_trajectories_changed(
    dataset: Path, trajectories: Path, tmp_path: Path
) -> None:
    before = (dataset / "dataset_info.json").stat().st_mtime_ns
    resolution = int(dataset.parent.name.removeprefix("dlr_").removesuffix("px"))
    config = BuildConfig(trajectories, dataset.parents[2], resolution=resolution)
    assert build(config) == dataset
    assert (dataset / "dataset_info.json").stat().st_mtime_ns == before
    other = tmp_path / "renamed.hdf5"
    os.link(trajectories / "libero_90.hdf5", other)
    with pytest.raises(DatasetError, match="other trajectories"):
        build(dataclasses.replace(config, trajectories=tmp_path))
    with pytest.raises(DatasetError, match=r"in tfrecord, not array_record: .*--overwrite"):
        build(dataclasses.replace(config, file_format="array_record"))


def test_a_dataset_makes_way_for_one_of_another_file_format(
    dataset: Path, trajectories: Path, tmp_path: Path
) -> None:
    shutil.copytree(dataset.parents[2], tmp_path / "data")
    resolution = int(dataset.parent.name.removeprefix("dlr_").removesuffix("px"))
    config = BuildConfig(
        trajectories, tmp_path / "data", resolution=resolution, file_format="array_record",
        overwrite=True,
    )  # fmt: skip
    assert list(build(config).glob("*.array_record*"))


@pytest.fixture
def copied(dataset: Path, trajectories: Path, tmp_path: Path) -> tuple[BuildConfig, Path]:
    """A copy of the dataset, and what builds it."""
    shutil.copytree(dataset.parents[2], tmp_path / "data")
    resolution = int(dataset.parent.name.removeprefix("dlr_").removesuffix("px"))
    config = BuildConfig(trajectories, tmp_path / "data", resolution=resolution, overwrite=True)
    return config, tmp_path / "data" / dataset.relative_to(dataset.parents[2])


def test_what_is_the_same_is_not_built_again_to_be_replaced(
    copied: tuple[BuildConfig, Path],
) -> None:
    config, folder = copied
    before = folder.stat().st_ino
    assert build(config) == folder and folder.stat().st_ino == before


def test_a_damaged_dataset_is_replaced_by_the_same_one(
    dataset: Path, copied: tuple[BuildConfig, Path]
) -> None:
    config, folder = copied
    (shard,) = folder.glob("*.tfrecord*")
    shard.write_bytes(shard.read_bytes()[:-1])
    build(config)
    assert {p.name: p.read_bytes() for p in folder.iterdir()} == {
        p.name: p.read_bytes() for p in dataset.iterdir()
    }
    assert not data_dir_beside(config.data_dir, folder).exists()
    assert [p.name for p in folder.parent.iterdir()] == [folder.name]


def test_a_dataset_that_is_to_be_replaced_stays_until_then(
    copied: tuple[BuildConfig, Path],
) -> None:
    config, folder = copied
    code = f"""
from pathlib import Path
from dataset_builders.build import BuildConfig, build
build(BuildConfig(Path({str(config.trajectories)!r}), Path({str(config.data_dir)!r}),
      resolution={config.resolution}, file_format="array_record", overwrite=True))
"""
    beside = data_dir_beside(config.data_dir, folder)
    work = beside / folder.relative_to(config.data_dir)
    kill_when(lambda: work.with_name("unfinished_1.0.0").exists(), code)
    assert verify(folder, replay=0).episodes
    build(dataclasses.replace(config, file_format="array_record"))
    assert list(folder.glob("*.array_record*")) and not list(folder.glob("*.tfrecord*"))


def test_what_a_killed_replacement_left_is_settled(dataset: Path, tmp_path: Path) -> None:
    folder = tmp_path / "1.0.0"
    aside = tmp_path / "incomplete.replaced_1.0.0"
    shutil.copytree(dataset, aside)
    settle(folder)
    assert verify(folder, replay=0).episodes and not aside.exists()
    shutil.copytree(dataset, aside)
    settle(folder)
    assert verify(folder, replay=0).episodes and not aside.exists()


def test_a_data_folder_elsewhere_is_refused(trajectories: Path) -> None:
    with pytest.raises(OutputError, match=r"an address elsewhere.*dlr publish"):
        build(BuildConfig(trajectories, Path("gs://bucket/data")))
    with pytest.raises(SettingError, match="--replay lies in 0 to 1, not 3"):
        build(BuildConfig(trajectories, Path("data"), replay=3))


def test_validation_and_failures_are_splits_of_their_own(
    trajectories: Path, tmp_path: Path
) -> None:
    config = BuildConfig(
        trajectories, tmp_path, resolution=24, val_fraction=0.5, failures=True, replay=0, workers=1
    )
    built = build(config)
    info = json.loads((built / "dataset_info.json").read_text())
    sizes = {split["name"]: split["shardLengths"] for split in info["splits"]}
    assert sizes == {"train": ["1"], "val": ["1"], "failures": ["1"]}
    assert verify(built, trajectories, replay=0).episodes == 3
    assert sorted(one.split for one in read_episodes(built)) == ["failures", "train", "val"]
    (found,) = json.loads((built / "statistics_openvla.json").read_text()).values()
    assert (found["num_transitions"], found["num_trajectories"]) == (7, 2)


def test_other_names_of_the_cameras_are_another_dataset(
    dataset: Path, trajectories: Path, tmp_path: Path
) -> None:
    resolution = int(dataset.parent.name.removeprefix("dlr_").removesuffix("px"))
    config = BuildConfig(
        trajectories, tmp_path, resolution=resolution,
        cameras=("front=agentview", "wrist=robot0_eye_in_hand"),
    )  # fmt: skip
    assert build(config) == build(config)
    with pytest.raises(DatasetError, match="with other names of cameras"):
        build(dataclasses.replace(config, cameras=("image=agentview", "wrist=robot0_eye_in_hand")))


def test_missing_trajectories(tmp_path: Path) -> None:
    with pytest.raises(TrajectoryError, match="no trajectories folder"):
        build(BuildConfig(tmp_path / "absent", tmp_path / "out"))
    with pytest.raises(DatasetError, match=r"no finished policy of it .*run `dlr collect`, or"):
        build(BuildConfig(tmp_path, tmp_path / "out"))
    with pytest.raises(DatasetError, match=r"no successful episodes of method 'human'.*collect"):
        build(BuildConfig(tmp_path, tmp_path / "out", config="human"))


def test_truncated_file_is_named(trajectories: Path, tmp_path: Path) -> None:
    content = (trajectories / "libero_90.hdf5").read_bytes()
    (tmp_path / "half.hdf5").write_bytes(content[: len(content) // 2])
    with pytest.raises(TrajectoryError, match=r"half\.hdf5"):
        build(BuildConfig(tmp_path, tmp_path / "out"))


def test_no_episode_of_the_config(trajectories: Path, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="holds no successful episodes of method 'o2o_rl'"):
        os.link(trajectories / "libero_90.hdf5", tmp_path / "a.hdf5")
        build(BuildConfig(tmp_path, tmp_path / "out", config="o2o_rl"))


def test_unwritable_output(trajectories: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="cannot write"):
        build(BuildConfig(trajectories, tmp_path / "file" / "out"))


def test_unknown_config_and_cameras(trajectories: Path, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="there are dlr, o2o_rl"):
        build(BuildConfig(trajectories, tmp_path, config="drl"))
    for words in ((), ("agentview",), ("image=a", "image=b")):
        with pytest.raises(DatasetError, match="feature=camera"):
            parse_cameras(words)
    with pytest.raises(DatasetError, match="'state' holds numbers: name the pictures otherwise"):
        parse_cameras(("image=agentview", "state=frontview"))


@pytest.mark.parametrize(
    "word", ["image=../../x", "../x=agentview", "/etc=agentview", ".x=a", "a b=c"]
)
def test_a_name_that_leaves_the_folder_is_refused_before_one_is_made(
    word: str, trajectories: Path, tmp_path: Path
) -> None:
    with pytest.raises(DatasetError, match="may lead out of its folder"):
        build(BuildConfig(trajectories, tmp_path / "data", cameras=(word,)))
    assert not list(tmp_path.iterdir())


NOT_PUBLISHED: dict[str, tuple[dict[str, Any], str]] = {
    "nan": ({"actions": np.full((4, 7), np.nan)}, "actions holds NaN"),
    "infinity": ({"joints": np.full((4, 7), np.inf)}, "joints holds NaN or infinity"),
    "final": ({"final_proprio": np.full(8, np.nan)}, "final_proprio holds NaN"),
    "shorter": ({"actions": np.zeros((3, 7))}, r"states has shape \(4, \d+\), not \(3, "),
    "narrow": ({"actions": np.zeros((4, 6))}, r"shape \(4, 6\), not \(4, 7\)"),
    "none": ({"actions": np.zeros((0, 7))}, "states has shape"),
}


@pytest.mark.parametrize(("changes", "message"), NOT_PUBLISHED.values(), ids=NOT_PUBLISHED)
def test_numbers_that_are_not_whole_are_not_published(
    changes: dict[str, Any], message: str, trajectories: Path
) -> None:
    with TrajectoryFile(trajectories / "libero_90.hdf5") as file:
        episode = file[0]
    check_numbers(episode, "a")
    with pytest.raises(DatasetError, match=message):
        check_numbers(dataclasses.replace(episode, **changes), "a")


def test_an_action_that_is_no_number_never_gets_into_a_dataset(
    trajectories: Path, tmp_path: Path
) -> None:
    copy = Path(shutil.copytree(trajectories, tmp_path / "trajectories"))
    with h5py.File(copy / "libero_90.hdf5", "r+") as file:
        file["data/demo_0/actions"][1, 2] = np.nan
    with pytest.raises((DatasetError, TrajectoryError)):
        build(BuildConfig(copy, tmp_path / "data", workers=1))
    assert not list((tmp_path / "data").rglob("dataset_info.json"))


def test_demonstrations_are_what_no_policy_made(tmp_path: Path, trajectories: Path) -> None:
    with TrajectoryFile(trajectories / "libero_90.hdf5") as source:
        task, episode = source.task, next(iter(source))
        pack = AssetPack(source.asset_pack, Path(), source.asset_digest)
    methods = {"scripted": "", "human": "", "some_day": "", "dlr": "ab12"}
    writer = TrajectoryWriter(tmp_path / "all.hdf5", task, pack, {}, len(methods))
    for index, (method, policy) in enumerate(methods.items()):
        info = dataclasses.replace(episode.info, method=method, policy_hash=policy)
        writer.add(index, dataclasses.replace(episode, info=info))
    writer.finish().close()
    kept = {config: list_episodes(tmp_path, config) for config in ("demonstrations", "dlr", "")}
    found = {config: [ref.info.method for ref in refs] for config, refs in kept.items()}
    demonstrations = ["scripted", "human", "some_day"]
    assert found == {"demonstrations": demonstrations, "dlr": ["dlr"], "": list(methods)}


def test_verify_asks_for_the_folder_of_one_version(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="give the folder of one version"):
        verify(tmp_path)


def test_splits_share_no_start_state(trajectories: Path) -> None:
    refs = list_episodes(trajectories, method="")
    refs += [dataclasses.replace(ref, index=ref.index + 10) for ref in refs]
    splits = split_episodes(refs, val_fraction=0.34)
    starts = {name: {ref.start for ref in members} for name, members in splits.items()}
    assert (len(starts["train"]), len(starts["val"])) == (2, 1)
    assert not starts["train"] & starts["val"]
    with pytest.raises(DatasetError, match="split empty"):
        split_episodes(refs, val_fraction=0.01)


def test_a_killed_process_is_reported() -> None:
    with pytest.raises(WorkerError, match="a process died while rendering"):
        list(map_in_processes(os._exit, [1], description="rendering"))


def test_a_folder_is_looked_at_and_read_as_it_lies(
    dataset: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["load", str(dataset)])
    told = capsys.readouterr().out
    assert f"others:    tfds.builder_from_directory({str(dataset)!r})" in told
    assert "--to" not in told
    with pytest.raises(SystemExit):
        main(["load", str(dataset / "features.json")])
    assert "features.json is no folder" in capsys.readouterr().err
