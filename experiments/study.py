"""`python -m experiments.study`: does DLR keep what its demonstrations show? See docs/study.md.

Work items of `dlr generate`, all tasks of one seed before the next, and after each training one
that measures it and leaves a small file, `results/study/TASK/RECIPE/SEED.json`.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from common.errors import DlrError
from demonstrations.config import DemonstrationConfig
from experiments.study_page import BASELINE, DLR, page
from experiments.study_results import (
    POOLED,
    RESULTS,
    Measured,
    Rate,
    StageResult,
    StudyResult,
    read_result,
    read_results,
    result_path,
    write_result,
)
from generator.config import CollectConfig, GeneratorConfig
from generator.run_folder import LEARN, RunFolder

if TYPE_CHECKING:
    from analysis.profile import Repertoire
    from analysis.trajectories import Trajectory
    from generator.collect import CollectReport
    from generator.work.items import Result
    from generator.work.plan import Plan, Settings
    from simulation.assets.resolve import AssetPack
    from simulation.tasks import Task

TASKS = (
    "libero_spatial/pick_up_the_black_bowl_from_table_center_and_place_it_on_the_plate",
    "libero_object/pick_up_the_alphabet_soup_and_place_it_in_the_basket",
    "libero_goal/put_the_bowl_on_top_of_the_cabinet",
    "libero_goal/open_the_middle_drawer_of_the_cabinet",
    "libero_goal/turn_on_the_stove",
    "libero_90/KITCHEN_SCENE10_close_the_top_drawer_of_the_cabinet",
    "libero_90/KITCHEN_SCENE10_put_the_black_bowl_in_the_top_drawer_of_the_cabinet",
    "libero_90/KITCHEN_SCENE2_stack_the_middle_black_bowl_on_the_back_black_bowl",
    "libero_90/KITCHEN_SCENE3_put_the_moka_pot_on_the_stove",
    "libero_90/KITCHEN_SCENE6_close_the_microwave",
    "libero_90/LIVING_ROOM_SCENE5_put_the_red_mug_on_the_left_plate",
    "libero_90/STUDY_SCENE1_pick_up_the_book_and_place_it_in_the_left_compartment_of_the_caddy",
)
"""Twelve tasks of nine skills, as docs/study.md registers them."""
RECIPES = (DLR, BASELINE)
CONTROLS = ("filtered_clone", "dlr_shuffled")
SEEDS = (0, 1, 2)
EPISODES_PER_WAY = 40
COLLECT = CollectConfig(episodes=36, maximum_attempts=2, require_all=False)
"""The same after `learn` and at the end."""


@dataclass(frozen=True)
class MeasureItem:
    """Measure a finished training, as one work item."""

    run: RunFolder
    """The run's folder."""
    task: str
    """The task's key."""
    recipe: str
    """The recipe's name."""
    seed: int
    """Of the training."""
    collect: CollectConfig
    """Which episodes the measures are of."""
    assets: AssetPack
    """Asset pack of the run."""
    out: Path
    """Folder of the results."""
    commit: str
    """Of the code."""

    @property
    def what(self) -> str:
        """What is done."""
        return f"measures of {self.recipe} seed {self.seed}"

    def __call__(self) -> Result:
        """Measure; what is written already is only read.

        Raises:
            UsageError: the training is not finished.
        """
        began = time.monotonic()
        path = write_result(self._measure(), self.out)
        return {"path": str(path), "seconds": {"measure": time.monotonic() - began}}

    def describe(self, result: Result) -> str:
        """Return the outcome in a line."""
        found = read_result(Path(result["path"]))
        stages = (LEARN, found.final)
        return ", ".join(f"{stage} {_in_words(found.stages[stage])}" for stage in stages)

    def _measure(self) -> StudyResult:
        from generator.recipes import get_recipe
        from simulation.tasks import get_task

        task, repertoire = get_task(self.task), self._repertoire()
        records = self._records(task)
        final = get_recipe(self.recipe).stages[-1].name
        places = {
            LEARN: self.run.learned(task, self.recipe, self.seed),
            final: self.run.trajectories(task, self.recipe, self.seed),
        }
        stages = {
            name: _stage(record["report"], places.get(name), repertoire)
            for name, record in records.items()
        }
        return StudyResult(
            task=self.task,
            recipe=self.recipe,
            seed=self.seed,
            stages={name: stage for name, stage in stages.items() if stage.success},
            final=final,
            demonstrations=Measured.of(_profile(repertoire.demonstrations, repertoire)),
            seconds=sum(record["cpu_seconds"] for record in records.values())
            + sum(_collection(path).cpu_seconds for path in places.values()),
            contrasts=self._contrasts(task) if self.recipe == DLR else {},
            provenance=self._provenance(task),
        )

    def _repertoire(self) -> Repertoire:
        from analysis.profile import Repertoire
        from simulation.tasks import get_task

        return Repertoire(_solved(self.run.demonstrations(get_task(self.task))))

    def _records(self, task: Task) -> dict[str, dict[str, Any]]:
        """Return each stage's record, by its name."""
        from generator.recipes import get_recipe
        from generator.stages import read_record

        folder = self.run.policies(task, self.recipe, self.seed)
        names = [stage.name for stage in get_recipe(self.recipe).stages]
        return {name: read_record(folder / name) for name in names}

    def _contrasts(self, task: Task) -> dict[str, tuple[float, float]]:
        """Return O2O-RL's and DLR's measures on the starts that both solved, if both are there."""
        from analysis.diversity import compare
        from analysis.trajectories import DiversityError, match_initial_states

        paths = [self.run.trajectories(task, recipe, self.seed) for recipe in (BASELINE, DLR)]
        if not all(path.exists() for path in paths):
            return {}
        try:
            matched = match_initial_states(*(read_trajectories(path) for path in paths))
        except DiversityError:  # they share no start; the page counts such tasks as left out
            return {}
        found = compare(*matched, resamples=1)
        return {key: (one.baseline.value, one.candidate.value) for key, one in found.items()}

    def _provenance(self, task: Task) -> Mapping[str, Any]:
        from common.machine import describe_machine
        from generator.recipes import read_summary
        from generator.run_folder import final_record

        machine = describe_machine()
        return {
            "assets": f"{self.assets.name} {self.assets.digest[:12]}",
            "commit": self.commit,
            "config": read_summary(self.run.policies(task, self.recipe, self.seed))["config"],
            "collect": asdict(self.collect),
            "machine": f"{machine['cpu']}, {machine['cores']} cores",
            "versions": final_record(self.run, task, self.recipe, self.seed)["versions"],
        }


