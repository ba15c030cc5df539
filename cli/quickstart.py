"""`dlr quickstart`: the whole line, from demonstrations to a verified dataset and a report."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from demonstrations.config import DemonstrationConfig
from generator.config import CollectConfig, GeneratorConfig
from generator.run_folder import (
    SLOTS,
    RunFolder,
    collect_episodes,
    load_demonstrations,
    train_recipe,
)
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
    """Run every stage on tasks, each with its number of scripted demonstrations of each way."""
    started = time.monotonic()
    print(f"assets {pack.name} ({pack.digest[:12]}), results in {run.root}")
    for task, episodes_per_way in tasks.items():
        print(f"\n{task.language} ({task.key})")
        source = DemonstrationConfig(episodes_per_way, human_demos=human_demos)
        _make_trajectories(run, task, pack, source)
    print("\ndataset")
    datasets = [_make_dataset(run, recipe, pack) for recipe in RECIPES]
    from reports.run_gather import report_run

    html, numbers = report_run(run, pack, SEED)
    print(f"\nfinished in {_clock(time.monotonic() - started)}")
    for label, path in zip(
        ("report", "numbers", *RECIPES), (html, numbers, *datasets), strict=True
    ):
        print(f"  {label:<8} {path}")


def _default_folder(full: bool, pack: AssetPack) -> Path:
    """Return the run's folder: packs do not share one, as what is made with one is its own."""
    name = "full" if full else "quickstart"
    return Path("runs") / (name if pack.name == PACK_NAME else f"{name}-{pack.name}")


def _make_trajectories(
    run: RunFolder, task: Task, assets: AssetPack, source: DemonstrationConfig
) -> None:
    """Demonstrate a task, train both recipes on it and collect their successes.

    The recipes' updates leave cores idle, so each recipe has a process and both run at once.
    """
    from common.workers import run_in_fresh_process
    from demonstrations.make import make_demonstrations

    with _stage("demonstrate"):
        make_demonstrations(task, run.demonstrations(task), source, assets).close()

    def work(line: int) -> None:
        place = {"TQDM_POSITION": str(line)}
        run_in_fresh_process(
            _train_and_collect, run, RECIPES[line], task, assets, environment=place
        )

    with ThreadPoolExecutor(len(RECIPES)) as threads:
        list(threads.map(work, range(len(RECIPES))))


def _train_and_collect(run: RunFolder, recipe: str, task: Task, assets: AssetPack) -> None:
    from simulation.environment import BatchEnvironment

    demonstrations = load_demonstrations(run, task, assets)
    environments = BatchEnvironment(task, SLOTS, assets)
    with _stage(f"train {recipe}"):
        train_recipe(run, recipe, environments, demonstrations, GeneratorConfig(seed=SEED))
    with _stage(f"collect {recipe}"):
        collect_episodes(run, recipe, SEED, environments, assets, CollectConfig())


def _make_dataset(run: RunFolder, recipe: str, assets: AssetPack) -> Path:
    """Build one recipe's dataset and prove it."""
    from dataset_builders.build import BuildConfig, build
    from dataset_builders.verify import verify

    with _stage(f"build {recipe}"):
        folder = build(
            BuildConfig(run.all_trajectories, run.datasets, config=recipe, assets=str(assets.path))
        )
    with _stage(f"verify {recipe}"):
        found = verify(folder, run.all_trajectories, str(assets.path))
    print(f"  {found.episodes} episodes, {found.steps} steps, sha256 {found.digest[:12]}")
    return folder


@contextmanager
def _stage(name: str) -> Iterator[None]:
    """Print a stage's name and, at its end, how long it took."""
    started = time.monotonic()
    print(f"  {name} ...", flush=True)
    yield
    print(f"  {name}: {_clock(time.monotonic() - started)}", flush=True)


def _clock(seconds: float) -> str:
    """Return minutes and seconds, such as 3:07."""
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"
