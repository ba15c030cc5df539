"""The TFDS builder `libero_rl`: stored LIBERO trajectories, rendered into RLDS episodes."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import tensorflow_datasets as tfds

from common.files import output_errors
from common.locks import Lock, lock_file
from common.manifest import MANIFEST, write_manifest
from common.workers import Processes, run_beside, run_items
from dataset_builders.episodes import (
    DEFAULT_CAMERAS,
    DEMONSTRATIONS,
    EpisodeRef,
    PictureConfig,
    list_episodes,
    render_episode,
)
from dataset_builders.provenance import describe_dataset, split_episodes
from dataset_builders.replacing import remove_unfinished
from generator.recipes import RECIPES


@dataclasses.dataclass(eq=False)
class LiberoRlConfig(tfds.core.BuilderConfig):
    """Which episodes to publish and how to picture them."""

    method: str = ""
    """Publish the episodes of this method; "demonstrations" publishes those that no policy made,
    "" all."""
    resolution: int = 256
    """Height and width of the pictures in pixels."""
    cameras: dict[str, str] = dataclasses.field(default_factory=lambda: dict(DEFAULT_CAMERAS))
    """Observation feature -> LIBERO camera."""
    only_successes: bool = True
    """Leave failed episodes out."""
    val_fraction: float = 0.0
    """Share of the start states whose episodes form the split `val`; 0 makes `train` alone."""


class LiberoRl(tfds.core.GeneratorBasedBuilder):
    """Builds `libero_rl`, each config of it, from the trajectory files in `--manual_dir`."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES: ClassVar[dict[str, str]] = {"1.0.0": "First release."}
    MANUAL_DOWNLOAD_INSTRUCTIONS = """
    `--manual_dir` is the folder of trajectory files (*.hdf5) that `dlr collect` wrote.
    """
    BUILDER_CONFIGS: ClassVar[list[LiberoRlConfig]] = [
        *(
            LiberoRlConfig(name=recipe.name, method=recipe.name, description=recipe.description)
            for recipe in RECIPES.values()
        ),
        LiberoRlConfig(
            name=DEMONSTRATIONS,
            method=DEMONSTRATIONS,
            description="Successful demonstrations, scripted or by people.",
        ),
    ]

    assets: str | None = None
    """Asset pack to render with; by default the one that `simulation.assets.resolve` finds."""
    workers: int | None = None
    """Rendering processes; by default one for each core."""
    lock: Lock | None = None
    """The dataset's lock, of one who has it; by default it is taken while building."""
    _with_beam = False

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
            metadata=tfds.core.MetadataDict(),
        )

    def download_and_prepare(self, **settings: Any) -> None:
        """Build alone, without what killed builds have left; note what describes the records.

        Raises:
            BusyError: another process is building the dataset.
            OutputError: it cannot be written.
        """
        folder = Path(self.data_path)
        alone = contextlib.nullcontext() if self.lock else lock_file(folder)
        with alone, output_errors(folder):
            remove_unfinished(folder)
            super().download_and_prepare(**settings)
            if not (folder / MANIFEST).exists():
                write_manifest(folder, sorted(path.name for path in folder.glob("*.json")))

    def _download_and_prepare(
        self,
        dl_manager: tfds.download.DownloadManager,
        download_config: tfds.download.DownloadConfig,
    ) -> None:
        """Note whether Beam was asked for, then build."""
        self._with_beam = bool(download_config.beam_options or download_config.beam_runner)
        super()._download_and_prepare(dl_manager, download_config)

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, Any]:
        """Return what makes each split."""
        config, folder = self.builder_config, Path(dl_manager.manual_dir)
        refs = list_episodes(folder, config.method, config.only_successes)
        self.info.metadata.update(describe_dataset(refs, config.resolution, config.cameras))
        splits = split_episodes(refs, config.val_fraction)
        return {name: self._generate_examples(members) for name, members in splits.items()}

    def _generate_examples(self, refs: list[EpisodeRef]) -> Any:
        """Return (key, example) pairs of the episodes, from a process pool or from Beam."""
        config = self.builder_config
        pictures = PictureConfig(config.resolution, tuple(config.cameras.items()), self.assets)
        if not self._with_beam:
            render = functools.partial(render_episode, pictures=pictures)
            return run_items(render, refs, Processes(self.workers), "rendering")
        beam = tfds.core.lazy_imports.apache_beam
        render = functools.partial(run_beside, render_episode)
        return beam.Create(refs) | beam.Reshuffle() | beam.Map(render, pictures)


