"""`dlr build`: trajectory files to an RLDS dataset on disk, from a process pool or Apache Beam."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from common.errors import DatasetError
from common.files import check_name
from dataset_builders import import_tfds

if TYPE_CHECKING:
    from dataset_builders.libero_rl.libero_rl_dataset_builder import LiberoRl, LiberoRlConfig


CONFIGS = ("dlr", "o2o_rl", "demonstrations")
"""Configs, each with the name of the method whose episodes it publishes."""


@dataclass(frozen=True)
class BuildConfig:
    """What to build, and where."""

    trajectories: Path
    """Folder of trajectory files that `dlr collect` or `dlr demonstrate` wrote."""
    data_dir: Path
    """TFDS data folder; the dataset becomes `<data_dir>/libero_rl/<config>/1.0.0`."""
    config: str = "dlr"
    """Which episodes to publish: `dlr`, `o2o_rl`, or `demonstrations`, those of no policy."""
    resolution: int = 256
    """Height and width of the pictures in pixels."""
    cameras: tuple[str, ...] = ("image=agentview", "wrist_image=robot0_eye_in_hand")
    """Pictures to render, as `feature=camera`."""
    val_fraction: float = 0.0
    """Share of the start states whose episodes form the split `val`."""
    assets: str | None = None
    """Asset pack to render with; by default the one found for every command."""
    workers: int | None = None
    """Rendering processes; by default one for each core. Beam's own options replace it."""
    beam_pipeline_options: str | None = None
    """Comma-separated Beam options without dashes, such as `runner=FlinkRunner,...`; with them
    the same work runs as a Beam pipeline."""
    overwrite: bool = False
    """Replace a dataset of other content that is there already."""


def build(config: BuildConfig) -> Path:
    """Build a dataset and return its folder; one that is there already is left as it is.

    A build that was killed leaves nothing that matters: TFDS writes into a temporary folder and
    renames it at the end. Run it again; what it left is removed. A dataset that is replaced stays
    until the new one is whole.

    Raises:
        TrajectoryError: the trajectories are missing or damaged.
        DatasetError: there is nothing to publish, an option is wrong, or other content is there.
        BusyError: another process is building the dataset.
        OutputError: `data_dir` cannot be written.
    """
    from common.files import ensure_writable
    from common.workers import run_in_fresh_process
    from dataset_builders.episodes import list_episodes

    if config.config not in CONFIGS:
        raise DatasetError(f"unknown config {config.config!r}; there are {', '.join(CONFIGS)}")
    parse_cameras(config.cameras)
    list_episodes(config.trajectories, config.config)
    ensure_writable(config.data_dir)
    return run_in_fresh_process(build_in_this_process, config)


def build_in_this_process(config: BuildConfig) -> Path:
    """Do what `build` does in a process that may load TensorFlow, and then must not render."""
    tfds = import_tfds()
    from common.locks import lock_file
    from dataset_builders.libero_rl.libero_rl_dataset_builder import LiberoRl
    from dataset_builders.replacing import making_way

    settings = {"data_dir": config.data_dir, "config": _builder_config(config)}
    folder = Path(LiberoRl(**settings).data_path)
    with lock_file(folder) as lock, making_way(folder, config.overwrite):
        builder = LiberoRl(**settings)
        if builder.is_prepared():
            _check_same_content(builder, config)
            return folder
        tfds.disable_progress_bar()  # ours knows the number of episodes
        builder.assets, builder.workers, builder.lock = config.assets, config.workers, lock
        builder.download_and_prepare(
            download_config=tfds.download.DownloadConfig(
                manual_dir=config.trajectories, beam_options=_beam_options(config)
            )
        )
    return folder


def _builder_config(config: BuildConfig) -> LiberoRlConfig:
    """Return the builder's configuration; a name of its own for pictures unlike the default's."""
    from dataset_builders.libero_rl.libero_rl_dataset_builder import LiberoRl, LiberoRlConfig

    base = next(item for item in LiberoRl.BUILDER_CONFIGS if item.name == config.config)
    cameras = parse_cameras(config.cameras)
    name = base.name
    if config.resolution != base.resolution:
        name += f"_{config.resolution}px"
    if cameras != base.cameras:
        name += "_" + "_".join(cameras.values())
    if config.val_fraction != base.val_fraction:
        name += f"_val{config.val_fraction:g}"
    if name == base.name:
        return base
    return LiberoRlConfig(
        name=name,
        description=base.description,
        method=base.method,
        only_successes=base.only_successes,
        resolution=config.resolution,
        cameras=cameras,
        val_fraction=config.val_fraction,
    )


def parse_cameras(cameras: tuple[str, ...]) -> dict[str, str]:
    """Return feature -> camera of `feature=camera` words.

    Raises:
        DatasetError: a word has another form, or a feature is named twice.
    """
    pairs = [tuple(word.split("=")) for word in cameras]
    parsed = dict(pair for pair in pairs if len(pair) == 2 and all(pair))
    if not pairs or len(parsed) != len(pairs):
        raise DatasetError(
            f"cameras must be distinct feature=camera words such as image=agentview, "
            f"not {' '.join(cameras)!r}"
        )
    for name in (*parsed, *parsed.values()):
        check_name(name, "a feature or camera", DatasetError)
    return parsed


def _beam_options(config: BuildConfig) -> Any:
    """Return Beam's PipelineOptions, or None to build with a process pool."""
    if not config.beam_pipeline_options:
        return None
    from apache_beam.options.pipeline_options import PipelineOptions

    return PipelineOptions([f"--{flag}" for flag in config.beam_pipeline_options.split(",")])


def _check_same_content(builder: LiberoRl, config: BuildConfig) -> None:
    """Raise DatasetError if the dataset on disk was built from other trajectories."""
    from dataset_builders.episodes import list_episodes
    from dataset_builders.provenance import describe_dataset

    chosen = builder.builder_config
    refs = list_episodes(config.trajectories, chosen.method, chosen.only_successes)
    wanted = describe_dataset(refs, chosen.resolution, chosen.cameras)
    present = dict(builder.info.metadata or {})
    if any(present.get(name) != wanted[name] for name in ("sources", "episodes")):
        raise DatasetError(
            f"{builder.data_path} holds a dataset built from other trajectories: choose another "
            "data_dir, or replace it with --overwrite"
        )