@dataclass(frozen=True)
class PoolItem:
    """Measure a recipe's episodes of all seeds together, as one work item."""

    run: RunFolder
    """The run's folder."""
    task: str
    """The task's key."""
    recipe: str
    """The recipe's name."""
    seeds: tuple[int, ...]
    """Of the trainings."""
    out: Path
    """Folder of the results."""

    @property
    def what(self) -> str:
        """What is done."""
        return f"measures of {self.recipe} seeds {self.seeds} pooled"

    def __call__(self) -> Result:
        """Measure."""
        from analysis.profile import Repertoire
        from simulation.tasks import get_task

        task = get_task(self.task)
        parts = [
            read_result(self.out / result_path(self.task, self.recipe, seed)) for seed in self.seeds
        ]
        shown = Repertoire(
            [t for t in read_trajectories(self.run.demonstrations(task)) if t.success]
        )
        paths = [self.run.trajectories(task, self.recipe, seed) for seed in self.seeds]
        pooled = [t for path in paths if path.exists() for t in read_trajectories(path)]
        measured = Measured.of(_profile(pooled, shown)) if pooled else None
        success = [rate for part in parts for rate in part.stages[part.final].success]
        final = StageResult([_sum(success)], {}, (), measured)
        result = replace(
            parts[0], seed=POOLED, stages={LEARN: parts[0].stages[LEARN], parts[0].final: final},
            seconds=sum(part.seconds for part in parts), contrasts={},
        )  # fmt: skip
        return {"path": str(write_result(result, self.out)), "seconds": {}}

    def describe(self, result: Result) -> str:
        """Return the outcome in a line."""
        found = read_result(Path(result["path"]))
        return _in_words(found.stages[found.final])


def read_trajectories(path: Path) -> list[Trajectory]:
    """Return a file's episodes as the metrics see them.

    Raises:
        TrajectoryError: it is missing or damaged.
    """
    from reports.run_gather import to_trajectory
    from simulation.recordings.trajectories import TrajectoryFile

    with TrajectoryFile(path) as file:
        return [to_trajectory(episode) for episode in file]


def _solved(path: Path) -> list[Trajectory]:
    return [trajectory for trajectory in read_trajectories(path) if trajectory.success]


def _profile(trajectories: Sequence[Trajectory], repertoire: Repertoire) -> Any:
    from analysis.profile import profile

    return profile(trajectories, repertoire, resamples=1)


def _stage(report: Mapping[str, Any], path: Path | None, repertoire: Repertoire) -> StageResult:
    """Return a stage's outcome with what was collected after it."""
    rows = report.get("held_out_success", ())
    success = [Rate(round(row["success"] * row["episodes"]), int(row["episodes"])) for row in rows]
    if path is None:
        return StageResult(success, report)
    trajectories = read_trajectories(path) if path.exists() else []
    measured = Measured.of(_profile(trajectories, repertoire)) if trajectories else None
    found = _collection(path)
    collected = [Rate(*pair) for pair in zip(found.successes, found.attempts, strict=True)]
    return StageResult(success, report, collected, measured)


