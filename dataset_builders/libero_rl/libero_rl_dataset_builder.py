"""The TFDS builder `libero_rl`: stored LIBERO trajectories, rendered into RLDS episodes."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import itertools
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import tensorflow_datasets as tfds
from tensorflow_datasets.core import dataset_builder
from tensorflow_datasets.core.dataset_info import write_dataset_info_proto

from common.errors import DatasetError
from common.files import output_errors
from common.json_files import build
from common.locks import Lock, lock_file
from common.manifest import MANIFEST, check_manifest, write_manifest
from common.workers import Backend, Beam, Processes
from dataset_builders.certificate import chosen_for_replay
from dataset_builders.describing.card import Numbers, write_card
from dataset_builders.describing.statistics import decode_numbers, write_statistics
from dataset_builders.episodes import DEFAULT_CAMERAS, PictureConfig
from dataset_builders.features import (
    EPISODE,
    OBSERVATION,
    STEP,
    Feature,
    check_cameras,
    picture,
)
from dataset_builders.finishing import describe_shards, place_shards
from dataset_builders.provenance import describe_dataset
from dataset_builders.records.formats import FORMATS
from dataset_builders.replacing import remove_unfinished, remove_work, work_folder
from dataset_builders.rollouts.find import find
from dataset_builders.shards import (
    ATTEMPTS,
    SHARD_BYTES,
    Finished,
    Shard,
    plan_shards,
    write_shards,
)
from dataset_builders.sources import (
    DEMONSTRATIONS,
    FAILURES,
    Choice,
    parse_choice,
    split_episodes,
)
from generator.config import CollectConfig
from generator.recipes import RECIPES

_LICENSE = """Apache-2.0, as the project that built it. LIBERO's tasks, initial states and assets,
which the episodes and pictures follow from, are MIT; objects that LIBERO took from other
collections are as their makers license them. LIBERO's human demonstrations, if there are some, are
CC BY 4.0."""
_HOMEPAGE = "https://libero-project.github.io"
_SIZES = (10, 50, 200)
"""Episodes of each task that have configurations of their own; `dlr build` takes any number."""


@dataclasses.dataclass(eq=False)
class LiberoRlConfig(tfds.core.BuilderConfig):
    """Which episodes to publish and how to picture them."""

    method: str = ""
    """Publish the episodes of these methods; `+` joins several, "demonstrations" stands for those
    that no policy made, "" for all."""
    resolution: int = 256
    """Height and width of the pictures in pixels."""
    cameras: dict[str, str] = dataclasses.field(default_factory=lambda: dict(DEFAULT_CAMERAS))
    """Observation feature -> LIBERO camera."""
    episodes_per_task: int = 0
    """Publish so many episodes of each task, spread evenly over methods, patterns and ways; 0
    publishes all. A smaller number's episodes are among those of a larger one."""
    failures: bool = False
    """Publish failed episodes, too, in the split `failures`."""
    val_fraction: float = 0.0
    """Share of the start states whose episodes form the split `val`; 0 makes `train` alone."""
    collect: dict[str, Any] = dataclasses.field(default_factory=dict)
    """How many episodes are rolled out with each policy, and from where, where the folder holds
    policies and no trajectories: the options of `dlr collect` that are unlike its defaults."""

    def __post_init__(self) -> None:
        """Look at the pictures' names.

        Raises:
            DatasetError: one is of a feature of another kind.
        """
        check_cameras(self.cameras)

    @property
    def choice(self) -> Choice:
        """Which episodes are published."""
        return Choice(self.method, self.episodes_per_task, self.failures)


def named_config(name: str) -> LiberoRlConfig:
    """Return the configuration of a name: methods joined by `+`, then `_` and episodes per task."""
    method, size = parse_choice(name)
    words = [
        _DESCRIPTIONS.get(part, f"Successful episodes of {part}.") for part in method.split("+")
    ]
    if size:
        words.append(f"{size} episodes of each task, spread evenly over patterns and ways.")
    return LiberoRlConfig(
        name=name, method=method, episodes_per_task=size, description=" ".join(words)
    )


_DESCRIPTIONS = {
    **{recipe.name: recipe.description for recipe in RECIPES.values()},
    DEMONSTRATIONS: "Successful demonstrations, scripted or by people.",
    "human": "People's demonstrations, without their no-ops where they succeed without them.",
    "scripted": "Successful demonstrations by scripted skills, in several ways.",
    "amplified": "Successful demonstrations made from recordings, in several ways.",
}
"""Source -> what its episodes are; each is a configuration."""
_NAMES = (*_DESCRIPTIONS, *(f"human+{recipe}" for recipe in RECIPES))


