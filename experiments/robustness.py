"""`python -m experiments.robustness`: do DLR's policies keep more success under perturbation?

Policies of two recipes act from LIBERO's official starts, unperturbed and under each axis and
level, paired by start and seed; DLR's takes its patterns by turns. Each training leaves
`results/robustness/TASK/RECIPE/seed_N.json`, and `--report` writes the page of them all.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from analysis.statistics import bootstrap, holm, sign_flip_test
from common.errors import DlrError
from common.files import write_text
from common.json_files import read_sealed, write_sealed
from common.machine import describe_machine
from common.versions import head
from experiments.command import run_command
from experiments.figures import short_name
from experiments.many import attempt_tasks
from experiments.study import RECIPES, SEEDS, TASKS
from experiments.study_tests import BASELINE, DLR
from simulation.assets.resolve import AssetPack, resolve_assets

RESULTS = Path("results/robustness")
PROTOCOL = "openvla"
ENVIRONMENTS = 8


@dataclass(frozen=True)
class RobustnessItem:
    """A training's evaluation under perturbation, as one work item."""

    task: str
    """The task's key."""
    recipe: str
    """Recipe of the policy."""
    seed: int
    """Of its training."""
    axes: str
    """As `dlr eval run --perturb` takes them."""
    levels: str
    """As its `--levels`."""
    starts: int
    """Official starts, the first ones."""
    run: Path
    """Folder of the run that has the policies."""
    assets: AssetPack
    """Asset pack."""
    out: Path
    """Folder of the results."""
    commit: str
    """Of the checkout."""


def measure(item: RobustnessItem) -> str:
    """Run all arms, those that are there not again, write the result; return a line."""
    from eval_harness.evaluation import evaluate
    from eval_harness.perturbations.arms import make_arms, run_arms
    from eval_harness.perturbations.retained import measure_retained
    from eval_harness.policies import load_policy
    from eval_harness.protocols import get_protocol
    from eval_harness.runner import RunConfig
    from generator.recipes import get_recipe
    from generator.run_folder import RunFolder
    from simulation.tasks import get_task

    task, name = get_task(item.task), f"{item.task}/{item.recipe}/seed_{item.seed}"
    last = get_recipe(item.recipe).stages[-1].name
    path = RunFolder(item.run).policies(task, item.recipe, item.seed) / last / "policy.safetensors"
    protocol, config = get_protocol(PROTOCOL), RunConfig(ENVIRONMENTS, threads=1)
    policy = load_policy(f"generator:{path}", protocol, item.seed, item.assets)
    try:
        arms = run_arms(
            make_arms(item.axes, item.levels),
            item.run / "robustness" / name,
            lambda arm, out: evaluate(
                policy, arm.protocol(protocol), [task], out, item.starts, config=config,
                assets=item.assets,
            ),
        )  # fmt: skip
    finally:
        policy.close()
    found = measure_retained(arms)
    outcome = {
        **{key: getattr(item, key) for key in ("task", "recipe", "seed", "starts", "commit")},
        "policy": policy.identity(),
        "protocol": PROTOCOL,
        "assets": {"name": item.assets.name, "digest": item.assets.digest},
        "arms": [arm.as_dict() for arm in found.arms],
        "machine": describe_machine(),
    }
    write_sealed(item.out / f"{name}.json", outcome)
    counts = [("control", found.arms[0].control), *((a.name, a.successes) for a in found.arms)]
    told = ", ".join(f"{name} {count}" for name, count in counts)
    return f"{item.recipe} seed {item.seed}, successes of {item.starts}: {told}"


def read_results(folder: Path = RESULTS) -> list[dict[str, Any]]:
    """Return what is there, by task, recipe and seed."""
    paths = sorted(folder.glob("*/*/*/seed_*.json"))
    what, remedy = "a result of the evaluation under perturbation", "delete it and run this again"
    return [read_sealed(path, what, DlrError, remedy) for path in paths]


