"""`python -m experiments.options`: what does each option of PPO give, from one and the same clone?

A recipe is trained once without options and once with each: starts along demonstrations, replay of
successes, a residual on the frozen clone, larger updates, filtered cloning first, and thrice the
steps. `results/ablations/SUITE/TASK/RECIPE/OPTION.json` has success before and after, the budget
that was chosen, environment steps, minutes, and every iteration's measures.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from common.errors import UsageError
from common.json_files import write_sealed
from common.machine import describe_machine
from experiments.command import run_command
from experiments.many import attempt_tasks
from generator.config import BudgetConfig, GeneratorConfig
from simulation.assets.resolve import AssetPack, resolve_assets

if TYPE_CHECKING:
    from demonstrations.demonstration import Demonstration
    from generator.rollout import Environments
    from simulation.tasks import Task

TASKS = (
    "libero_spatial/pick_up_the_black_bowl_from_table_center_and_place_it_on_the_plate",
    "libero_90/KITCHEN_SCENE10_put_the_black_bowl_in_the_top_drawer_of_the_cabinet",
    "libero_90/KITCHEN_SCENE3_put_the_frying_pan_on_the_stove",
)
"""Three whose clones are weak, so that PPO has something to do."""
OPTIONS: Mapping[str, Mapping[str, Any]] = {
    "none": {},
    "demonstration_starts": {"demonstration_starts": 0.5},
    "replay": {"replay": 0.1},
    "residual": {"residual": True},
    "larger_updates": {"desired_kl": 0.06, "clip": 0.4},
    "filtered_cloning_first": {"budget": BudgetConfig(weak=0.95)},
    "thrice_the_steps": {"budget": BudgetConfig(steps=600_000)},
}
"""Name -> what it changes in `ReinforceConfig`."""
MEASURES = ("success", "held_out_success", "kl", "clip_fraction", "explained_variance", "reach")
"""What is kept of an iteration, for each pattern where there is one."""
BEFORE, AFTER = "filter", "reinforce"
"""The stages between which an option can make a difference; the latter is the recipe's last."""


@dataclass(frozen=True)
class OptionsItem:
    """A task's trainings, as one work item."""

    task: str
    """The task's key."""
    recipe: str
    """One that ends with `filter` and `reinforce`."""
    options: tuple[str, ...]
    """Of `OPTIONS`, one after the other."""
    episodes_per_way: int
    """Demonstrations of each way."""
    assets: AssetPack
    """Asset pack."""
    run: Path
    """Folder of demonstrations and trainings."""
    out: Path
    """Folder of the result."""
    config: GeneratorConfig
    """Settings and seed."""


def train(
    option: str,
    recipe: str,
    task: Task,
    environments: Environments,
    demonstrations: Sequence[Demonstration],
    config: GeneratorConfig,
    work: Path,
) -> dict[str, Any]:
    """Train a recipe with an option and return what came of it; finished stages are not run again.

    Args:
        option: of `OPTIONS`.
        recipe: one that ends with `filter` and `reinforce`.
        task: the task.
        environments: slots of the task.
        demonstrations: what it learns from.
        config: settings and seed without options.
        work: folder of the stages, which all options share up to the first that differs.
    """
    from generator.checkpoints import read_cost
    from generator.recipes import get_recipe, run_recipe

    folder = work / option
    folder.mkdir(parents=True, exist_ok=True)
    changed = replace(config, reinforce=replace(config.reinforce, **OPTIONS[option]))
    trained = run_recipe(
        get_recipe(recipe), task, environments, demonstrations, changed, folder, work / "stages"
    )
    before, after = (trained.reports[stage] for stage in (BEFORE, AFTER))
    return {
        "config": asdict(changed),
        "before": before["held_out_success"],
        "after": after["held_out_success"],
        **{key: after[key] for key in ("budget", "stopped", "environment_steps", "theorem")},
        "cost": read_cost(folder / AFTER),
        "history": [_kept(measures) for measures in after["history"]],
    }


