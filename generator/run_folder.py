"""Where a run keeps what its stages make, and how they run there; all of `dlr` share its folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from common.errors import UsageError

if TYPE_CHECKING:
    from demonstrations.demonstration import Demonstration
    from generator.collect import CollectReport
    from generator.config import CollectConfig, GeneratorConfig, NoiseConfig
    from generator.pixels.encoder import Device
    from generator.recipes import TrainedRecipe
    from simulation.assets.resolve import AssetPack
    from simulation.environment import BatchEnvironment
    from simulation.tasks import Task

DEFAULT_RUN = Path("runs/default")
"""Folder of a run that the user gives no name."""
SLOTS = 36
"""Environments stepped together; results do not depend on it."""
LEARN = "learn"
"""Name of the stage whose policy is measured beside the final one."""


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

    def learned(self, task: Task, recipe: str, seed: int) -> Path:
        """Successful episodes of a recipe's policy after `learn`, for the report alone."""
        return self.root / "learned" / task.key / recipe / f"{_seed(seed)}.hdf5"

    @property
    def progress(self) -> Path:
        """Folder in which work items tell how far they are."""
        return self.root / ".progress"

    @property
    def datasets(self) -> Path:
        """TFDS data folder."""
        return self.root / "datasets"

    @property
    def dataset_parts(self) -> Path:
        """Folder of the TFDS data folders of single tasks."""
        return self.root / "dataset_parts"


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


def check_assets(run: RunFolder, task: Task, assets: AssetPack) -> None:
    """Look at whether a run's demonstrations of a task, where they are, were made with assets.

    Raises:
        TrajectoryError: they were made with others.
    """
    from demonstrations.make import check_made_with
    from simulation.recordings.trajectories import TrajectoryFile

    if run.demonstrations(task).exists():
        with TrajectoryFile(run.demonstrations(task)) as file:
            check_made_with(file, task, assets)


def train_recipe(
    run: RunFolder,
    recipe: str,
    environments: BatchEnvironment,
    demonstrations: Sequence[Demonstration],
    config: GeneratorConfig,
    until: str = "",
) -> TrainedRecipe:
    """Run a recipe's stages in a run's folder, those that are finished excepted.

    Args:
        run: the run's folder.
        recipe: the recipe's name.
        environments: slots of the task.
        demonstrations: what the recipe learns from.
        config: settings and seed.
        until: the last stage to run; by default the recipe's last.

    Raises:
        BusyError: another process is training there.
        OutputError: the run's folder cannot be written.
    """
    from common.locks import lock_folder
    from generator.recipes import get_recipe, run_recipe

    task = environments.task
    folder, chosen = run.policies(task, recipe, config.seed), get_recipe(recipe)
    if until:
        names = [stage.name for stage in chosen.stages]
        chosen = replace(chosen, stages=chosen.stages[: names.index(until) + 1])
    with lock_folder(folder):
        return run_recipe(
            chosen, task, environments, demonstrations, config, folder, run.stages(task)
        )


def collect_episodes(
    run: RunFolder,
    recipe: str,
    seed: int,
    environments: BatchEnvironment,
    assets: AssetPack,
    config: CollectConfig,
    noise: NoiseConfig | None = None,
    path: Path | None = None,
) -> CollectReport:
    """Collect with the run's final policy of a recipe.

    Args:
        run: the run.
        recipe: the recipe's name.
        seed: of its training.
        environments: slots of the task.
        assets: asset pack of the environments.
        config: which episodes.
        noise: of the motion; by default as the policy was trained and evaluated with.
        path: the file to write; by default the run's of the recipe's episodes.

    Raises:
        UsageError: the recipe's training in this run is not finished.
        CollectionError: the policy succeeds too seldom, and the settings want all episodes.
        OutputError: the file cannot be written.
    """
    from generator.recipes import get_recipe

    path = path or run.trajectories(environments.task, recipe, seed)
    stage = get_recipe(recipe).stages[-1].name
    return _collect(run, recipe, seed, stage, environments, assets, config, recipe, path, noise)


def collect_learned(
    run: RunFolder,
    recipe: str,
    seed: int,
    environments: BatchEnvironment,
    assets: AssetPack,
    config: CollectConfig,
) -> CollectReport:
    """Collect with the policy that a recipe's stage `learn` made, for the report.

    Raises:
        UsageError: that stage is not finished in this run.
        CollectionError: the policy succeeds too seldom, and the settings want all episodes.
        OutputError: the run's folder cannot be written.
    """
    path = run.learned(environments.task, recipe, seed)
    method = f"{recipe}_{LEARN}"
    return _collect(run, recipe, seed, LEARN, environments, assets, config, method, path)


def _collect(
    run: RunFolder,
    recipe: str,
    seed: int,
    stage: str,
    environments: BatchEnvironment,
    assets: AssetPack,
    config: CollectConfig,
    method: str,
    path: Path,
    noise: NoiseConfig | None = None,
) -> CollectReport:
    from generator.collect import collect
    from generator.config import NoiseConfig
    from generator.pixels.encoder import has_gpu
    from generator.policies.seeing import place
    from generator.recipes import get_recipe, read_summary

    task = environments.task
    maker = next(s for s in get_recipe(recipe).stages if s.name == stage)
    folder = run.policies(task, recipe, seed) / stage
    record, provenance = read_provenance(folder)
    device: Device = read_summary(folder.parent)["config"]["device"] if has_gpu() else "cpu"
    policy = place(maker.load(folder), device)
    noise = noise or NoiseConfig(**record["settings"]["noise"])
    return collect(policy, environments, task, assets, method, config, noise, path, provenance)


def read_provenance(folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return a finished stage's record, and what of it goes with what its policy collects.

    Raises:
        UsageError: the stage is not finished.
    """
    from generator.stages import read_record

    record = read_record(folder)
    return record, {name: record[name] for name in ("settings", "seed", "inputs", "versions")}


def final_record(run: RunFolder, task: Task, recipe: str, seed: int) -> dict[str, Any]:
    """Return the record of a recipe's last stage.

    Raises:
        UsageError: it is not finished.
    """
    from generator.recipes import get_recipe
    from generator.stages import read_record

    return read_record(run.policies(task, recipe, seed) / get_recipe(recipe).stages[-1].name)
