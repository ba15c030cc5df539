"""`dlr collect`: roll a recipe's final policy out and keep its successful episodes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from cli.train import SLOTS, RecipeName
from generator.config import CollectConfig
from generator.recipes import get_recipe
from generator.run_folder import DEFAULT_RUN, RunFolder
from generator.stages import read_record

if TYPE_CHECKING:
    from generator.collect import CollectReport
    from simulation.assets.resolve import AssetPack
    from simulation.environment import BatchEnvironment
    from simulation.tasks import Task


def collect(
    task: str,
    /,
    recipe: RecipeName = "dlr",
    seed: int = 0,
    run: Path = DEFAULT_RUN,
    assets: Path | None = None,
    slots: int = SLOTS,
    config: Annotated[CollectConfig, tyro.conf.arg(name="")] = CollectConfig(),
) -> None:
    """Roll a trained policy out from held-out starts and keep its successful episodes.

    Args:
        task: A task, as `suite/name` or its name alone.
        recipe: Which recipe's policy.
        seed: Of the training that made it.
        run: Folder that all stages share.
        assets: `libero`, `embedded` or a folder of assets; by default as `dlr assets` says.
        slots: Environments stepped together; more use more memory, the result is the same.
        config: How many episodes, and from where.
    """
    from simulation.assets.resolve import resolve_assets
    from simulation.environment import BatchEnvironment
    from simulation.tasks import get_task

    chosen, pack = get_task(task), resolve_assets(assets)
    _final_record(RunFolder(run), chosen, recipe, seed)  # before anything slow
    environments = BatchEnvironment(chosen, slots, pack)
    report = collect_episodes(RunFolder(run), recipe, seed, environments, pack, config)
    for group, row in enumerate(report.rates()):
        print(
            f"group {group}: {row['success']:.0%} of {row['attempts']} attempts succeeded "
            f"({row['low']:.0%} to {row['high']:.0%})"
        )
    print(report.path)


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

    task = environments.task
    last = get_recipe(recipe).stages[-1]
    record = _final_record(run, task, recipe, seed)
    policy = last.load(run.policies(task, recipe, seed) / last.name)
    provenance = {name: record[name] for name in ("settings", "seed", "inputs", "versions")}
    path = run.trajectories(task, recipe, seed)
    return collect(policy, environments, task, assets, recipe, config, path, provenance)


def _final_record(run: RunFolder, task: Task, recipe: str, seed: int) -> dict[str, Any]:
    """Return the record of a recipe's last stage.

    Raises:
        UsageError: it is not finished.
    """
    return read_record(run.policies(task, recipe, seed) / get_recipe(recipe).stages[-1].name)
