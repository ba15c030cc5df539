"""Where a run keeps what its stages make; all stages of `dlr` share one such folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from simulation.tasks import Task

RECORD = "record.json"
"""File of a finished stage's folder."""
DEFAULT_RUN = Path("runs/default")
"""Folder of a run that the user gives no name."""


@dataclass(frozen=True)
class RunFolder:
    """A run's folder: `demonstrations`, `policies`, `trajectories`, `datasets` and the report."""

    root: Path
    """The folder itself."""

    def demonstrations(self, task: Task) -> Path:
        """Demonstrations that the task's policies learn from."""
        return self.root / "demonstrations" / f"{task.key}.hdf5"

    def stages(self, task: Task) -> Path:
        """Folders of finished stages and those in work, which recipes and settings share."""
        return self.root / "policies" / task.key / "stages"

    def policies(self, task: Task, recipe: str, seed: int) -> Path:
        """Folder with a link to the folder of each stage of a recipe."""
        return self.root / "policies" / task.key / recipe / _seed(seed)

    def trajectories(self, task: Task, recipe: str, seed: int) -> Path:
        """Successful episodes of a recipe's final policy."""
        return self.all_trajectories / task.key / recipe / f"{_seed(seed)}.hdf5"

    @property
    def all_trajectories(self) -> Path:
        """Folder that datasets are built from."""
        return self.root / "trajectories"

    @property
    def datasets(self) -> Path:
        """TFDS data folder."""
        return self.root / "datasets"


def _seed(seed: int) -> str:
    return f"seed_{seed}"
