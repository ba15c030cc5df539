"""`dlr collect`: roll a recipe's final policy out and keep its successful episodes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import tyro

from cli.train import RecipeName
from generator.config import CollectConfig
from generator.run_folder import (
    DEFAULT_RUN,
    SLOTS,
    RunFolder,
    check_assets,
    collect_episodes,
    final_record,
)


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
    from generator.stages.ranges import check_collect, check_slots
    from simulation.assets.resolve import resolve_assets
    from simulation.environment import BatchEnvironment
    from simulation.tasks import get_task

    check_collect(config)
    check_slots(slots)
    folder, chosen, pack = RunFolder(run), get_task(task), resolve_assets(assets)
    final_record(folder, chosen, recipe, seed)  # before anything slow
    check_assets(folder, chosen, pack)
    with BatchEnvironment(chosen, slots, pack) as environments:
        report = collect_episodes(folder, recipe, seed, environments, pack, config)
    print(*report.describe(), report.path, sep="\n")
