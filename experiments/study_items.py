"""Work items of the study: what is measured of a finished training, and of several together."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from experiments.study_results import (
    POOLED,
    Measured,
    StageResult,
    StudyResult,
    read_result,
    result_path,
    write_result,
)
from experiments.study_tests import BASELINE, DLR
from generator.config import CollectConfig
from generator.run_folder import LEARN, RunFolder
from reports.run_outcomes import Count

if TYPE_CHECKING:
    from analysis.profile import Repertoire
    from analysis.trajectories import Trajectory
    from generator.collect import CollectReport
    from generator.work.items import Result
    from simulation.assets.resolve import AssetPack
    from simulation.tasks import Task


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
        costs = self._costs(task) | {
            f"collect {name}": _collection(path).cpu_seconds for name, path in places.items()
        }
        return StudyResult(
            task=self.task,
            recipe=self.recipe,
            seed=self.seed,
            stages={name: stage for name, stage in stages.items() if stage.success},
            final=final,
            demonstrations=Measured.of(_profile(repertoire.demonstrations, repertoire)),
            seconds=sum(costs.values()),
            contrasts=self._contrasts(task) if self.recipe == DLR else {},
            provenance=self._provenance(task),
            costs=costs,
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

    def _costs(self, task: Task) -> dict[str, float]:
        """Return the CPU seconds of each stage, by its name."""
        from generator.checkpoints import read_cost
        from generator.recipes import get_recipe

        folder = self.run.policies(task, self.recipe, self.seed)
        names = [stage.name for stage in get_recipe(self.recipe).stages]
        return {name: read_cost(folder / name)["stage_cpu_seconds"] for name in names}

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
        from generator.recipes import read_summary
        from generator.run_folder import final_record

        sources, shown = _shown(self.run.demonstrations(task))
        return {
            **made_with(self.assets, self.commit),
            "config": read_summary(self.run.policies(task, self.recipe, self.seed))["config"],
            "collect": asdict(self.collect),
            "demonstrations": sources,
            "shown": shown,
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
            seconds=sum(part.seconds for part in parts), contrasts={}, costs={},
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


def made_with(assets: AssetPack, commit: str) -> dict[str, str]:
    """Return what every result says of its asset pack, code and machine."""
    from common.machine import describe_machine

    machine = describe_machine()
    return {
        "assets": f"{assets.name} {assets.digest[:12]}",
        "commit": commit,
        "machine": f"{machine['cpu']}, {machine['cores']} cores",
    }


def _shown(path: Path) -> tuple[dict[str, str], dict[str, Any]]:
    """Return demonstrations kept of attempts, by source and way; and how they were made.

    Of a folder of people's demonstrations the name alone: where it lay is this machine's affair.
    """
    from demonstrations.make import count_attempts
    from simulation.recordings.trajectories import TrajectoryFile

    with TrajectoryFile(path) as file:
        counts, config = count_attempts(file), dict(file.config)
    if config.get("human_demos"):
        config["human_demos"] = Path(config["human_demos"]).name
    kept = {
        f"{source} {way}".strip(): f"{kept} of {tried}"
        for (source, way), (tried, kept) in counts.items()
    }
    return kept, config


def _solved(path: Path) -> list[Trajectory]:
    return [trajectory for trajectory in read_trajectories(path) if trajectory.success]


def _profile(trajectories: Sequence[Trajectory], repertoire: Repertoire) -> Any:
    from analysis.profile import profile

    return profile(trajectories, repertoire, resamples=1)


def _stage(report: Mapping[str, Any], path: Path | None, repertoire: Repertoire) -> StageResult:
    """Return a stage's outcome with what was collected after it."""
    rows = report.get("held_out_success", ())
    success = [Count(round(row["success"] * row["episodes"]), int(row["episodes"])) for row in rows]
    if path is None:
        return StageResult(success, report)
    trajectories = read_trajectories(path) if path.exists() else []
    measured = Measured.of(_profile(trajectories, repertoire)) if trajectories else None
    found = _collection(path)
    collected = [Count(*pair) for pair in zip(found.successes, found.attempts, strict=True)]
    return StageResult(success, report, collected, measured)


def _collection(path: Path) -> CollectReport:
    from generator.collect import read_report

    return read_report(path)


def _sum(rates: Sequence[Count]) -> Count:
    return Count(sum(rate.successes for rate in rates), sum(rate.n for rate in rates))


def _in_words(stage: StageResult) -> str:
    rates = "/".join(f"{rate.rate:.0%}" for rate in stage.success)
    found = stage.measured.figures.get("mode_entropy") if stage.measured else None
    return rates if found is None else f"{rates} (mode entropy {found:.2f})"