def _step_features(config: LiberoRlConfig) -> dict[str, Any]:
    size = (config.resolution, config.resolution, 3)
    scalar, tensor = tfds.features.Scalar, tfds.features.Tensor
    pictures = {
        feature: tfds.features.Image(
            shape=size,
            dtype=np.uint8,
            encoding_format="jpeg",
            doc=f"Camera {camera}, rotated by 180 degrees from the simulator's raw picture "
            "(OpenVLA's convention); picture[:, ::-1] is upright and unmirrored.",
        )
        for feature, camera in config.cameras.items()
    }
    return {
        "observation": tfds.features.FeaturesDict(
            {
                **pictures,
                "state": tensor(
                    shape=(8,),
                    dtype=np.float32,
                    doc="End-effector position (m, world), axis-angle (rad), gripper joints (m).",
                ),
                "joint_state": tensor(
                    shape=(7,), dtype=np.float32, doc="Joint angles of the arm (rad)."
                ),
            }
        ),
        "action": tensor(
            shape=(7,),
            dtype=np.float32,
            doc="Translation (x 0.05 m), rotation (x 0.5 rad), gripper (-1 opens, +1 closes), "
            "in [-1, 1]; valid on the last step too.",
        ),
        "discount": scalar(dtype=np.float32, doc="Always 1."),
        "reward": scalar(dtype=np.float32, doc="1 on the last step of a success, else 0."),
        "is_first": scalar(dtype=np.bool_, doc="First step of the episode."),
        "is_last": scalar(dtype=np.bool_, doc="Last step of the episode."),
        "is_terminal": scalar(
            dtype=np.bool_, doc="The action of this step reached the goal; false on a timeout."
        ),
        "language_instruction": tfds.features.Text(doc="The task in words."),
    }


def _metadata_features() -> tfds.features.FeaturesDict:
    texts = {
        "file_path": "Trajectory file, relative to the folder that was built.",
        "method": "Recipe that made the policy: dlr, o2o_rl; or scripted, human.",
        "way": "The demonstrator's way, for scripted demonstrations; else empty.",
        "task": "LIBERO task.",
        "suite": "LIBERO suite.",
        "policy_hash": "sha256 of the policy's checkpoint.",
        "asset_pack": "LIBERO asset pack of physics and pictures.",
        "asset_digest": "Digest of that pack.",
        "mujoco_version": "MuJoCo that ran the episode.",
        "robosuite_version": "robosuite that ran the episode.",
        "hf_libero_version": "hf-libero that ran the episode.",
        "generator_version": "dlr-vla that ran the episode.",
        "content_digest": "sha256 of all other content of this episode.",
    }
    numbers = {
        "trajectory_index": (np.int32, "Index of the episode in its file."),
        "pattern": (np.int32, "Behaviour pattern z; -1 if the policy has none."),
        "seed": (np.int64, "Seed of the episode."),
        "init_index": (np.int32, "Official init state, 0 to 49; -1 for a fresh reset."),
        "success": (np.bool_, "The task's predicate held at the end."),
    }
    return tfds.features.FeaturesDict(
        {
            **{name: tfds.features.Text(doc=doc) for name, doc in texts.items()},
            **{
                name: tfds.features.Scalar(dtype=dtype, doc=doc)
                for name, (dtype, doc) in numbers.items()
            },
        }
    )
