"""The work item that builds a dataset of a run: of a recipe, or of one task's part of it."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from common.workers.progress import tell, telling
from generator.run_folder import RunFolder
from generator.work.items import Result, told_as

if TYPE_CHECKING:
    from simulation.assets.resolve import AssetPack


@dataclass(frozen=True)
class BuildItem:
    """Build a dataset of a run's trajectories, all of a recipe's or one task's alone."""

    run: RunFolder
    """The run's folder."""
    recipe: str
    """Whose episodes."""
    assets: AssetPack
    """Asset pack to render with."""
    task: str = ""
    """Key of the one task whose episodes make this part; empty for all that the run has."""
    verify: bool = False
    """Prove what was built."""

    @property
    def what(self) -> str:
        """What is done."""
        return f"dataset of {self.recipe}"

    @property
    def trajectories(self) -> Path:
        """Folder of the trajectories."""
        folder = self.run.all_trajectories
        return folder / self.task / self.recipe if self.task else folder

    @property
    def data_dir(self) -> Path:
        """TFDS data folder, one of its own for each part."""
        return self.run.dataset_parts / self.task if self.task else self.run.datasets

    def __call__(self) -> Result:
        """Build, and verify if that was asked for.

        A part of other trajectories, such as of fewer seeds, is replaced.

        Raises:
            DatasetError: nothing was collected, or it is not what it says.
        """
        from dataset_builders.build import BuildConfig, build
        from dataset_builders.verify import verify

        seconds, began = {}, time.monotonic()
        with telling(*told_as(self.run, self)):
            tell("build")
            config = BuildConfig(
                self.trajectories,
                self.data_dir,
                self.recipe,
                assets=str(self.assets.path),
                overwrite=bool(self.task),
            )
            folder = build(config)
            seconds["build"] = time.monotonic() - began
            result: Result = {"folder": str(folder), "seconds": seconds}
            if self.verify:
                tell("verify")
                began = time.monotonic()
                found = verify(folder, self.trajectories, str(self.assets.path))
                seconds["verify"] = time.monotonic() - began
                result |= {
                    "episodes": found.episodes, "steps": found.steps, "sha256": found.digest
                }  # fmt: skip
        return result

    def describe(self, result: Result) -> str:
        """Return where it lies, and what it holds if that was verified."""
        if "sha256" not in result:
            return str(result["folder"])
        return (
            f"{result['episodes']} episodes, {result['steps']} steps, sha256 "
            f"{result['sha256'][:12]}, {result['folder']}"
        )