class LiberoRl(dataset_builder.FileReaderBuilder):
    """Builds `libero_rl`, each config of it, from the trajectory files in `--manual_dir`."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES: ClassVar[dict[str, str]] = {
        "1.0.0": "First release: pictures, states, actions; digests, starts and a certificate.",
    }
    MANUAL_DOWNLOAD_INSTRUCTIONS = """
    `--manual_dir` is the folder of trajectory files (*.hdf5) that `dlr collect` wrote, or a run's
    folder, in which `dlr train` left policies: their episodes are then rolled out.
    """
    BUILDER_CONFIGS: ClassVar[list[LiberoRlConfig]] = [
        *(named_config(name) for name in _NAMES),
        *(named_config(f"{name}_{size}") for name in _NAMES for size in _SIZES),
    ]

    assets: str | None = None
    """Asset pack to render with; by default the one that `simulation.assets.resolve` finds."""
    workers: int | None = None
    """Rendering processes; by default one for each core."""
    lock: Lock | None = None
    """The dataset's lock, of one who has it; by default it is taken while building."""
    replay: float = 0.02
    """Share of the episodes that are simulated again while the dataset is built, and the first of
    each task, method, pattern and way; 0 leaves that out."""
    shard_bytes: int = SHARD_BYTES
    """Size of a shard, about."""
    collect: CollectConfig | None = None
    """What is rolled out with each policy, instead of what the configuration says."""

    def _info(self) -> tfds.core.DatasetInfo:
        """Return features and provenance; the latter is filled in while building."""
        config = self.builder_config
        return self.dataset_info_from_configs(
            features=tfds.features.FeaturesDict(
                {
                    "steps": tfds.features.Dataset(_step_features(config), doc="Control steps."),
                    "episode_metadata": _metadata_features(),
                }
            ),
            supervised_keys=None,
            homepage=_HOMEPAGE,
            redistribution_info={"license": _LICENSE},
            metadata=tfds.core.MetadataDict(),
        )

    def download_and_prepare(self, **settings: Any) -> None:
        """Build alone, and go on with what a killed build has finished.

        Raises:
            BusyError: another process is building the dataset.
            DatasetError: the dataset was built before, and what describes it is damaged.
            OutputError: it cannot be written.
        """
        folder = Path(self.data_path)
        alone = contextlib.nullcontext() if self.lock else lock_file(folder)
        with alone, output_errors(folder):
            remove_unfinished(folder)
            super().download_and_prepare(**settings)
            check_manifest(folder, DatasetError, "delete its folder, and build it again", True)
            remove_work(folder)

    def _download_and_prepare(
        self,
        dl_manager: tfds.download.DownloadManager,
        download_config: tfds.download.DownloadConfig,
    ) -> None:
        """Render what is missing, and put the dataset together in TFDS's temporary folder."""
        config, source = self.builder_config, Path(dl_manager.manual_dir)
        target = Path(self.data_path).absolute()  # workers elsewhere have other current folders
        work = work_folder(target.with_name(str(self.version)))
        backend = _backend(download_config, work, self.workers)
        found = find(source, config.choice, self.collect or _collecting(config), self.assets)
        print(found, file=sys.stderr)
        refs, policies = found.roll_out(work / ATTEMPTS, backend)
        splits = split_episodes(refs, config.val_fraction)
        pictures = PictureConfig(config.resolution, tuple(config.cameras.items()), self.assets)
        self.info.metadata.update(
            describe_dataset(refs, config.resolution, config.cameras, policies)
        )
        shards = plan_shards(
            self.name,
            splits,
            pictures,
            work,
            self.info.file_format.value,
            chosen_for_replay(refs, self.replay),
            self.shard_bytes,
        )
        finished = write_shards(shards, work, backend, lambda done: self._show(done, shards, work))
        place_shards(finished, target)
        self.info.metadata.update(describe_shards(finished, target))
        name, numbers = f"{self.name}/{config.name}", Numbers(refs)
        write_statistics(target, name.replace("/", "_"), _numbers(finished, numbers))
        told = dict(self.info.metadata)
        write_card(target, name, config.description or "", told, numbers, finished, refs)
        infos = [
            tfds.core.SplitInfo(
                name=split,
                shard_lengths=[len(item.shard.items) for item in items],
                num_bytes=sum(item.bytes for item in items),
                filename_template=self._get_filename_template(split_name=split),
            )
            for split, items in _by_split(finished)
        ]
        self.info.set_splits(tfds.core.splits.SplitDict(infos))
        self.info.download_size = 0
        self.info.write_to_directory(target)
        _write_manifest(target)

    def _show(self, finished: list[Finished], shards: list[Shard], work: Path) -> None:
        """Let the shards so far, if there are some, be read as a dataset in the work's folder."""
        if not finished:
            return
        totals = collections.Counter(shard.split for shard in shards)
        proto = type(self.info.as_proto)()
        proto.CopyFrom(self.info.as_proto)
        del proto.splits[:]
        for split, items in _by_split(finished):
            name = "{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_INDEX}"
            proto.splits.add(
                name=split,
                shard_lengths=[len(item.shard.items) for item in items],
                num_bytes=sum(item.bytes for item in items),
                filepath_template=f"{name}-of-{totals[split]:05d}",
            )
        self.info.features.save_config(work)
        write_dataset_info_proto(proto, dataset_info_dir=work)


