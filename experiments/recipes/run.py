"""`python -m experiments.recipes`: every recipe of the two papers on three tasks of three skills.

Work items of `dlr generate`, the most wanted first: with the first seed the five recipes that are
compared, on every task; then all that is tried with one seed; then the other seeds. After each
training one item measures it and leaves `results/recipes/TASK/VARIANT/SEED.json`; after each of the
first two rounds one a task measures what the episodes of all sources are like,
`results/quality/TASK.json`. The page and its figures are made of these files alone, of as many as
there are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from common.errors import DlrError
from common.versions import head
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
from experiments.study import COLLECT, EPISODES_PER_WAY
from experiments.study_results import read_results
from generator.config import CollectConfig, GeneratorConfig
from generator.run_folder import SLOTS, RunFolder

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
WANTED = ("dlr", "o2o_rl", "mi_shaped", "diffusion_rl", "gaussian_rl")
"""Recipes as they are that are compared first."""
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
    """Return the work items, round after round, and within a round task after task.

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
    from demonstrations.people import has_people
    from generator.work.items import Demonstrate
    from generator.work.plan import Plan

    planned = _Planned(Plan(), root, settings, assets, out)
    told: dict[str, int] = {}
    for seed, mine in rounds(variants, settings.seeds):
        for task in tasks:
            measured = planned.add(task, seed, mine)
            if seed != settings.seeds[0]:
                continue
            of_people = RunFolder(root / "people")
            if people and task.key not in told and has_people(task, people):
                shown = DemonstrationConfig(0, human_demos=people, drop_noops=False)
                place = of_people.demonstrations(task)
                replayed = DemonstrationItem(task.key, place, shown, assets)
                measured.append(planned.plan.add(Demonstrate(of_people, replayed)))
            if task.key in told:
                measured.append(told[task.key])
            item = QualityItem(
                task.key, root, tuple(variants), seed, of_people.root, out[1], settings.collect,
                assets, settings.slots,
            )  # fmt: skip
            told[task.key] = planned.plan.add(item, ended=measured)
    return planned.plan


def rounds(
    variants: Sequence[Variant], seeds: Sequence[int]
) -> list[tuple[int, tuple[Variant, ...]]]:
    """Return seed and variants of each round: of a seed first those `WANTED`, then the rest."""
    found = []
    for order, seed in enumerate(seeds):
        mine = [v for v in variants if v.seeds > order]
        wanted = tuple(v for v in mine if v.name in WANTED)
        found += [(seed, wanted), (seed, tuple(v for v in mine if v.name not in WANTED))]
    return [(seed, mine) for seed, mine in found if mine]


@dataclass
class _Planned:
    """A plan in the making."""

    plan: Plan
    root: Path
    settings: Settings
    assets: AssetPack
    out: tuple[Path, Path]
    trained: dict[tuple[str, int, str], int] = field(default_factory=dict)
    """Places of the trainings of recipes as they are, by task, seed and recipe."""
    latest: dict[tuple[object, ...], int] = field(default_factory=dict)
    """Places of the latest training of a variant that begins with a stage, by task and seed."""

    def add(self, task: Task, seed: int, variants: Sequence[Variant]) -> list[int]:
        """Add a round's trainings of a task, and what measures them; return the latter's places."""
        from generator.recipes import get_recipe
        from generator.work.plan import plan_demonstrations, plan_task

        settings, commit = replace(self.settings, seeds=(seed,)), head()
        plain = tuple(v.recipe for v in variants if v.name in WANTED)
        if plain:
            told = replace(settings, recipes=plain)
            places = plan_task(self.plan, RunFolder(self.root), task, told, self.assets)
            self.trained |= {(task.key, seed, name): p for (name, _), p in places.items()}
        shown = plan_demonstrations(self.plan, RunFolder(self.root), task, settings, self.assets)
        before = [p for (key, of, _), p in self.trained.items() if (key, of) == (task.key, seed)]
        baseline = self.trained.get((task.key, seed, "o2o_rl"))
        measured = []
        for variant in variants:
            place = self.trained.get((task.key, seed, variant.name))
            folder = variant.folder(self.root)
            if place is None:
                item = VariantTraining(
                    folder, task.key, variant.recipe,
                    variant.config(replace(settings.train, seed=seed)), settings.collect,
                    self.assets, settings.slots, settings.learned, name=variant.name,
                )  # fmt: skip
                begins = (task.key, seed, get_recipe(variant.recipe).stages[0])
                also = [self.latest[begins]] if begins in self.latest else []
                place = self.latest[begins] = self.plan.add(item, (shown,), [*before, *also])
            measures = VariantMeasures(
                folder, task.key, variant.recipe, seed, settings.collect, self.assets,
                self.out[0], commit, variant.name,
            )  # fmt: skip
            other = () if baseline in (None, place) else (baseline,)
            measured.append(self.plan.add(measures, (place,), other))
        return measured


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
    slots: int = SLOTS,
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
        people: recordings of people whose quality is measured, too, where a task has some, as
            `--human-demos` of `dlr demonstrate`: a folder, or `official`.
        assets: `libero`, `embedded` or a folder.
        train: settings of the trainings.
        collect: which episodes the measures are of.
        slots: environments stepped together; results do not depend on it.

    Raises:
        DlrError: there is no such variant, or something failed; the rest is done and written.
    """
    from experiments.many import work_plan
    from generator.work.plan import Settings
    from simulation.assets.resolve import resolve_assets
    from simulation.tasks import get_task

    chosen, failed = _chosen(variants), []
    if not report:
        shown = DemonstrationConfig(episodes_per_way, "scripted")
        settings = Settings((), seeds, shown, train, collect, collect, slots)
        plan = plan_recipes(
            run, [get_task(task) for task in tasks], chosen, settings, resolve_assets(assets),
            (out, quality_out), people,
        )  # fmt: skip
        failed = work_plan(RunFolder(run), plan, workers)
    write_page(page_file, read_results(out), quality.read_qualities(quality_out))
    print(page_file)
    if failed:
        raise DlrError(f"{len(failed)} items failed; the same command tries them again")


def _chosen(names: Sequence[str]) -> list[Variant]:
    known = {v.name: v for v in VARIANTS}
    if unknown := [name for name in names if name not in known]:
        raise DlrError(f"there is no variant {', '.join(unknown)}; there are {', '.join(known)}")
    return [known[name] for name in names]