def _collection(path: Path) -> CollectReport:
    from generator.collect import read_report

    return read_report(path)


def _sum(rates: Sequence[Rate]) -> Rate:
    return Rate(sum(rate.successes for rate in rates), sum(rate.n for rate in rates))


def _in_words(stage: StageResult) -> str:
    rates = "/".join(f"{rate.rate:.0%}" for rate in stage.success)
    found = stage.measured.figures.get("mode_entropy") if stage.measured else None
    return rates if found is None else f"{rates} (mode entropy {found:.2f})"


def plan_study(
    run: RunFolder,
    tasks: Sequence[Task],
    settings: Settings,
    controls: tuple[str, ...],
    assets: AssetPack,
    out: Path,
) -> Plan:
    """Return the study's work items: all tasks of a seed before the next, controls at the end.

    Args:
        run: where all is kept.
        tasks: the tasks.
        settings: recipes that are compared, seeds and all that is done.
        controls: recipes that are trained with the first seed alone.
        assets: asset pack.
        out: folder of the results.
    """
    from generator.work.plan import Plan, plan_task

    plan, commit, measured = Plan(), head(), {}
    parts = [(settings.recipes, seed) for seed in settings.seeds]
    parts += [(controls, settings.seeds[0])] if controls else []
    for recipes, seed in parts:
        chosen = replace(settings, recipes=recipes, seeds=(seed,))
        for task in tasks:
            places = plan_task(plan, run, task, chosen, assets)
            for recipe in recipes:
                item = MeasureItem(
                    run, task.key, recipe, seed, settings.collect, assets, out, commit
                )
                after = places.values() if recipe == DLR else [places[recipe, seed]]
                measured[task.key, recipe, seed] = plan.add(item, after)
    if BASELINE in settings.recipes and len(settings.seeds) > 1:
        for task in tasks:
            pooled = PoolItem(run, task.key, BASELINE, settings.seeds, out)
            plan.add(pooled, [measured[task.key, BASELINE, seed] for seed in settings.seeds])
    return plan


def head() -> str:
    """Return the commit of the checkout, and whether files differ from it; empty outside one."""
    root = Path(__file__).resolve().parents[1]
    found = subprocess.run(
        ["git", "describe", "--always", "--dirty", "--exclude=*"],
        cwd=root, capture_output=True, text=True, check=False,
    )  # fmt: skip
    return found.stdout.strip()


def study(
    tasks: tuple[str, ...] = TASKS,
    seeds: tuple[int, ...] = SEEDS,
    controls: bool = True,
    report: bool = False,
    workers: int | None = None,
    run: Path = Path("runs/study"),
    out: Path = RESULTS,
    page_file: Path = Path("docs/results.md"),
    episodes_per_way: int = EPISODES_PER_WAY,
    assets: Path = Path("libero"),
    train: GeneratorConfig = GeneratorConfig(),
    collect: CollectConfig = COLLECT,
) -> None:
    """Train, measure, write results and their page; what is done is not done again.

    Args:
        tasks: the tasks, as `suite/name`.
        seeds: of the trainings.
        controls: also train the controls, with the first seed, after all else.
        report: only write the page of the results that are there.
        workers: processes; by default one for each core.
        run: folder of demonstrations, policies and episodes.
        out: folder of the results.
        page_file: the page.
        episodes_per_way: demonstrations of each way.
        assets: `libero`, `embedded` or a folder.
        train: settings of the trainings.
        collect: which episodes the measures are of.

    Raises:
        DlrError: something failed; the rest is done and written.
    """
    from common.files import write_text
    from common.locks import lock_folder
    from common.workers import Processes
    from generator.work.plan import Settings
    from reports.run_progress import work
    from simulation.assets.resolve import resolve_assets
    from simulation.tasks import get_task

    failed = []
    if not report:
        shown = DemonstrationConfig(episodes_per_way, "scripted")
        settings = Settings(RECIPES, seeds, shown, train, collect, collect)
        folder, chosen = RunFolder(run), [get_task(task) for task in tasks]
        pack = resolve_assets(assets)
        plan = plan_study(folder, chosen, settings, CONTROLS if controls else (), pack, out)
        with lock_folder(folder.root):
            failed = work(folder, plan, Processes(workers, bar=False)).failed
    write_text(page_file, page(read_results(out)))
    print(page_file)
    if failed:
        raise DlrError(f"{len(failed)} items failed; the same command tries them again")


if __name__ == "__main__":
    import tyro

    try:
        tyro.cli(study, prog="python -m experiments.study")
    except DlrError as error:
        sys.exit(f"experiments: {error}")
