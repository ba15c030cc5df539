"""`dlr report`: compare a run's recipes on every task."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from generator.recipes import RECIPES
from generator.run_folder import DEFAULT_RUN, RunFolder

if TYPE_CHECKING:
    RecipeName = str
else:
    RecipeName = Literal[tuple(RECIPES)]


def report(
    run: Path = DEFAULT_RUN,
    seed: int = 0,
    assets: Path | None = None,
    baseline: RecipeName = "o2o_rl",
    candidate: RecipeName = "dlr",
) -> None:
    """Compare a run's recipes on every task that baseline and candidate have collected.

    Prints success per pattern and the diversity metrics, and writes `report.html`, one
    self-contained page, and `report.json` into the run's folder.

    Args:
        run: Folder that all stages share.
        seed: Of the trainings that are compared.
        assets: `libero`, `embedded` or a folder of assets to draw with; by default those that the
            trajectories were made with, where they are found.
        baseline: What recipes are compared with.
        candidate: What is compared with it in pictures, too; all others in tables.
    """
    from reports.run_gather import report_run
    from simulation.assets.resolve import resolve_assets

    pack = None if assets is None else resolve_assets(assets)
    print("\n".join(map(str, report_run(RunFolder(run), pack, seed, (baseline, candidate)))))
