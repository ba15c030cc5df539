"""`dlr build`: trajectory files to an RLDS dataset on disk, from a process pool or Apache Beam."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from common.errors import DatasetError
from common.files import check_name
from common.settings.ranges import SHARE
from dataset_builders import import_tfds
from generator.config import CollectConfig

if TYPE_CHECKING:
    from common.locks import Lock
    from dataset_builders.libero_rl.libero_rl_dataset_builder import LiberoRl, LiberoRlConfig
    from dataset_builders.sources import Choice


@dataclass(frozen=True)
class BuildConfig:
    """What to build, and where."""

    trajectories: Path
    """Folder of trajectory files that `dlr collect` or `dlr demonstrate` wrote, or a run's folder;
    a recipe that has policies there and no trajectories is rolled out."""
    data_dir: Path
    """TFDS data folder; the dataset becomes `<data_dir>/libero_rl/<config>/1.0.0`. What is unlike
    the default ends the config's name there, in this order: `_128px`, cameras, `_val0.1`,
    `_failures`."""
    config: str = "dlr"
    """Which episodes to publish: a recipe's (`dlr`, `o2o_rl`), `human`, `scripted`, `amplified`,
    `demonstrations` (all that no policy made), several joined by `+`, such as `human+dlr`; with
    `_10` at the end ten of each task, spread evenly over patterns and ways."""
    resolution: int = 256
    """Height and width of the pictures in pixels."""
    cameras: tuple[str, ...] = ("image=agentview", "wrist_image=robot0_eye_in_hand")
    """Pictures to render, as `feature=camera`."""
    val_fraction: float = 0.0
    """Share of the start states whose episodes form the split `val`; the statistics that go with
    the dataset are of both splits."""
    failures: bool = False
    """Publish failed episodes, too, in the split `failures`."""
    replay: float = 0.02
    """Share of the episodes, 0 to 1, that are simulated again from what the dataset stores, and
    the first of each task, method, pattern and way; 0 leaves that out."""
    file_format: Literal["tfrecord", "array_record"] = "tfrecord"
    """Format of the shards; OpenVLA's and Octo's loaders take the first alone."""
    assets: str | None = None
    """Asset pack to render with; by default the one found for every command."""
    workers: int | None = None
    """Rendering processes; by default one for each core. With Beam, those beside each of
    its workers; by default one, or all cores where the runner has one worker on this machine
    (FnApiRunner, PrismRunner)."""
    beam_pipeline_options: str | None = None
    """Comma-separated Beam options without dashes, such as `runner=FlinkRunner,...`; with them
    the same work runs as a Beam pipeline."""
    overwrite: bool = False
    """Replace a dataset that is there already, if its content is another or it is damaged."""
    collect: CollectConfig = CollectConfig()
    """What is rolled out with policies, as by `dlr collect`."""


def build(config: BuildConfig) -> Path:
    """Build a dataset and return its folder; one that is there already is left as it is.

    A build works in `unfinished_1.0.0` beside the dataset, whose finished shards can be read as a
    dataset meanwhile. One that was killed goes on when it is run again, and renders nothing twice
    but what was in work. A dataset that is replaced stays until the new one, which is built in
    `<data_dir>/.replacing_<config>`, is whole.

    Raises:
        TrajectoryError: the trajectories are missing or damaged.
        CollectionError: a policy succeeds too seldom.
        DatasetError: there is nothing to publish, an option is wrong, or other content is there.
        SettingError: the share of replays is none.
        BusyError: another process is building the dataset.
        OutputError: `data_dir` cannot be written, or is an address elsewhere.
    """
    from common.files import ensure_writable
    from common.workers import run_in_fresh_process
    from dataset_builders.rollouts.find import find

    SHARE.check("--replay", config.replay)
    parse_cameras(config.cameras)
    found = find(config.trajectories, _choice(config), config.collect, config.assets)
    if not found.policies:
        found.choose()
    ensure_writable(config.data_dir)
    return run_in_fresh_process(build_in_this_process, config)


def build_in_this_process(config: BuildConfig) -> Path:
    """Do what `build` does in a process that may load TensorFlow, and then must not render."""
    from common.locks import lock_file
    from dataset_builders.libero_rl.libero_rl_dataset_builder import LiberoRl
    from dataset_builders.replacing import data_dir_beside, replace, settle

    chosen = _builder_config(config)
    folder = Path(LiberoRl(data_dir=config.data_dir, config=chosen).data_path)
    with lock_file(folder) as lock:
        settle(folder)
        present = LiberoRl(data_dir=config.data_dir, config=chosen)
        if not present.is_prepared():
            _prepare(config, chosen, config.data_dir, lock)
        elif unlike := _unlike(present, config):
            if not config.overwrite:
                raise DatasetError(
                    f"{folder} {unlike}: choose another data_dir, or replace it with --overwrite"
                )
            beside = data_dir_beside(config.data_dir, folder)
            begun = LiberoRl(data_dir=beside, config=chosen)
            if begun.is_prepared() and _unlike(begun, config):
                shutil.rmtree(begun.data_path)
            replace(folder, _prepare(config, chosen, beside, lock), beside)
    return folder


def _prepare(config: BuildConfig, chosen: LiberoRlConfig, data_dir: Path, lock: Lock) -> Path:
    """Build the dataset in a TFDS data folder, where it may be whole already."""
    tfds = import_tfds()
    from dataset_builders.libero_rl.libero_rl_dataset_builder import LiberoRl

    builder = LiberoRl(data_dir=data_dir, config=chosen, file_format=config.file_format)
    tfds.disable_progress_bar()
    builder.assets, builder.workers, builder.lock = config.assets, config.workers, lock
    builder.replay, builder.collect = config.replay, config.collect
    builder.download_and_prepare(
        download_config=tfds.download.DownloadConfig(
            manual_dir=config.trajectories, beam_options=_beam_options(config)
        )
    )
    return Path(builder.data_path)


def _choice(config: BuildConfig) -> Choice:
    """Return which episodes are published.

    Raises:
        DatasetError: the configuration's name says nothing that there is.
    """
    from dataset_builders.sources import DEMONSTRATIONS, Choice, parse_choice
    from generator.recipes import RECIPES

    method, size = parse_choice(check_name(config.config, "a config", DatasetError))
    known = (*RECIPES, DEMONSTRATIONS, "human", "scripted", "amplified")
    if unknown := [part for part in method.split("+") if part not in known]:
        raise DatasetError(
            f"unknown config {unknown[0]!r}; there are {', '.join(known)}, several joined by `+`, "
            "and a number of episodes of each task, as in human+dlr_10"
        )
    return Choice(method, size, config.failures)


def _builder_config(config: BuildConfig) -> LiberoRlConfig:
    """Return the builder's configuration; a name of its own for what is unlike the default."""
    from dataset_builders.libero_rl.libero_rl_dataset_builder import (
        LiberoRl,
        LiberoRlConfig,
        named_config,
    )

    _choice(config)
    base, cameras = named_config(config.config), parse_cameras(config.cameras)
    name = base.name
    if config.resolution != base.resolution:
        name += f"_{config.resolution}px"
    if cameras != base.cameras:
        name += "_" + "_".join(cameras.values())
    if config.val_fraction != base.val_fraction:
        name += f"_val{config.val_fraction:g}"
    if config.failures:
        name += "_failures"
    if name in LiberoRl.builder_configs:  # (of which TFDS wants the very object)
        return LiberoRl.builder_configs[name]
    return LiberoRlConfig(
        name=name,
        description=base.description,
        method=base.method,
        episodes_per_task=base.episodes_per_task,
        resolution=config.resolution,
        cameras=cameras,
        val_fraction=config.val_fraction,
        failures=config.failures,
    )


