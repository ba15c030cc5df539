"""Where a run keeps what its stages make; all stages of `dlr` share one such folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from common.errors import CheckpointError, UsageError
from common.json_files import read_sealed

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

    def policies(self, task: Task, recipe: str) -> Path:
        """Folder with a folder for each stage of a recipe."""
        return self.root / "policies" / task.key / recipe

    def trajectories(self, task: Task, recipe: str) -> Path:
        """Successful episodes of a recipe's final policy."""
        return self.all_trajectories / task.key / f"{recipe}.hdf5"

    @property
    def all_trajectories(self) -> Path:
        """Folder that datasets are built from."""
        return self.root / "trajectories"

    @property
    def datasets(self) -> Path:
        """TFDS data folder."""
        return self.root / "datasets"


def read_record(policies: Path, stage: str) -> dict[str, Any]:
    """Return the record (settings, versions, report) of a finished stage of a recipe.

    Raises:
        UsageError: the stage is not finished.
        CheckpointError: the record is damaged.
    """
    path = policies / stage / RECORD
    if not path.exists():
        raise UsageError(f"{path} is not there: finish `dlr train` for this recipe first")
    remedy = f"delete {path.parent}, and `dlr train` runs the stage again"
    content = read_sealed(path, "the record of a stage", CheckpointError, remedy)
    if lacking := {"settings", "versions", "report"} - content.keys():
        raise CheckpointError(f"{path} lacks {', '.join(sorted(lacking))}: {remedy}")
    return content
