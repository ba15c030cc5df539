"""Where a run keeps what its stages make, and how they run there; all of `dlr` share its folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from common.errors import UsageError

if TYPE_CHECKING:
    from demonstrations.demonstration import Demonstration
    from generator.collect import CollectReport
    from generator.config import CollectConfig, GeneratorConfig
    from generator.recipes import TrainedRecipe
    from simulation.assets.resolve import AssetPack
    from simulation.environment import BatchEnvironment
    from simulation.tasks import Task

RECORD = "record.json"
"""File of a finished stage's folder."""
DEFAULT_RUN = Path("runs/default")
"""Folder of a run that the user gives no name."""
SLOTS = 36
"""Environments stepped together; results do not depend on it."""


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


def load_demonstrations(run: RunFolder, task: Task, assets: AssetPack) -> list[Demonstration]:
    """Return a run's demonstrations of a task, with what a policy observes with these assets.

    Raises:
        UsageError: they are not there.
        TrajectoryError: they were made with other assets.
    """
    from demonstrations.make import observe
    from simulation.environment import Environment
    from simulation.recordings.trajectories import TrajectoryFile

    path = run.demonstrations(task)
    if not path.exists():
        raise UsageError(f"{path} is not there: run `dlr demonstrate` for this task first")
    with TrajectoryFile(path) as file:
        return observe(file, Environment(task, assets))


def train_recipe(
    run: RunFolder,
    recipe: str,
    environments: BatchEnvironment,
    demonstrations: Sequence[Demonstration],
    config: GeneratorConfig,
) -> TrainedRecipe:
    """Run a recipe's stages in a run's folder, those that are finished excepted.

    Raises:
        BusyError: another process is training there.
        OutputError: the run's folder cannot be written.
    """
    from common.locks import lock_folder
    from generator.recipes import get_recipe, run_recipe

    task = environments.task
    folder = run.policies(task, recipe, config.seed)
    with lock_folder(folder):
        return run_recipe(
            get_recipe(recipe), task, environments, demonstrations, config, folder, run.stages(task)
        )


def collect_episodes(
    run: RunFolder,
    recipe: str,
    seed: int,
    environments: BatchEnvironment,
    assets: AssetPack,
    config: CollectConfig,
) -> CollectReport:
    """Collect with the run's final policy of a recipe.

    Raises:
        UsageError: the recipe's training in this run is not finished.
        CollectionError: the policy succeeds too seldom.
        OutputError: the run's folder cannot be written.
    """
    from generator.collect import collect
    from generator.config import NoiseConfig
    from generator.recipes import get_recipe

    task = environments.task
    last = get_recipe(recipe).stages[-1]
    record = final_record(run, task, recipe, seed)
    policy = last.load(run.policies(task, recipe, seed) / last.name)
    provenance = {name: record[name] for name in ("settings", "seed", "inputs", "versions")}
    path = run.trajectories(task, recipe, seed)
    noise = NoiseConfig(**record["settings"]["noise"])
    return collect(policy, environments, task, assets, recipe, config, noise, path, provenance)


def final_record(run: RunFolder, task: Task, recipe: str, seed: int) -> dict[str, Any]:
    """Return the record of a recipe's last stage.

    Raises:
        UsageError: it is not finished.
    """
    from generator.recipes import get_recipe
    from generator.stages import read_record

    return read_record(run.policies(task, recipe, seed) / get_recipe(recipe).stages[-1].name)


@dataclass(frozen=True)
class TrainingItem:
    """A recipe's training on a task with a seed, and its collection, as one work item."""

    run: RunFolder
    """The run's folder, which holds the task's demonstrations."""
    task: str
    """The task's key."""
    recipe: str
    """The recipe's name."""
    config: GeneratorConfig
    """Settings and seed of the training."""
    collect: CollectConfig
    """How many episodes, and from where."""
    assets: AssetPack
    """Asset pack to train with."""
    slots: int = SLOTS
    """Environments stepped together."""


def train_and_collect(item: TrainingItem) -> list[int]:
    """Run a recipe's stages and collect its successes, what is done excepted.

    Returns:
        The successes of each group.

    Raises:
        UsageError: the task's demonstrations are not there.
    """
    from simulation.environment import BatchEnvironment
    from simulation.tasks import get_task

    task = get_task(item.task)
    demonstrations = load_demonstrations(item.run, task, item.assets)
    environments = BatchEnvironment(task, item.slots, item.assets)
    train_recipe(item.run, item.recipe, environments, demonstrations, item.config)
    seed, pack = item.config.seed, item.assets
    report = collect_episodes(item.run, item.recipe, seed, environments, pack, item.collect)
    return report.successes