def _kept(measures: Mapping[str, float]) -> dict[str, float]:
    wanted = {n: v for n, v in measures.items() if n.partition("/")[0] in MEASURES}
    return {name: round(value, 4) for name, value in wanted.items()} | {
        "environment_steps": measures["environment_steps"]
    }


def try_options(item: OptionsItem) -> str:
    """Demonstrate, train without and with each option, write each result; return lines on them."""
    from demonstrations.config import DemonstrationConfig
    from demonstrations.make import make_demonstrations, observe
    from generator.run_folder import SLOTS, RunFolder
    from simulation.environment import BatchEnvironment, Environment
    from simulation.tasks import get_task

    task, run = get_task(item.task), RunFolder(item.run)
    source = DemonstrationConfig(item.episodes_per_way, "scripted", seed=item.config.seed)
    with make_demonstrations(task, run.demonstrations(task), source, item.assets) as file:
        demonstrations = observe(file, Environment(task, item.assets))
    with BatchEnvironment(task, SLOTS, item.assets, num_threads=1) as environments:
        work, lines = item.run / "options" / task.key / item.recipe, []
        for option in item.options:
            row = train(option, item.recipe, task, environments, demonstrations, item.config, work)
            result = {
                "task": task.key,
                "pack": item.assets.name,
                "recipe": item.recipe,
                "option": option,
                "demonstrations": len(demonstrations),
                **row,
                "machine": describe_machine(),
            }
            write_sealed(item.out / task.key / item.recipe / f"{option}.json", result)
            lines.append(f"\n  {_line(option, row)}")
    return "".join(lines)


def _line(name: str, row: Mapping[str, Any]) -> str:
    rates = (" ".join(f"{r['success']:.0%}" for r in row[when]) for when in ("before", "after"))
    return f"{name:<22} {' -> '.join(rates)}, {row['environment_steps']['total']} steps"


def _check_stages(recipe: str) -> None:
    """Look at a recipe's stages before anything is made.

    Raises:
        UsageError: it does not end with `filter` and `reinforce`.
        RecipeError: there is no such recipe.
    """
    from generator.recipes import RECIPES, Recipe, get_recipe

    def fits(one: Recipe) -> bool:
        return [stage.name for stage in one.stages[-2:]] == [BEFORE, AFTER]

    if not fits(get_recipe(recipe)):
        known = ", ".join(name for name, one in RECIPES.items() if fits(one))
        raise UsageError(f"{recipe} does not end with {BEFORE} and {AFTER}; those that do: {known}")


def try_all(
    tasks: tuple[str, ...] = TASKS,
    recipe: str = "dlr",
    options: tuple[str, ...] = tuple(OPTIONS),
    run: Path = Path("runs/options"),
    episodes_per_way: int = 40,
    assets: Path | None = None,
    out: Path = Path("results/ablations"),
    workers: int | None = None,
    config: GeneratorConfig = GeneratorConfig(),
) -> None:
    """Train a recipe on scripted demonstrations without and with each option of PPO.

    Args:
        tasks: the tasks, as `suite/name`.
        recipe: one that ends with `filter` and `reinforce`.
        options: which, in this order.
        run: folder of demonstrations and trainings; what is there is not made again.
        episodes_per_way: demonstrations of each way.
        assets: `libero`, `embedded` or a folder; by default the first that `dlr assets` lists.
        out: folder of the results.
        workers: processes; by default one for each core.
        config: settings and seed.

    Raises:
        UsageError: there is no such option, or the recipe has other stages.
        RecipeError: there is no such recipe.
        DlrError: tasks failed; the others' results are written.
    """
    if unknown := sorted({*options} - OPTIONS.keys()):
        raise UsageError(f"unknown options {', '.join(unknown)}: there are {', '.join(OPTIONS)}")
    _check_stages(recipe)
    pack = resolve_assets(assets)
    items = [
        OptionsItem(task, recipe, options, episodes_per_way, pack, run, out, config)
        for task in tasks
    ]
    attempt_tasks(try_options, items, workers, "options of PPO")


if __name__ == "__main__":
    run_command(try_all, "experiments.options")
