"""`dlr quickstart`: the whole line, from demonstrations to a verified dataset and a report."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from cli.generate import LEARNED
from common.errors import DlrError
from demonstrations.config import DemonstrationConfig
from generator.config import BudgetConfig, CollectConfig, GeneratorConfig, ReinforceConfig
from generator.run_folder import RunFolder
from generator.work.plan import Settings, plan_task
from simulation.assets.embedded import PACK_NAME

if TYPE_CHECKING:
    from simulation.assets.resolve import AssetPack
    from simulation.tasks import Task

TASKS = {
    "libero_90/KITCHEN_SCENE10_close_the_top_drawer_of_the_cabinet": 10,
    "libero_90/KITCHEN_SCENE5_put_the_black_bowl_on_the_plate": 80,
}
"""An articulated object, and with `--full` also a pick-and-place; demonstrations of each way."""
RECIPES = ("dlr", "o2o_rl")
BUDGET = BudgetConfig(steps=60_000, short_steps_each=30_000)
"""Environment steps of PPO: a third of what `dlr train` allows, so that all ends in minutes."""
SEED = 0


def quickstart(
    full: bool = False,
    assets: Path | None = None,
    human_demos: Path | None = None,
    out: Path | None = None,
) -> None:
    """Run every stage: demonstrate, train and collect both recipes, build, verify, report.

    The same command goes on where a killed run stopped.

    Args:
        full: Do both tasks, the drawer and the bowl, instead of the drawer alone.
        assets: `libero` for LIBERO's own look (`dlr assets install` fetches it), or a folder of
            assets; by default the embedded pack of primitive shapes, whatever is installed.
        human_demos: Folder of human demonstrations to mix into the scripted ones.
        out: Folder of the run; by default runs/quickstart, or runs/full with --full; with other
            assets than the embedded pack runs/quickstart-libero, say.
    """
    from common.locks import lock_folder
    from simulation.assets.resolve import EMBEDDED_NAME, resolve_assets
    from simulation.tasks import get_task

    pack = resolve_assets(assets or EMBEDDED_NAME)
    run = RunFolder(out or _default_folder(full, pack))
    tasks = {get_task(name): n for name, n in list(TASKS.items())[: 2 if full else 1]}
    with lock_folder(run.root):
        _run_all(run, tasks, pack, str(human_demos or ""))
    if pack.name == PACK_NAME:
        again = f"dlr quickstart{' --full' if full else ''} --assets libero"
        print(f"\nthe same with LIBERO's own look: `dlr assets install`, then `{again}`")


def _run_all(run: RunFolder, tasks: Mapping[Task, int], pack: AssetPack, human_demos: str) -> None:
    """Do the items of `dlr generate`, then build each recipe's dataset, and report.

    Raises:
        DlrError: an item failed.
    """
    from common.workers import Processes
    from dataset_builders.run_items import BuildItem
    from generator.work.items import TrainingItem
    from generator.work.plan import Plan
    from reports.run_gather import report_run
    from reports.run_progress import clock, work

    started, plan = time.monotonic(), Plan()
    print(f"assets {pack.name} ({pack.digest[:12]}), results in {run.root}\n")
    places = [
        plan_task(plan, run, task, _settings(episodes, human_demos), pack)
        for task, episodes in tasks.items()
    ]
    for recipe in RECIPES:
        mine = [place[recipe, SEED] for place in places]
        plan.add(BuildItem(run, recipe, pack, verify=True), mine)
    progress = work(run, plan, Processes(bar=False))
    if progress.failed:
        raise IncompleteError(progress.line(progress.failed[0]))
    html, numbers = report_run(run, pack, SEED)
    print(f"\nfinished in {clock(time.monotonic() - started)}")
    folders = []
    print("sha256 of the policies, by which two machines can be compared:")
    for outcome in sorted(progress.ended, key=lambda outcome: outcome.index):
        item, result = plan.items[outcome.index], outcome.result or {}
        if isinstance(item, TrainingItem):
            print(f"  {item.recipe:<8} {result['policy_hash']}  {item.task}")
        elif isinstance(item, BuildItem):
            folders.append(result["folder"])
    for label, path in zip(("report", "numbers", *RECIPES), (html, numbers, *folders), strict=True):
        print(f"  {label:<8} {path}")


class IncompleteError(DlrError, RuntimeError):
    """A part of the line failed."""


def _settings(episodes_per_way: int, human_demos: str) -> Settings:
    """Return what is done for a task, with its number of scripted demonstrations of each way."""
    source = DemonstrationConfig(episodes_per_way, "scripted", human_demos)
    training = GeneratorConfig(reinforce=ReinforceConfig(budget=BUDGET))
    return Settings(RECIPES, (SEED,), source, training, CollectConfig(), LEARNED)


def _default_folder(full: bool, pack: AssetPack) -> Path:
    """Return the run's folder: packs do not share one, as what is made with one is its own."""
    name = "full" if full else "quickstart"
    return Path("runs") / (name if pack.name == PACK_NAME else f"{name}-{pack.name}")
