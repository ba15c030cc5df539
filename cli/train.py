"""`dlr train`: train a recipe's policies on demonstrations."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from common.errors import UsageError
from demonstrations.config import DemonstrationConfig
from generator.config import DiscoverConfig, GeneratorConfig, LearnConfig, ReinforceConfig
from generator.run_folder import DEFAULT_RUN, RunFolder

if TYPE_CHECKING:
    from demonstrations.demonstration import Demonstration
    from generator.recipes import RecipeResult
    from simulation.environment import BatchEnvironment

SLOTS = 36
"""Environments stepped together; results do not depend on it."""


def train(
    task: str,
    /,
    recipe: Literal["dlr", "o2o_rl"] = "dlr",
    run: Path = DEFAULT_RUN,
    assets: Path | None = None,
    slots: int = SLOTS,
    evaluation_episodes: int = GeneratorConfig.evaluation_episodes,
    horizon_factor: float = GeneratorConfig.horizon_factor,
    discover: DiscoverConfig = DiscoverConfig(),
    learn: LearnConfig = LearnConfig(),
    reinforce: ReinforceConfig = ReinforceConfig(),
) -> None:
    """Train a recipe's policies on the run's demonstrations; a killed training goes on.

    Args:
        task: A task, as `suite/name` or its name alone.
        recipe: Discover, learn, reinforce; or its baseline without patterns.
        run: Folder that all stages share.
        assets: `libero`, `embedded` or a folder of assets; by default as `dlr assets` says.
        slots: Environments stepped together; more use more memory, the result is the same.
        evaluation_episodes: Held-out episodes per pattern of each reported success.
        horizon_factor: Training episodes end after the longest demonstration times this.
        discover: Stage 1.
        learn: Stage 2.
        reinforce: Stage 3.
    """
    from demonstrations.make import observe
    from simulation.assets.resolve import resolve_assets
    from simulation.environment import BatchEnvironment
    from simulation.recordings.trajectories import TrajectoryFile
    from simulation.tasks import get_task

    found, folder, pack = get_task(task), RunFolder(run), resolve_assets(assets)
    path = folder.demonstrations(found)
    if not path.exists():
        raise UsageError(f"{path} is not there: run `dlr demonstrate` for this task first")
    environments = BatchEnvironment(found, slots, pack)
    with TrajectoryFile(path) as file:
        demonstrations = observe(file, environments.envs[0])
        source = DemonstrationConfig(**file.config)
    config = GeneratorConfig(
        demonstrations=source,
        discover=discover,
        learn=learn,
        reinforce=reinforce,
        horizon_factor=horizon_factor,
        evaluation_episodes=evaluation_episodes,
    )
    result = train_recipe(folder, recipe, environments, demonstrations, config)
    _print_success(result)
    print(folder.policies(found, recipe))


def train_recipe(
    run: RunFolder,
    recipe: str,
    environments: BatchEnvironment,
    demonstrations: Sequence[Demonstration],
    config: GeneratorConfig,
) -> RecipeResult:
    """Run a recipe's stages in a run's folder, those that are finished excepted.

    Raises:
        RecipeError: the folder holds results of other settings.
        OutputError: the run's folder cannot be written.
    """
    from common.files import ensure_writable
    from generator.recipes import run_recipe

    task = environments.task
    folder = ensure_writable(run.policies(task, recipe))
    return run_recipe(recipe, task, environments, demonstrations, config, folder)


def _print_success(result: RecipeResult) -> None:
    for stage, report in result.reports.items():
        for z, row in enumerate(report.get("held_out_success", ())):
            policy = f"pattern {z}" if result.encoder else "no pattern"
            print(
                f"{stage:<10} {policy:<10} {row['success']:.0%} of {row['episodes']} held-out "
                f"episodes (95% {row['low']:.0%} to {row['high']:.0%})"
            )
