"""`python -m experiments.libero_90`: both recipes on all tasks of LIBERO-90, and their scoreboard.

What is there in `results/libero_90/TASK/RECIPE/seed_0.json` is not done again, on whichever
machine. See docs/generate.md.
"""

from __future__ import annotations

import math
from pathlib import Path

from common.errors import DlrError
from demonstrations.config import DemonstrationConfig, Style
from experiments.command import run_command
from experiments.study import COLLECT, EPISODES_PER_WAY, RECIPES
from experiments.study_results import StudyError
from generator.config import CollectConfig, GeneratorConfig
from generator.run_folder import RunFolder

SEED = 0


def libero_90(
    tasks: tuple[str, ...] = (),
    recipes: tuple[str, ...] = RECIPES,
    report: bool = False,
    workers: int | None = None,
    minutes: float = math.inf,
    item_minutes: float = math.inf,
    run: Path = Path("runs/libero_90"),
    out: Path = Path("results"),
    page_file: Path = Path("docs/libero_90.md"),
    pictures: bool = True,
    episodes_per_way: int = EPISODES_PER_WAY,
    human_demos: str = "official",
    assets: Path = Path("libero"),
    style: Style = Style(),
    train: GeneratorConfig = GeneratorConfig(),
    collect: CollectConfig = COLLECT,
) -> None:
    """Demonstrate, train, collect, measure, and write the scoreboard; what is done is not redone.

    Args:
        tasks: names, or `libero_90/NAME`; by default all of the suite.
        recipes: which of them are trained; the scoreboard is always of all.
        report: only write the scoreboard of the results that are there.
        workers: processes; by default one for each core.
        minutes: begin no task after so many, and end those begun.
        item_minutes: a piece of work that takes longer has failed; it goes on when tried again.
        run: folder of demonstrations, policies and episodes.
        out: folder of the results, as SUITE/TASK/RECIPE/seed_0.json.
        page_file: the scoreboard; a page for browsers is written beside it.
        pictures: show a picture of each task on that page, which needs the assets.
        episodes_per_way: scripted demonstrations of each way.
        human_demos: people's demonstrations to mix in where a task has some: a folder, or
            `official` for what `dlr demos download` fetched; empty for none.
        assets: `libero`, `embedded` or a folder.
        style: how the scripted demonstrator moves.
        train: settings of the trainings.
        collect: which episodes the measures are of.

    Raises:
        StudyError: there is nothing to write, and the pages stay what they are, or a recipe is
            none of the scoreboard's.
        DlrError: something failed; the rest is done and written.
    """
    from experiments.libero_90.campaign import SUITE, Campaign
    from experiments.libero_90.scoreboard import Scoreboard
    from experiments.libero_90.write import write_scoreboard
    from generator.work.plan import Settings
    from simulation.assets.resolve import resolve_assets
    from simulation.tasks import get_task, list_tasks

    if not recipes or not set(recipes) <= set(RECIPES):
        asked = ", ".join(recipes) or "no recipe"
        raise StudyError(
            f"cannot train {asked} for the scoreboard: choose of {', '.join(RECIPES)}; other "
            "recipes are trained by `dlr generate`"
        )
    chosen = [get_task(name) for name in tasks] or list_tasks(SUITE)
    failed = 0
    if not report:
        shown = DemonstrationConfig(episodes_per_way, "scripted", style=style)
        settings = Settings(recipes, (SEED,), shown, train, collect, collect)
        campaign = Campaign(RunFolder(run), out, settings, resolve_assets(assets), human_demos)
        failed = len(campaign.work(chosen, workers, minutes, item_minutes).failed)
        left = len(campaign.left(chosen))
        print(f"{len(chosen) - left} of {len(chosen)} tasks finished; the same command goes on")
    board = Scoreboard.read(out, list_tasks(SUITE), SEED)
    pack = resolve_assets(assets) if pictures else None
    for path in write_scoreboard(board, page_file, pack, run / "pictures"):
        print(path)
    if failed:
        raise DlrError(f"{failed} pieces of work failed; the same command tries them again")


if __name__ == "__main__":
    run_command(libero_90, "experiments.libero_90")