Values = dict[tuple[str, int], dict[str, dict[str, float]]]
"""Something of each condition, recipe and task, the mean over seeds; the control is `("", 0)`."""


def rates(results: Sequence[Mapping[str, Any]]) -> Values:
    """Return the success rates of the trainings that both recipes have under a condition."""
    return _by_condition(results, lambda arm: arm["successes"] / arm["pairs"])


def changes(results: Sequence[Mapping[str, Any]]) -> Values:
    """Return success less that of the same training's control; less than 0 where some is lost."""
    return _by_condition(results, lambda arm: (arm["successes"] - arm["control"]) / arm["pairs"])


def _by_condition(
    results: Sequence[Mapping[str, Any]], value: Callable[[Mapping[str, Any]], float]
) -> Values:
    found: dict[tuple[str, int], dict[str, dict[tuple[str, int], float]]] = {}
    for one in results:
        for arm in (control_arm(one), *evaluated(one)):
            recipes = found.setdefault((arm["axes"], arm["level"]), {DLR: {}, BASELINE: {}})
            recipes[one["recipe"]][one["task"], one["seed"]] = value(arm)
    means: Values = {}
    for condition, recipes in found.items():
        shared = sorted(recipes[DLR].keys() & recipes[BASELINE].keys())
        seeds = {task: [seed for other, seed in shared if other == task] for task, _ in shared}
        if shared:
            means[condition] = {
                recipe: {
                    task: float(np.mean([trainings[task, seed] for seed in of]))
                    for task, of in seeds.items()
                }
                for recipe, trainings in recipes.items()
            }
    return means


