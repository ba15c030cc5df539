"""`python -m experiments.options TASK`: what each option of PPO gives, from one and the same clone.

A recipe is trained once without options and once with each: starts along demonstrations, replay of
successes, a residual on the frozen clone, and thrice the steps. `results/ablations/SUITE/TASK.json`
has success before and after, the budget that was chosen, environment steps, minutes, and every
iteration's measures.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from common.errors import DlrError
from common.files import write_json
from common.machine import describe_machine
from generator.config import BudgetConfig, GeneratorConfig

if TYPE_CHECKING:
    from demonstrations.demonstration import Demonstration
    from generator.rollout import Environments
    from simulation.tasks import Task

OPTIONS: Mapping[str, Mapping[str, Any]] = {
    "none": {},
    "demonstration_starts": {"demonstration_starts": 0.5},
    "replay": {"replay": 0.1},
    "residual": {"residual": True},
    "thrice_the_steps": {"budget": BudgetConfig(steps=600_000)},
}
"""Name -> what it changes in `ReinforceConfig`."""
MEASURES = ("success", "held_out_success", "kl", "clip_fraction", "explained_variance", "reach")
"""What is kept of an iteration, for each pattern where there is one."""


def compare(
    recipe: str,
    task: Task,
    environments: Environments,
    demonstrations: Sequence[Demonstration],
    config: GeneratorConfig,
    work: Path,
) -> dict[str, Any]:
    """Train a recipe with each option; stages that are there are not run again.

    Args:
        recipe: one that ends with `reinforce`.
        task: the task.
        environments: slots of the task.
        demonstrations: what it learns from.
        config: settings and seed without options.
        work: folder of the stages, which the trainings share up to `reinforce`.

    Returns:
        a row for each option.
    """
    from generator.checkpoints import read_cost
    from generator.recipes import get_recipe, run_recipe

    rows = {}
    for name, changes in OPTIONS.items():
        folder = work / name
        folder.mkdir(parents=True, exist_ok=True)
        changed = replace(config, reinforce=replace(config.reinforce, **changes))
        trained = run_recipe(
            get_recipe(recipe), task, environments, demonstrations, changed, folder, work / "stages"
        )
        before, after = (trained.reports[stage] for stage in ("filter", "reinforce"))
        rows[name] = {
            "before": before["held_out_success"],
            "after": after["held_out_success"],
            **{key: after[key] for key in ("budget", "stopped", "environment_steps", "theorem")},
            "cost": read_cost(folder / "reinforce"),
            "history": [_kept(measures) for measures in after["history"]],
        }
    return rows


def _kept(measures: Mapping[str, float]) -> dict[str, float]:
    wanted = {n: v for n, v in measures.items() if n.partition("/")[0] in MEASURES}
    return {name: round(value, 4) for name, value in wanted.items()} | {
        "environment_steps": measures["environment_steps"]
    }


def options(
    task: str,
    /,
    recipe: str = "dlr",
    run: Path = Path("runs/default"),
    episodes_per_way: int = 80,
    assets: Path | None = None,
    out: Path = Path("results/ablations"),
    config: GeneratorConfig = GeneratorConfig(),
) -> None:
    """Train a recipe on a run's demonstrations without and with each option of PPO.

    Args:
        task: a task, as `suite/name`.
        recipe: one that ends with `reinforce`.
        run: folder of the run that has demonstrations of the task.
        episodes_per_way: demonstrations of each way that are learnt from, the first ones.
        assets: `libero`, `embedded` or a folder; by default the first that `dlr assets` lists.
        out: folder of the result.
        config: settings and seed.
    """
    from generator.run_folder import SLOTS, RunFolder, load_demonstrations
    from simulation.assets.resolve import resolve_assets
    from simulation.environment import BatchEnvironment
    from simulation.tasks import get_task

    chosen, pack = get_task(task), resolve_assets(assets)
    found = load_demonstrations(RunFolder(run), chosen, pack)
    ways = {d.way: [e for e in found if e.way == d.way] for d in found}
    taken = [d for mine in ways.values() for d in mine[:episodes_per_way]]
    environments = BatchEnvironment(chosen, SLOTS, pack)
    work = run / "options" / chosen.key / recipe
    rows = compare(recipe, chosen, environments, taken, config, work)
    result = {
        "task": chosen.key,
        "pack": pack.name,
        "recipe": recipe,
        "seed": config.seed,
        "demonstrations": len(taken),
        "options": rows,
        "machine": describe_machine(),
    }
    write_json(out / f"{chosen.key}.json", result)
    for name, row in rows.items():
        rates = (" ".join(f"{r['success']:.0%}" for r in row[when]) for when in ("before", "after"))
        print(f"{name:<22} {' -> '.join(rates)}, {row['environment_steps']['total']} steps")


if __name__ == "__main__":
    import tyro

    try:
        tyro.cli(options, prog="python -m experiments.options")
    except DlrError as error:
        sys.exit(f"experiments: {error}")
