"""`python -m experiments.study`: does DLR keep what its demonstrations show? See docs/study.md.

Work items of `dlr generate`, all tasks of one seed before the next, and after each training one
that measures it and leaves a small file, `results/study/TASK/RECIPE/SEED.json`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from common.errors import DlrError
from common.versions import head
from demonstrations.config import DemonstrationConfig
from experiments.command import run_command
from experiments.study_items import MeasureItem, PoolItem
from experiments.study_page import page
from experiments.study_results import (
    RESULTS,
    read_results,
)
from experiments.study_tests import BASELINE, DLR
from generator.config import CollectConfig, GeneratorConfig
from generator.run_folder import RunFolder

if TYPE_CHECKING:
    from generator.work.plan import Plan, Settings
    from simulation.assets.resolve import AssetPack
    from simulation.tasks import Task

TASKS = (
    "libero_spatial/pick_up_the_black_bowl_from_table_center_and_place_it_on_the_plate",
    "libero_object/pick_up_the_alphabet_soup_and_place_it_in_the_basket",
    "libero_goal/put_the_bowl_on_top_of_the_cabinet",
    "libero_goal/open_the_middle_drawer_of_the_cabinet",
    "libero_goal/turn_on_the_stove",
    "libero_90/KITCHEN_SCENE10_close_the_top_drawer_of_the_cabinet",
    "libero_90/KITCHEN_SCENE10_put_the_black_bowl_in_the_top_drawer_of_the_cabinet",
    "libero_90/KITCHEN_SCENE2_stack_the_middle_black_bowl_on_the_back_black_bowl",
    "libero_90/KITCHEN_SCENE3_put_the_moka_pot_on_the_stove",
    "libero_90/KITCHEN_SCENE6_close_the_microwave",
    "libero_90/LIVING_ROOM_SCENE5_put_the_red_mug_on_the_left_plate",
    "libero_90/STUDY_SCENE1_pick_up_the_book_and_place_it_in_the_left_compartment_of_the_caddy",
)
"""Twelve tasks of nine skills, as docs/study.md registers them."""
RECIPES = (DLR, BASELINE)
CONTROLS = ("filtered_clone", "dlr_shuffled")
SEEDS = (0, 1, 2)
EPISODES_PER_WAY = 40
COLLECT = CollectConfig(episodes=36, maximum_attempts=2, require_all=False)
"""The same after `learn` and at the end."""


def plan_study(
    run: RunFolder,
    tasks: Sequence[Task],
    settings: Settings,
    controls: tuple[str, ...],
    assets: AssetPack,
    out: Path,
) -> Plan:
    """Return the study's work items: all tasks of a seed before the next, controls at the end.

    Args:
        run: where all is kept.
        tasks: the tasks.
        settings: recipes that are compared, seeds and all that is done.
        controls: recipes that are trained with the first seed alone.
        assets: asset pack.
        out: folder of the results.
    """
    from generator.work.plan import Plan

    plan, commit = Plan(), head()
    measured: dict[tuple[str, str, int], int] = {}
    parts = [(settings.recipes, seed) for seed in settings.seeds]
    parts += [(controls, settings.seeds[0])] if controls else []
    for recipes, seed in parts:
        chosen = replace(settings, recipes=recipes, seeds=(seed,))
        for task in tasks:
            places = plan_measured(plan, run, task, chosen, assets, out, commit)
            measured |= {(task.key, *which): place for which, place in places.items()}
    if BASELINE in settings.recipes and len(settings.seeds) > 1:
        for task in tasks:
            pooled = PoolItem(run, task.key, BASELINE, settings.seeds, out)
            plan.add(pooled, [measured[task.key, BASELINE, seed] for seed in settings.seeds])
    return plan


def plan_measured(
    plan: Plan,
    run: RunFolder,
    task: Task,
    settings: Settings,
    assets: AssetPack,
    out: Path,
    commit: str,
) -> dict[tuple[str, int], int]:
    """Add a task's demonstrations, its trainings, and what measures each of them.

    DLR is measured once O2O-RL has ended too, whose episodes it is held against.

    Returns:
        The place of each recipe's and seed's measuring among the items.
    """
    from generator.work.plan import plan_task

    trained, measured = plan_task(plan, run, task, settings, assets), {}
    for (recipe, seed), own in trained.items():
        item = MeasureItem(run, task.key, recipe, seed, settings.collect, assets, out, commit)
        other = trained.get((BASELINE, seed)) if recipe == DLR else None
        measured[recipe, seed] = plan.add(item, [own], [] if other is None else [other])
    return measured


def study(
    tasks: tuple[str, ...] = TASKS,
    seeds: tuple[int, ...] = SEEDS,
    controls: bool = True,
    report: bool = False,
    workers: int | None = None,
    run: Path = Path("runs/study"),
    out: Path = RESULTS,
    page_file: Path = Path("docs/study_results.md"),
    episodes_per_way: int = EPISODES_PER_WAY,
    assets: Path = Path("libero"),
    train: GeneratorConfig = GeneratorConfig(),
    collect: CollectConfig = COLLECT,
) -> None:
    """Train, measure, write results and their page; what is done is not done again.

    Args:
        tasks: the tasks, as `suite/name`.
        seeds: of the trainings.
        controls: also train the controls, with the first seed, after all else.
        report: only write the page of the results that are there.
        workers: processes; by default one for each core.
        run: folder of demonstrations, policies and episodes.
        out: folder of the results.
        page_file: the page.
        episodes_per_way: demonstrations of each way.
        assets: `libero`, `embedded` or a folder.
        train: settings of the trainings.
        collect: which episodes the measures are of.

    Raises:
        DlrError: something failed; the rest is done and written.
    """
    from common.files import write_text
    from experiments.many import work_plan
    from generator.work.plan import Settings
    from simulation.assets.resolve import resolve_assets
    from simulation.tasks import get_task

    failed = []
    if not report:
        shown = DemonstrationConfig(episodes_per_way, "scripted")
        settings = Settings(RECIPES, seeds, shown, train, collect, collect)
        folder, chosen = RunFolder(run), [get_task(task) for task in tasks]
        pack = resolve_assets(assets)
        plan = plan_study(folder, chosen, settings, CONTROLS if controls else (), pack, out)
        failed = work_plan(folder, plan, workers)
    write_text(page_file, page(read_results(out)))
    print(page_file)
    if failed:
        raise DlrError(f"{len(failed)} items failed; the same command tries them again")


if __name__ == "__main__":
    run_command(study, "experiments.study")