def evaluated(result: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the arms of a result of which some start could be placed."""
    return [arm for arm in result["arms"] if arm["pairs"]]


def control_arm(result: Mapping[str, Any]) -> dict[str, Any]:
    """Return a result's control as an arm, by the condition that shares most starts with it.

    Raises:
        DlrError: no condition has a start that could be placed.
    """
    if not evaluated(result):
        raise DlrError(f"{result['task']}: no start could be placed under any condition")
    widest = max(result["arms"], key=lambda arm: arm["pairs"])
    return {**widest, "axes": "", "level": 0, "successes": widest["control"]}


def unplaced(results: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return what to say of conditions under which not every start could be placed."""
    found: dict[str, str] = {}
    for one in results:
        for arm in one["arms"]:
            if arm["pairs"] < one["starts"]:
                where = f"{arm['axes']} {arm['level']} of {short_name(one['task'], 48)}"
                found[where] = f"{where}: {arm['pairs']} of {one['starts']}"
    if not found:
        return []
    return [
        "Where a start could not be placed, rates are of the others, and changes of the control on",
        f"these: {'; '.join(found.values())}.",
        "",
    ]


def page(results: Sequence[Mapping[str, Any]]) -> str:
    """Return the page: each condition's success, its change, and DLR's change less O2O-RL's."""
    found, changed = rates(results), changes(results)
    if not found:
        raise DlrError("no task has results of both recipes: run this without --report")
    rows, p_values = [], {}
    for (axes, level), recipes in sorted(found.items()):
        name = f"{axes} {level}" if axes else "control"
        cells = [f"{mean(recipes[recipe]):.1%}" for recipe in (BASELINE, DLR)]
        rows.append([name, str(len(recipes[DLR])), *cells])
        if axes:
            change = changed[axes, level]
            p_values[name] = sign_flip_test(list(minus(change[DLR], change[BASELINE]).values()))
            rows[-1] += [f"{100 * mean(change[r]):+.1f}" for r in (BASELINE, DLR)]
            rows[-1].append(change_in_points(minus(change[DLR], change[BASELINE])))
        else:
            rows[-1] += ["", "", ""]
    corrected = holm(p_values)
    lines = [
        f"| {' | '.join(row)} | {_p(p_values, row[0])} | {_p(corrected, row[0])} |" for row in rows
    ]
    return "\n".join([*_head(results, found[("", 0)]), *lines, "", *unplaced(results)])


def _head(results: Sequence[Mapping[str, Any]], control: Mapping[str, Any]) -> list[str]:
    seeds = {one["seed"] for one in results}
    starts = {one["starts"] for one in results}
    packs = {one["assets"]["name"] for one in results}
    commits = {one["commit"] for one in results}
    return [
        "# Success under perturbation: DLR beside O2O-RL",
        "",
        f"Final policies of the study on {len(control[DLR])} tasks, seeds {names(seeds)};",
        f"{names(starts)} official starts each, assets {names(packs)}, protocol `{PROTOCOL}`;",
        f"`python -m experiments.robustness` (commit {names(commits)}). Policies act on the",
        "simulator's state, which pictures and words do not change. DLR's takes its patterns by",
        "turns. A change is in points of success, less the same training's control; of each",
        "condition the trainings count that both recipes have. The unit is the task: intervals are",
        "bootstraps over tasks, p values sign flips of DLR's change less O2O-RL's, by themselves",
        "and after Holm.",
        "",
        "| condition | tasks | O2O-RL | DLR | O2O-RL's change | DLR's change "
        "| DLR's less O2O-RL's (95%) | p | p, Holm |",
        "|---|---|---|---|---|---|---|---|---|",
    ]


def names(values: set[Any]) -> str:
    """Return values in order, with commas."""
    return ", ".join(map(str, sorted(values)))


def mean(tasks: Mapping[str, float]) -> float:
    """Return the mean over tasks."""
    return float(np.mean(list(tasks.values())))


def minus(a: Mapping[str, float], b: Mapping[str, float]) -> dict[str, float]:
    """Return the difference on each task."""
    return {task: a[task] - b[task] for task in sorted(a)}


def change_in_points(differences: Mapping[str, float]) -> str:
    """Return the mean of tasks' differences in points, with its bootstrap interval over tasks."""
    found = bootstrap(list(differences.values()))
    text = f"{100 * found.value:+.1f}"
    if found.low is None or found.high is None:
        return text
    return f"{text} ({100 * found.low:+.1f} to {100 * found.high:+.1f})"


def _p(values: Mapping[str, float], name: str) -> str:
    return f"{values[name]:.3f}" if name in values else ""


def robustness(
    tasks: tuple[str, ...] = TASKS,
    seeds: tuple[int, ...] = SEEDS,
    axes: str = "objects,layout,robot",
    levels: str = "1,3,5",
    starts: int = 20,
    run: Path = Path("runs/study"),
    out: Path = RESULTS,
    page_file: Path = Path("docs/robustness.md"),
    report: bool = False,
    assets: Path = Path("libero"),
    workers: int | None = None,
) -> None:
    """Evaluate the study's policies under perturbation and write results and their page.

    Args:
        tasks: the tasks, as `suite/name`.
        seeds: of the trainings.
        axes: as `dlr eval run --perturb` takes them; those that move something.
        levels: as its `--levels`.
        starts: official starts, the first ones.
        run: folder of the study's run.
        out: folder of the results.
        page_file: the page.
        report: only write the page of the results that are there.
        assets: `libero`, `embedded` or a folder.
        workers: processes; by default one for each core.

    Raises:
        DlrError: trainings failed or are missing; the others' results are written.
    """
    if not report:
        pack, commit = resolve_assets(assets), head()
        items = [
            RobustnessItem(task, recipe, seed, axes, levels, starts, run, pack, out, commit)
            for seed in seeds
            for task in tasks
            for recipe in RECIPES
        ]
        attempt_tasks(measure, items, workers, "evaluating")
    write_text(page_file, page(read_results(out)))
    print(page_file)


if __name__ == "__main__":
    run_command(robustness, "experiments.robustness")