def _numbers(finished: list[Finished], seen: Numbers) -> Iterator[np.ndarray]:
    """Yield the numbers of each success; all go into what the card tells, too."""
    for item in finished:
        for line in item.lines():
            numbers = decode_numbers(line["numbers"])
            seen.add(line["key"], numbers)
            if item.shard.split != FAILURES:
                yield numbers


def _by_split(finished: list[Finished]) -> list[tuple[str, list[Finished]]]:
    """Return each split's shards, which lie one after another."""
    groups = itertools.groupby(finished, key=lambda item: item.shard.split)
    return [(split, list(items)) for split, items in groups]


def _write_manifest(folder: Path) -> None:
    """Note the digests of all that describes the records; their own are in SHA256SUMS."""
    others = (p.name for p in folder.iterdir() if p.is_file() and not _is_shard(p))
    write_manifest(folder, sorted(name for name in others if name != MANIFEST))


def _is_shard(path: Path) -> bool:
    return any(f".{known}-" in path.name for known in FORMATS)


def _backend(
    download_config: tfds.download.DownloadConfig, work: Path, workers: int | None
) -> Backend:
    """Return where parts are rendered: a runner of Beam, if one is asked for, or processes."""
    options = download_config.beam_options
    if options is None:
        return Processes(workers)
    flags = []
    for name, value in options.get_all_options(drop_default=True).items():
        values = value if isinstance(value, list) else [value]
        flags += [f"--{name}" if value is True else f"--{name}={value}" for value in values]
    return Beam(tuple(flags), str(work), workers)


def _collecting(config: LiberoRlConfig) -> CollectConfig:
    """Return what is rolled out with each policy.

    Raises:
        DatasetError: there is no such option, or it has another type.
    """
    try:
        return build(CollectConfig, vars(CollectConfig()) | config.collect)
    except ValueError as error:
        names = ", ".join(vars(CollectConfig()))
        raise DatasetError(f"collect ({error}) takes {names}, as `dlr collect` does") from error


def _step_features(config: LiberoRlConfig) -> dict[str, Any]:
    pictures = {OBSERVATION + n: picture(c, config.resolution) for n, c in config.cameras.items()}
    steps = pictures | dict(STEP)
    observed = {
        n.removeprefix(OBSERVATION): f for n, f in steps.items() if n.startswith(OBSERVATION)
    }
    others = {name: _feature(f) for name, f in steps.items() if not name.startswith(OBSERVATION)}
    observation = {name: _feature(feature) for name, feature in observed.items()}
    return {"observation": tfds.features.FeaturesDict(observation), **others}


def _metadata_features() -> tfds.features.FeaturesDict:
    return tfds.features.FeaturesDict({name: _feature(item) for name, item in EPISODE.items()})


def _feature(feature: Feature) -> Any:
    """Return a feature as TFDS has it."""
    if feature.dtype is str:
        return tfds.features.Text(doc=feature.doc)
    if feature.dtype is bytes:
        shape, jpeg = feature.shape, "jpeg"
        return tfds.features.Image(
            shape=shape, dtype=np.uint8, encoding_format=jpeg, doc=feature.doc
        )
    if feature.shape:
        return tfds.features.Tensor(shape=feature.shape, dtype=feature.dtype, doc=feature.doc)
    return tfds.features.Scalar(dtype=feature.dtype, doc=feature.doc)
