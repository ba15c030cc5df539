"""`dlr generate`: demonstrate, train and collect many tasks, and build their datasets meanwhile."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import tyro

from common.errors import UsageError
from demonstrations.config import DemonstrationConfig
from generator.config import CollectConfig, GeneratorConfig
from generator.run_folder import DEFAULT_RUN, SLOTS, RunFolder

Names = Annotated[tyro.conf.Positional[tuple[str, ...]], tyro.conf.arg(metavar="SUITE|TASK ...")]
EXIT_INCOMPLETE = 1
"""Status of a run in which something failed."""
LEARNED = CollectConfig(episodes=18, maximum_attempts=2, require_all=False)
"""What is collected with the policies after `learn`."""


def generate(
    names: Names = (),
    suite: tuple[str, ...] = (),
    tasks: tuple[str, ...] = (),
    recipes: tuple[str, ...] = ("dlr", "o2o_rl"),
    seeds: tuple[str, ...] = ("0",),
    run: Path = DEFAULT_RUN,
    assets: Path | None = None,
    workers: int | None = None,
    beam: str = "",
    build: bool = False,
    after_learn: bool = True,
    slots: int = SLOTS,
    demonstrations: DemonstrationConfig = DemonstrationConfig(),
    train: Annotated[GeneratorConfig, tyro.conf.arg(name="")] = GeneratorConfig(),
    collect: CollectConfig = CollectConfig(),
) -> None:
    """Demonstrate, train recipes with several seeds, and collect, for many tasks side by side.

    Each piece of work has a process of its own on one core. One that fails is told in a line, and
    the others go on; the exit status is then 1. The same command goes on where it was killed.

    Args:
        names: Suites, such as libero_90, and tasks, as `suite/name` or their names alone.
        suite: Suites, with spaces or commas between them.
        tasks: Tasks, likewise.
        recipes: Recipes, with spaces or commas between them.
        seeds: Seeds of the trainings, 0 to 99, with spaces or commas between them.
        run: Folder that all stages share.
        assets: `libero`, `embedded` or a folder of assets; by default as `dlr assets` says.
        workers: Processes; by default one for each core. With Beam, those beside each of its
            workers; by default one.
        beam: Comma-separated options of an Apache Beam pipeline, without dashes, such as
            runner=FlinkRunner,parallelism=8, to work there; the run's folder must be on storage
            that its workers reach.
        build: Also build a dataset of each task and recipe as soon as it is collected, to be read
            while others are still trained; `dlr build` makes one of all.
        after_learn: Also collect with the policies after `learn`, for the report: up to 18
            successes of 36 attempts each.
        slots: Environments stepped together; more use more memory, the result is the same.
        demonstrations: Which demonstrations, and how many.
        train: Settings of the trainings.
        collect: How many episodes of the final policies, and from where.
    """
    from common.locks import lock_folder
    from common.workers import Beam, Processes, beam_options
    from dataset_builders.run_items import BuildItem
    from demonstrations.official import choose_tasks
    from generator.work.plan import Plan, Settings, plan_task
    from reports.run_progress import work
    from simulation.assets.resolve import resolve_assets

    chosen = choose_tasks(_split((*names, *suite, *tasks)))
    if not chosen:
        raise UsageError("name a suite, such as libero_90, or tasks; `dlr tasks` lists them")
    if train.seed:
        raise UsageError(f"--seed is of one training: give --seeds {train.seed}")
    for option, words in (("--recipes", recipes), ("--seeds", seeds)):
        if not _split(words):
            raise UsageError(f"{option} names none: give at least one, or leave it out")
    settings = Settings(
        _split(recipes), tuple(map(_number, _split(seeds))), demonstrations, train, collect,
        LEARNED if after_learn else None, slots,
    )  # fmt: skip
    folder, pack, plan = RunFolder(run.absolute()), resolve_assets(assets), Plan()
    for task in chosen:
        places = plan_task(plan, folder, task, settings, pack)
        for recipe in settings.recipes if build else ():
            mine = [place for (name, _), place in places.items() if name == recipe]
            plan.add(BuildItem(folder, recipe, pack, task.key), ended=mine)
    on_beam = Beam(beam_options(beam), str(folder.root), workers)
    backend = on_beam if beam else Processes(workers, bar=False)
    with lock_folder(folder.root):
        progress = work(folder, plan, backend)
    print(progress.summary())
    if progress.failed:
        print(f"{len(progress.failed)} failed; the same command tries them again", file=sys.stderr)
        sys.exit(EXIT_INCOMPLETE)


def _split(words: Iterable[str]) -> tuple[str, ...]:
    """Return what stands between spaces or commas, each once."""
    return tuple(dict.fromkeys(part for word in words for part in word.split(",") if part))


def _number(word: str) -> int:
    if not word.isdecimal():
        raise UsageError(f"a seed is a number, such as 0, not {word!r}")
    return int(word)
