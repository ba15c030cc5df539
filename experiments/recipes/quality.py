"""What a task's episodes are like, source beside source: section V of the second paper.

One sealed file a task, `results/quality/TASK.json`: of people's demonstrations where they
are given, of scripted ones, and of every variant, no-ops, length and mean squared jerk of each
episode, and the actions' mean and standard deviation over time (its Figures 6 and 7). Of every
variant also without the noise that all rollouts add to the motion, which makes jerk of its own.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from common.errors import DlrError
from common.json_files import read_sealed, write_sealed
from experiments.recipes.variants import Variant

if TYPE_CHECKING:
    from analysis.trajectories import Trajectory
    from generator.config import CollectConfig
    from generator.work.items import Result
    from simulation.assets.resolve import AssetPack

PEOPLE, SCRIPTED = "people", "scripted"
"""Sources that are no variant."""
RESULTS = Path("results/quality")
"""Folder of the files, from the checkout's root."""
_REMEDY = "delete it and run `python -m experiments.recipes` again"


class QualityError(DlrError, ValueError):
    """A file of episodes' quality is damaged."""


@dataclass(frozen=True)
class Quality:
    """What one source's successful episodes are like."""

    no_ops: Sequence[int]
    """Of each episode."""
    lengths: Sequence[int]
    """Control steps of each episode."""
    jerks: Sequence[float]
    """Mean squared jerk of each episode, m²/s⁶."""
    mean_action: Sequence[Sequence[float]]
    """Over episodes, at moments of equal progress. Shape: (M, 7)."""
    deviation: Sequence[Sequence[float]]
    """Standard deviation over episodes. Shape: (M, 7); empty of a single episode."""


@dataclass(frozen=True)
class TaskQuality:
    """What a task's episodes are like, by source."""

    seed: int
    """Of the trainings."""
    sources: Mapping[str, Quality]
    """Demonstrations as they are, variants as they are collected: with the noise of the motion."""
    without_noise: Mapping[str, Quality] = field(default_factory=dict)
    """Variants with no noise but the policy's own: the gripper's draws, a diffusion chain's."""

    @property
    def quiet(self) -> dict[str, Quality]:
        """Demonstrations beside variants without noise; empty where there is none of these."""
        shown = {name: q for name, q in self.sources.items() if name in (PEOPLE, SCRIPTED)}
        return {**shown, **self.without_noise} if self.without_noise else {}


def measure(trajectories: Sequence[Trajectory]) -> Quality | None:
    """Return what successes of one source are like; None without any.

    Args:
        trajectories: episodes with actions.
    """
    from analysis.quality import mean_squared_jerk, no_ops, read_actions

    solved = [t for t in trajectories if t.success and t.actions is not None and len(t.proprio) > 3]
    if not solved:
        return None
    actions = read_actions([t.actions for t in solved if t.actions is not None])
    several = len(solved) > 1
    return Quality(
        [no_ops(t.proprio) for t in solved],
        [len(t.proprio) - 1 for t in solved],
        [mean_squared_jerk(t.proprio) for t in solved],
        actions.mean(axis=0).tolist(),
        np.std(actions, axis=0, ddof=1).tolist() if several else [],
    )


@dataclass(frozen=True)
class QualityItem:
    """Measure what a task's episodes are like, as one work item."""

    task: str
    """The task's key."""
    root: Path
    """Folder of the run."""
    variants: tuple[Variant, ...]
    """Whose episodes are measured, with the seed."""
    seed: int
    """Of the trainings."""
    people: Path
    """Folder of a run whose demonstrations are people's, no-ops and all; it need not be there."""
    out: Path
    """Folder of the results."""
    collect: CollectConfig
    """Which episodes are collected without noise, beside those that the run has."""
    assets: AssetPack
    """Asset pack of the run."""
    slots: int
    """Environments stepped together."""

    @property
    def what(self) -> str:
        """What is done."""
        return "quality of episodes"

    def __call__(self) -> Result:
        """Collect without noise, measure and write; sources without a success are left out.

        Raises:
            OutputError: the run's folder or that of the results cannot be written.
        """
        began = time.monotonic()
        path = self.out / f"{self.task}.json"
        found = TaskQuality(self.seed, _measured(self._sources()), _measured(self._without_noise()))
        write_sealed(path, {"task": self.task, **asdict(found)})
        return {"path": str(path), "seconds": {"measure": time.monotonic() - began}}

    def describe(self, result: Result) -> str:
        """Return how many sources there are."""
        found = read_quality(Path(result["path"]))
        return f"{len(found.sources)} sources, {len(found.without_noise)} without noise"

    def _sources(self) -> dict[str, Path]:
        from generator.run_folder import RunFolder
        from simulation.tasks import get_task

        task = get_task(self.task)
        return {
            PEOPLE: RunFolder(self.people).demonstrations(task),
            SCRIPTED: RunFolder(self.root).demonstrations(task),
        } | {
            v.name: v.folder(self.root).trajectories(task, v.recipe, self.seed)
            for v in self.variants
        }

    def _without_noise(self) -> dict[str, Path]:
        """Collect with the final policies of what is trained; return the files, some not there."""
        from generator.config import NoiseConfig
        from generator.run_folder import collect_episodes
        from simulation.environment import BatchEnvironment
        from simulation.tasks import get_task

        task, paths = get_task(self.task), {}
        with BatchEnvironment(task, self.slots, self.assets) as environments:
            for variant in self.variants:
                run = variant.folder(self.root)
                if run.trajectories(task, variant.recipe, self.seed).exists():
                    path = variant.folder(self.root / "without_noise").trajectories(
                        task, variant.recipe, self.seed
                    )
                    collect_episodes(
                        run, variant.recipe, self.seed, environments, self.assets, self.collect,
                        NoiseConfig(0.0, 0.0), path,
                    )  # fmt: skip
                    paths[variant.name] = path
        return paths


def _measured(sources: Mapping[str, Path]) -> dict[str, Quality]:
    """Return what the episodes of each source are like, of those that have a success."""
    from experiments.study_items import read_trajectories

    return {
        name: quality
        for name, path in sources.items()
        if path.exists() and (quality := measure(read_trajectories(path)))
    }


def read_quality(path: Path) -> TaskQuality:
    """Read what a task's episodes are like.

    Raises:
        QualityError: the file is missing, damaged or of another format.
    """
    content: Mapping[str, Any] = read_sealed(path, "episodes' quality", QualityError, _REMEDY)
    try:
        parts = (content["sources"], content.get("without_noise", {}))
        measured = ({n: Quality(**f) for n, f in part.items()} for part in parts)
        return TaskQuality(content.get("seed", 0), *measured)
    except (KeyError, TypeError, AttributeError) as error:
        raise QualityError(f"{path} is of another format ({error}): {_REMEDY}") from error


def read_qualities(folder: Path) -> dict[str, TaskQuality]:
    """Return task -> what its episodes are like, of all files below a folder.

    Raises:
        QualityError: one is damaged.
    """
    paths = sorted(folder.rglob("*.json"))
    return {str(p.relative_to(folder).with_suffix("")): read_quality(p) for p in paths}
