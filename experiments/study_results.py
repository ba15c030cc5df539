"""What the study leaves of each training: one small sealed file, `TASK/RECIPE/SEED.json`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, cast

from analysis.profile import Profile
from common.errors import DlrError
from common.json_files import read_sealed, write_sealed
from generator.finetuning.budget import SHORT
from generator.run_folder import LEARN
from reports.run_outcomes import Count

RESULTS = Path("results/study")
"""Folder of the files, from the checkout's root."""
POOLED = "pooled"
"""Stands for the seed where all seeds of a recipe are taken together."""
BESIDE = ("failed.json", "time.json")
"""Names of files beside results that are none."""
_REMEDY = "delete it and run `python -m experiments.study` again"
_FORMAT = 1


class StudyError(DlrError, ValueError):
    """A result of the study is damaged or of another format."""


@dataclass(frozen=True)
class Measured:
    """What was measured of one source's successful episodes."""

    episodes: int
    """Successes."""
    figures: Mapping[str, float]
    """`analysis.profile.Profile.figures`, values alone."""
    modes: Mapping[str, int]
    """Episodes of each mode of the demonstrations."""
    ways: Mapping[str, int]
    """Episodes of each recognised way."""

    @staticmethod
    def of(profile: Profile) -> Measured:
        """Return what a profile says, without its intervals."""
        return Measured(
            profile.episodes,
            {name: found.value for name, found in profile.figures.items()},
            {str(mode): count for mode, count in profile.modes.items()},
            dict(profile.ways),
        )


@dataclass(frozen=True)
class StageResult:
    """A recipe after one of its stages that end in a policy."""

    success: Sequence[Count]
    """Held-out success of each pattern; one rate without patterns."""
    report: Mapping[str, Any]
    """What the stage reported: budget, curves, steps, time; JSON values."""
    collected: Sequence[Count] = ()
    """Attempts of the collection and those that succeeded, by group."""
    measured: Measured | None = None
    """None where too few episodes succeeded."""


@dataclass(frozen=True)
class StudyResult:
    """One training of the study."""

    task: str
    recipe: str
    seed: int | str
    """Of the training; `POOLED` of all together."""
    stages: Mapping[str, StageResult]
    """By the stage's name; those that end in a policy."""
    final: str
    """Name of the last one."""
    demonstrations: Measured
    """What it learned from."""
    seconds: float
    """Of training and collection on one core, demonstrations apart."""
    contrasts: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    """Metric -> O2O-RL's and this recipe's value on the starts that both solved, after the last
    stage and with the same seed; of DLR alone."""
    provenance: Mapping[str, Any] = field(default_factory=dict)
    """Settings, asset pack, versions, machine, commit, demonstrations by source and way."""
    costs: Mapping[str, float] = field(default_factory=dict)
    """CPU seconds of each stage, by its name, and of each collection, as `collect STAGE`."""

    @property
    def updates(self) -> int | None:
        """Iterations of PPO that improved the actor; None where PPO is not the last stage."""
        history = self.stages[self.final].report.get("history")
        return None if history is None else sum(not measures["warm_up"] for measures in history)

    @property
    def moved(self) -> bool:
        """Whether the last stage's success or episodes differ from the clone's, by the figures."""
        clone, end = self.stages.get(LEARN), self.stages[self.final]
        if clone is None:
            return True
        return (clone.success, clone.measured) != (end.success, end.measured)

    @property
    def short(self) -> bool:
        """Whether it ended with a short PPO, of a policy that succeeds already."""
        budget = self.stages[self.final].report.get("budget", {})
        return bool(budget.get("choice") == SHORT)

    @property
    def short_steps_shared(self) -> bool:
        """Whether it ended with a short PPO whose steps were those of all patterns together."""
        settings = self.provenance.get("config", {}).get("reinforce", {}).get("budget", {})
        return self.short and "short_steps_each" not in settings


def result_path(task: str, recipe: str, seed: int | str) -> Path:
    """Return the place of a result's file below the folder of results."""
    name = seed if isinstance(seed, str) else f"seed_{seed}"
    return Path(task) / recipe / f"{name}.json"


def write_result(result: StudyResult, folder: Path = RESULTS) -> Path:
    """Write a result; return its path.

    Raises:
        OutputError: it cannot be written.
    """
    path = folder / result_path(result.task, result.recipe, result.seed)
    write_sealed(path, {"format": _FORMAT, **asdict(result)})
    return path


def read_result(path: Path) -> StudyResult:
    """Read a result.

    Raises:
        StudyError: it is missing, damaged or of another format.
    """
    content = read_sealed(path, "a result of the study", StudyError, _REMEDY)
    try:
        if content["format"] != _FORMAT:
            raise ValueError(f"format {content['format']}")
        return StudyResult(
            task=content["task"],
            recipe=content["recipe"],
            seed=content["seed"],
            stages={name: _stage(stage) for name, stage in content["stages"].items()},
            final=content["final"],
            demonstrations=Measured(**content["demonstrations"]),
            seconds=content["seconds"],
            contrasts={
                k: cast(tuple[float, float], tuple(v)) for k, v in content["contrasts"].items()
            },
            provenance=content["provenance"],
            costs=content.get("costs", {}),
        )
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise StudyError(
            f"{path} is no result of this study's format ({error}): {_REMEDY}"
        ) from error


def read_results(folder: Path = RESULTS) -> list[StudyResult]:
    """Read all results below a folder, by path.

    Raises:
        StudyError: there is none, or one is damaged.
    """
    paths = sorted(path for path in folder.rglob("*.json") if path.name not in BESIDE)
    if not paths:
        raise StudyError(f"{folder} holds no results: run the same command without --report first")
    return [read_result(path) for path in paths]


def _stage(content: Mapping[str, Any]) -> StageResult:
    return StageResult(
        success=[Count(**rate) for rate in content["success"]],
        report=content["report"],
        collected=[Count(**rate) for rate in content["collected"]],
        measured=Measured(**content["measured"]) if content["measured"] else None,
    )