def parse_cameras(cameras: tuple[str, ...]) -> dict[str, str]:
    """Return feature -> camera of `feature=camera` words.

    Raises:
        DatasetError: a word has another form, or a feature is named twice or holds numbers.
    """
    from dataset_builders.features import check_cameras

    pairs = [tuple(word.split("=")) for word in cameras]
    parsed = dict(pair for pair in pairs if len(pair) == 2 and all(pair))
    if not pairs or len(parsed) != len(pairs):
        raise DatasetError(
            f"cameras must be distinct feature=camera words such as image=agentview, "
            f"not {' '.join(cameras)!r}"
        )
    for name in (*parsed, *parsed.values()):
        check_name(name, "a feature or camera", DatasetError)
    check_cameras(parsed)
    return parsed


def _beam_options(config: BuildConfig) -> Any:
    """Return Beam's PipelineOptions, or None to build with a process pool."""
    if not config.beam_pipeline_options:
        return None
    from apache_beam.options.pipeline_options import PipelineOptions

    from common.workers import beam_options

    return PipelineOptions(list(beam_options(config.beam_pipeline_options)))


def _unlike(present: LiberoRl, config: BuildConfig) -> str | None:
    """Return in words what of the dataset on disk is not what is asked for; None if nothing is.

    What describes it is compared with its digests; with `overwrite`, so are its shards.
    """
    from common.manifest import check_manifest, check_whole

    wanted, written = config.file_format, present.info.file_format.value
    if written != wanted:
        return f"holds a dataset in {written}, not {wanted}"
    try:
        check = check_whole if config.overwrite else check_manifest
        check(Path(present.data_path), DatasetError, "build it again", required=True)
    except DatasetError as error:
        return f"is damaged ({error})"
    if not _same_content(present, config):
        return "holds a dataset built from other trajectories or with other names of cameras"
    return None


def _same_content(builder: LiberoRl, config: BuildConfig) -> bool:
    """Return whether the dataset on disk was built from these trajectories or policies."""
    from dataset_builders.provenance import describe_dataset
    from dataset_builders.rollouts.find import find

    chosen, present = builder.builder_config, dict(builder.info.metadata or {})
    found = find(config.trajectories, chosen.choice, config.collect, config.assets)
    if dict(present.get("cameras", {})) != dict(chosen.cameras):
        return False
    if found.policies:
        return found.same_sources(present.get("sources", []))
    wanted = describe_dataset(found.choose(), chosen.resolution, chosen.cameras)
    return all(present.get(name) == wanted[name] for name in ("sources", "episodes"))
