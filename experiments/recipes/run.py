"""`python -m experiments.recipes`: every recipe of the two papers on three tasks of three skills.

Work items of `dlr generate`: all variants of one seed before the next, and after each training one
that measures it and leaves `results/recipes/TASK/VARIANT/SEED.json`. Then one a task measures what
the episodes of all sources are like, `results/quality/TASK.json`. The page and its figures are made
of these files alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from common.errors import DlrError
from demonstrations.config import DemonstrationConfig
from experiments.recipes import quality
from experiments.recipes.page import write_page
from experiments.recipes.quality import QualityItem
from experiments.recipes.variants import (
    VARIANTS,
    Variant,
    VariantMeasures,
    VariantTraining,
)
from experiments.study import COLLECT, EPISODES_PER_WAY, head
from experiments.study_results import read_results
from generator.config import CollectConfig, GeneratorConfig
from generator.run_folder import RunFolder

if TYPE_CHECKING:
    from generator.work.plan import Plan, Settings
    from simulation.assets.resolve import AssetPack
    from simulation.tasks import Task

TASKS = (
    "libero_goal/put_the_bowl_on_top_of_the_cabinet",
    "libero_90/KITCHEN_SCENE10_close_the_top_drawer_of_the_cabinet",
    "libero_goal/turn_on_the_stove",
)
"""Placing, the task of the second paper's Figure 7; closing a drawer, that of the first paper's
Appendix E; turning a knob. All are the study's: its stages are not run again in its folder."""
SEEDS = (0, 1, 2)
NAMES = tuple(variant.name for variant in VARIANTS)
RESULTS = Path("results/recipes")
"""Folder of the results, from the checkout's root."""


def plan_recipes(
    root: Path,
    tasks: Sequence[Task],
    variants: Sequence[Variant],
    settings: Settings,
    assets: AssetPack,
    out: tuple[Path, Path],
    people: str = "",
) -> Plan:
    """Return the work items: of each seed and task, recipes as they are, then their variants.

    Args:
        root: folder where all is kept.
        tasks: the tasks.
        variants: what is trained, each with as many of the seeds as it says.
        settings: seeds and all that is done; the recipes are the variants'.
        assets: asset pack.
        out: folders of the trainings' results and of the episodes' quality.
        people: recordings of people, as `--human-demos` of `dlr demonstrate`; empty without.
    """
    from demonstrations.make import DemonstrationItem
    from generator.work.items import Demonstrate
    from generator.work.plan import Plan, plan_task

    plan, commit, run = Plan(), head(), RunFolder(root)
    measured: dict[str, list[int]] = {task.key: [] for task in tasks}
    for order, seed in enumerate(settings.seeds):
        mine = [v for v in variants if v.seeds > order]
        plain = tuple(v.recipe for v in mine if not v.changes)
        for task in tasks:
            places = plan_task(
                plan, run, task, replace(settings, recipes=plain, seeds=(seed,)), assets
            )
            for variant in mine:
                place = places.get((variant.recipe, seed))
                if variant.changes:
                    train = variant.config(replace(settings.train, seed=seed))
                    item = VariantTraining(
                        variant.folder(root), task.key, variant.recipe, train, settings.collect,
                        assets, settings.slots, settings.learned, name=variant.name,
                    )  # fmt: skip
                    place = plan.add(item, places.values())
                assert place is not None
                measures = VariantMeasures(
                    variant.folder(root), task.key, variant.recipe, seed, settings.collect, assets,
                    out[0], commit, variant.name,
                )  # fmt: skip
                baseline = [p for (name, _), p in places.items() if name == "o2o_rl"]
                measured[task.key].append(plan.add(measures, {place, *baseline}))
    for task in tasks:
        seed, of_people = settings.seeds[0], RunFolder(root / "people")
        if people:
            shown = DemonstrationConfig(0, human_demos=people, drop_noops=False)
            replayed = DemonstrationItem(task.key, of_people.demonstrations(task), shown, assets)
            measured[task.key].append(plan.add(Demonstrate(of_people, replayed)))
        told = QualityItem(task.key, root, tuple(variants), seed, of_people.root, out[1])
        plan.add(told, ended=measured[task.key])
    return plan


def recipes(
    tasks: tuple[str, ...] = TASKS,
    seeds: tuple[int, ...] = SEEDS,
    variants: tuple[str, ...] = NAMES,
    report: bool = False,
    workers: int | None = None,
    run: Path = Path("runs/recipes"),
    out: Path = RESULTS,
    quality_out: Path = quality.RESULTS,
    page_file: Path = Path("docs/recipes.md"),
    episodes_per_way: int = EPISODES_PER_WAY,
    people: str = "",
    assets: Path = Path("libero"),
    train: GeneratorConfig = GeneratorConfig(),
    collect: CollectConfig = COLLECT,
) -> None:
    """Train, measure, write results, figures and their page; what is done is not done again.

    Args:
        tasks: the tasks, as `suite/name`.
        seeds: of the trainings; most variants are trained with the first alone.
        variants: what is trained, by name.
        report: only write the page of the results that are there.
        workers: processes; by default one for each core.
        run: folder of demonstrations, policies and episodes.
        out: folder of the trainings' results.
        quality_out: folder of the episodes' quality.
        page_file: the page; its figures lie beside it, in a folder of its name.
        episodes_per_way: scripted demonstrations of each way.
        people: recordings of people whose quality is measured, too, as `--human-demos` of
            `dlr demonstrate`: a folder, or `official`.
        assets: `libero`, `embedded` or a folder.
        train: settings of the trainings.
        collect: which episodes the measures are of.

    Raises:
        DlrError: there is no such variant, or something failed; the rest is done and written.
    """
    from common.locks import lock_folder
    from common.workers import Processes
    from generator.work.plan import Settings
    from reports.run_progress import work
    from simulation.assets.resolve import resolve_assets
    from simulation.tasks import get_task

    chosen, failed = _chosen(variants), []
    if not report:
        shown = DemonstrationConfig(episodes_per_way, "scripted")
        settings = Settings((), seeds, shown, train, collect, collect)
        plan = plan_recipes(
            run, [get_task(task) for task in tasks], chosen, settings, resolve_assets(assets),
            (out, quality_out), people,
        )  # fmt: skip
        with lock_folder(run):
            failed = work(RunFolder(run), plan, Processes(workers, bar=False)).failed
    write_page(page_file, read_results(out), quality.read_qualities(quality_out))
    print(page_file)
    if failed:
        raise DlrError(f"{len(failed)} items failed; the same command tries them again")


def _chosen(names: Sequence[str]) -> list[Variant]:
    known = {v.name: v for v in VARIANTS}
    if unknown := [name for name in names if name not in known]:
        raise DlrError(f"there is no variant {', '.join(unknown)}; there are {', '.join(known)}")
    return [known[name] for name in names]
