"""`python -m experiments.seeing`: what policies that see keep of their success under perturbation.

Policies cloned from pictures of ten tasks act from LIBERO's official starts, unperturbed and
under each axis and level, paired by start and seed. Each task leaves
`results/seeing/TASK/dlr_clone/seed_0.json`; `--report` writes the page and the curves of all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from analysis.statistics import bootstrap, holm, sign_flip_test
from common.errors import DlrError
from common.files import write_text
from common.versions import head
from demonstrations.config import DemonstrationConfig
from experiments.command import run_command
from experiments.figures import short_name, write_panels
from experiments.many import attempt_tasks, work_plan
from experiments.robustness import (
    PROTOCOL,
    RobustnessItem,
    change_in_points,
    control_arm,
    evaluated,
    mean,
    measure,
    minus,
    names,
    read_results,
    unplaced,
)
from experiments.study import EPISODES_PER_WAY
from experiments.study import TASKS as STUDY
from generator.config import CollectConfig, EvaluationConfig, GeneratorConfig, ObserveConfig
from generator.run_folder import RunFolder
from reports.robustness.curves import Curve, draw_retained
from simulation.assets.resolve import AssetPack, resolve_assets
from simulation.tasks import Task, get_task

LEFT_OUT = (
    "libero_goal/put_the_bowl_on_top_of_the_cabinet",
    "libero_90/LIVING_ROOM_SCENE5_put_the_red_mug_on_the_left_plate",
)
TASKS = tuple(task for task in STUDY if task not in LEFT_OUT)
"""The study's tasks without two of its six that put something on something."""
RECIPE, SEED = "dlr_clone", 0
AXES = "camera,light,background,noise,objects,layout,robot"
"""All but language, which these policies do not read."""
_LETTERS = 48
"""Letters of a task's name in the page's tables."""
RESULTS = Path("results/seeing")
COLLECT = CollectConfig(episodes=3, maximum_attempts=2, require_all=False)
"""Hardly anything: nothing is made of these episodes."""
TRAIN = GeneratorConfig(
    observe=ObserveConfig(
        cameras=("agentview",), size=96, encoder="efficientnet_lite0", train_encoder="no",
        features=128,
    ),
    evaluation=EvaluationConfig(episodes=6),
)  # fmt: skip


@dataclass(frozen=True)
class Condition:
    """One axis at one level, over tasks."""

    axis: str
    """Axis."""
    level: int
    """1 to 5."""
    success: Mapping[str, float]
    """Success rate, by task."""
    control: Mapping[str, float]
    """The control's on the same starts, by task."""
    kept: Mapping[str, float]
    """Share of the control's successes that are kept, by task whose control has one."""

    @property
    def change(self) -> dict[str, float]:
        """Success less the control's, by task."""
        return minus(self.success, self.control)


def conditions(results: Sequence[Mapping[str, Any]]) -> list[Condition]:
    """Return what became of each condition, in the order of the results' arms."""
    arms: dict[tuple[str, int], dict[str, Mapping[str, Any]]] = {}
    for one in results:
        for arm in evaluated(one):
            arms.setdefault((arm["axes"], arm["level"]), {})[one["task"]] = arm
    return [_condition(*of, tasks) for of, tasks in arms.items()]


def _condition(axis: str, level: int, arms: Mapping[str, Mapping[str, Any]]) -> Condition:
    success = {task: arm["successes"] / arm["pairs"] for task, arm in arms.items()}
    without = {task: arm["control"] / arm["pairs"] for task, arm in arms.items()}
    kept = {task: arm["kept"] / arm["control"] for task, arm in arms.items() if arm["control"]}
    return Condition(axis, level, success, without, kept)


