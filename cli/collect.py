"""`dlr collect`: roll a recipe's final policy out and keep its successful episodes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from cli.train import SLOTS
from generator.config import CollectConfig
from generator.run_folder import DEFAULT_RUN, RunFolder, read_record

if TYPE_CHECKING:
    from generator.collect import CollectReport
    from simulation.assets.resolve import AssetPack
    from simulation.environment import BatchEnvironment


def collect(
    task: str,
    /,
    recipe: Literal["dlr", "o2o_rl"] = "dlr",
    run: Path = DEFAULT_RUN,
    assets: Path | None = None,
    slots: int = SLOTS,
    config: Annotated[CollectConfig, tyro.conf.arg(name="")] = CollectConfig(),
) -> None:
    """Roll a trained policy out from held-out starts and keep its successful episodes.

    Args:
        task: A task, as `suite/name` or its name alone.
        recipe: Which recipe's policy.
        run: Folder that all stages share.
        assets: `libero`, `embedded` or a folder of assets; by default as `dlr assets` says.
        slots: Environments stepped together; more use more memory, the result is the same.
        config: How many episodes, and from where.
    """
    from simulation.assets.resolve import resolve_assets
    from simulation.environment import BatchEnvironment
    from simulation.tasks import get_task

    found, pack = get_task(task), resolve_assets(assets)
    read_record(RunFolder(run).policies(found, recipe), "reinforce")  # before anything slow
    environments = BatchEnvironment(found, slots, pack)
    report = collect_episodes(RunFolder(run), recipe, environments, pack, config)
    for group, row in enumerate(report.rates()):
        print(
            f"group {group}: {row['success']:.0%} of {row['attempts']} attempts succeeded "
            f"({row['low']:.0%} to {row['high']:.0%})"
        )
    print(report.path)


def collect_episodes(
    run: RunFolder,
    recipe: str,
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
    from generator.checkpoints import load_policy
    from generator.collect import collect

    task = environments.task
    policies, path = run.policies(task, recipe), run.trajectories(task, recipe)
    record = read_record(policies, "reinforce")
    policy, _ = load_policy(policies / "reinforce" / "policy.safetensors")
    provenance = {"training": record["settings"], "versions": record["versions"]}
    return collect(policy, environments, task, assets, recipe, config, path, provenance)