def control(results: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Return the control arm's success rate, by task."""
    arms = {one["task"]: control_arm(one) for one in results}
    return {task: arm["successes"] / arm["pairs"] for task, arm in arms.items()}


def curves(found: Sequence[Condition]) -> dict[str, Curve]:
    """Return by axis the share of the control's successes that is kept, by level.

    It is the mean over the tasks whose control succeeds.
    """
    drawn: dict[str, list[tuple[int, tuple[float, float, float]]]] = {}
    for one in found:
        if not one.kept:
            continue
        value = bootstrap(list(one.kept.values()))
        low, high = (value.value if at is None else at for at in (value.low, value.high))
        drawn.setdefault(one.axis, []).append((one.level, (value.value, low, high)))
    return {
        axis: Curve(axis, tuple(at for at, _ in points), tuple(p for _, p in points), 0)
        for axis, points in ((axis, sorted(points)) for axis, points in drawn.items())
    }


def page(results: Sequence[Mapping[str, Any]], picture: str) -> str:
    """Return the page of these results.

    Args:
        results: one a task, of `experiments.robustness.measure`.
        picture: the curves' file, as the page links it.

    Raises:
        DlrError: there are none.
    """
    if not results:
        raise DlrError("there are no results: run this without --report")
    rates, found = control(results), conditions(results)
    corrected = holm(
        {f"{c.axis} {c.level}": sign_flip_test(list(c.change.values())) for c in found}
    )
    rows = [["control", str(len(rates)), f"{mean(rates):.1%}", "", _worst(rates), "", ""]]
    rows += [_row(one, corrected[f"{one.axis} {one.level}"]) for one in found]
    table = [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join(
        [*_head(results, picture), *table, "", *unplaced(results), *_tasks(rates, found), ""]
    )


def _row(one: Condition, corrected: float) -> list[str]:
    return [
        f"{one.axis} {one.level}", str(len(one.success)), f"{mean(one.success):.1%}",
        f"{mean(one.control):.1%}", _worst(one.success), change_in_points(one.change),
        f"{corrected:.3f}",
    ]  # fmt: skip


def _worst(rates: Mapping[str, float]) -> str:
    task = min(rates, key=lambda name: rates[name])
    return f"{rates[task]:.0%} ({short_name(task, _LETTERS)})"


def _head(results: Sequence[Mapping[str, Any]], picture: str) -> list[str]:
    starts = {one["starts"] for one in results}
    packs = {one["assets"]["name"] for one in results}
    commits = {one["commit"] for one in results}
    machines = {one["machine"]["cpu"] for one in results}
    return [
        "# What policies that see keep under perturbation",
        "",
        f"{len(results)} tasks, {names(starts)} official starts each, assets {names(packs)},",
        f"protocol `{PROTOCOL}`; `python -m experiments.seeing` (commit {names(commits)};",
        f"{names(machines)}). Each task has a policy of its own (`{RECIPE}`, seed {SEED}), by",
        f"default cloned from {EPISODES_PER_WAY} scripted demonstrations of each way: a frozen",
        "EfficientNet-Lite0 looks through the third-person camera, and the head has proprioception",
        "beside; patterns take turns. They were trained without any perturbation. They read no",
        "instruction, so language is left out. A change is in points of success, less the control.",
        "The unit is the task: intervals are bootstraps over tasks, p values sign flips of the",
        "change, after Holm. The curves show which share of the control's successes is kept, from",
        "start to start: successes that a change brings do not make up for others that it takes.",
        "",
        f"![Success kept, by axis and level]({picture})",
        "",
        "| condition | tasks | success | control of these | worst task | change (95%) | p, Holm |",
        "|---|---|---|---|---|---|---|",
    ]


def _tasks(rates: Mapping[str, float], found: Sequence[Condition]) -> list[str]:
    axes = list(dict.fromkeys(one.axis for one in found))
    lines = [
        "Success of each task, the mean over an axis's levels:",
        "",
        f"| task | control | {' | '.join(axes)} |",
        "|---|---|" + "---|" * len(axes),
    ]
    for task in sorted(rates):
        of_axis = [
            [one.success[task] for one in found if one.axis == axis and task in one.success]
            for axis in axes
        ]
        cells = [f"{np.mean(values):.0%}" if values else "" for values in of_axis]
        lines.append(f"| {short_name(task, _LETTERS)} | {rates[task]:.0%} | {' | '.join(cells)} |")
    return lines


def draw(results: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Write the curves, a panel an axis, as a PNG.

    Args:
        results: as `page` takes them.
        path: the file.
    """
    found = curves(conditions(results))
    draws = [(axis, partial(draw_retained, curves=[curve])) for axis, curve in found.items()]
    write_panels(path, draws, width=200)


def train(
    run: RunFolder, tasks: Sequence[Task], settings: GeneratorConfig, assets: AssetPack,
    workers: int | None, episodes_per_way: int,
) -> list[str]:  # fmt: skip
    """Demonstrate and clone what is missing; return the keys of tasks for which that failed."""
    from generator.work.plan import Plan, Settings, plan_task

    plan, shown = Plan(), DemonstrationConfig(episodes_per_way, "scripted")
    for task in tasks:
        wanted = Settings((RECIPE,), (SEED,), shown, settings, COLLECT, None)
        plan_task(plan, run, task, wanted, assets)
    failed = work_plan(run, plan, workers)
    return [plan.items[outcome.index].task for outcome in failed]


def seeing(
    tasks: tuple[str, ...] = TASKS,
    axes: str = AXES,
    levels: str = "1,3,5",
    starts: int = 20,
    run: Path = Path("runs/seeing"),
    out: Path = RESULTS,
    page_file: Path = Path("docs/seeing.md"),
    report: bool = False,
    assets: Path = Path("embedded"),
    workers: int | None = None,
    episodes_per_way: int = EPISODES_PER_WAY,
    settings: GeneratorConfig = TRAIN,
) -> None:
    """Clone policies that see, evaluate them under perturbation, and write their page.

    What is done is not done again.

    Args:
        tasks: the tasks, as `suite/name`.
        axes: as `dlr eval run --perturb` takes them.
        levels: as its `--levels`.
        starts: official starts, the first ones.
        run: folder of demonstrations, policies and episodes.
        out: folder of the results.
        page_file: the page; the curves are written beside it.
        report: only write the page of the results that are there.
        assets: `libero`, `embedded` or a folder.
        workers: processes; by default one for each core.
        episodes_per_way: demonstrations of each way.
        settings: of the trainings.

    Raises:
        DlrError: something failed; the rest is kept, and the same command goes on.
    """
    failed: list[str] = []
    if not report:
        pack, commit, folder = resolve_assets(assets), head(), RunFolder(run)
        chosen = [get_task(task) for task in tasks]
        failed = train(folder, chosen, settings, pack, workers, episodes_per_way)
        items = [
            RobustnessItem(task, RECIPE, SEED, axes, levels, starts, run, pack, out, commit)
            for task in (one.key for one in chosen)
            if task not in failed
        ]
        attempt_tasks(measure, items, workers, "evaluating")
    results, picture = read_results(out), page_file.with_suffix(".png")
    write_text(page_file, page(results, picture.name))
    draw(results, picture)
    print(page_file)
    if failed:
        raise DlrError(f"not cloned: {', '.join(failed)}; the same command tries them again")


if __name__ == "__main__":
    run_command(seeing, "experiments.seeing")
