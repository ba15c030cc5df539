"""`python -m experiments.coarse_physics`: what do fewer, longer simulator steps do to success?

Policies of a run act from the same held-out starts with the same noise under exact physics and
under coarser ones. `results/coarse_physics/SUITE/TASK.json` has, of each, success, its paired
difference to exact physics with its interval, and environment steps a CPU second.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from common.machine import describe_machine
from experiments.command import run_command
from experiments.many import attempt_tasks
from experiments.study import TASKS
from simulation.assets.resolve import AssetPack, resolve_assets

if TYPE_CHECKING:
    from generator.policies.policy import Policy
    from generator.rollout import Environments, EpisodeSpec
    from simulation.tasks import Task

SUBSTEPS = (25, 12, 10)
"""Simulator steps of a control step: exact, and two coarser ones."""


@dataclass(frozen=True)
class CoarseItem:
    """A task's comparison, as one work item."""

    task: str
    """The task's key."""
    run: Path
    """Folder of the run that has the policies."""
    recipe: str
    """Recipe of the policies."""
    seed: int
    """Of their training."""
    starts: int
    """Held-out starts, each once with every pattern."""
    assets: AssetPack
    """Asset pack."""
    out: Path
    """Folder of the result."""


def compare(item: CoarseItem) -> str:
    """Run the clone and the final policy under each physics, write the result; return a line."""
    from common.json_files import write_sealed
    from generator.checkpoints import load_policy
    from generator.config import NoiseConfig
    from generator.recipes import get_recipe
    from generator.run_folder import LEARN, SLOTS, RunFolder
    from generator.stages import read_record
    from simulation.environment import BatchEnvironment
    from simulation.tasks import get_task

    task = get_task(item.task)
    folder = RunFolder(item.run).policies(task, item.recipe, item.seed)
    with BatchEnvironment(task, SLOTS, item.assets, num_threads=1) as environments:
        stages = {}
        for stage in (LEARN, get_recipe(item.recipe).stages[-1].name):
            read_record(folder / stage)  # refuses a stage that is not finished
            policy, _ = load_policy(folder / stage / "policy.safetensors")
            stages[stage] = _physics(policy, task, environments, item.starts, NoiseConfig())
    outcome = {
        "task": task.key,
        "pack": item.assets.name,
        "recipe": item.recipe,
        "seed": item.seed,
        "stages": stages,
        "machine": describe_machine(),
    }
    write_sealed(item.out / f"{task.key}.json", outcome)
    return "; ".join(_line(name, rows) for name, rows in stages.items())


def _physics(
    policy: Policy, task: Task, environments: Environments, starts: int, noise: Any
) -> dict[str, dict[str, Any]]:
    """Return, for each number of simulator steps, success, its difference to exact, and speed."""
    from generator.rollout import held_out_specs
    from simulation.starts import EVALUATION_SEED

    specs = held_out_specs(range(starts), EVALUATION_SEED, policy.patterns, 0.5)
    rows: dict[str, dict[str, Any]] = {}
    exact: np.ndarray | None = None
    for substeps in SUBSTEPS:
        success, row = _act(policy, environments, specs, task.horizon, substeps, noise)
        exact = success if exact is None else exact
        rows[str(substeps)] = row | _difference(success, exact)
    return rows


def _act(
    policy: Policy,
    environments: Environments,
    specs: Sequence[EpisodeSpec],
    horizon: int,
    substeps: int,
    noise: Any,
) -> tuple[np.ndarray, dict[str, Any]]:
    """Return each episode's success, and what it was like."""
    from generator.policies.policy import Exploration
    from generator.rollout import rollout

    began = time.process_time()
    with environments.coarse(substeps):
        episodes = rollout(
            policy, environments, specs, horizon, exploration=Exploration(noise.std, noise.memory)
        )
    seconds = time.process_time() - began
    success = np.array([episode.success for episode in episodes])
    steps = sum(len(episode) for episode in episodes)
    return success, {
        "success": float(success.mean()),
        "episodes": len(episodes),
        "length": float(np.mean([len(e) for e in episodes if e.success] or [horizon])),
        "steps_per_cpu_second": steps / seconds,
    }


def _difference(success: np.ndarray, exact: np.ndarray) -> dict[str, float]:
    """Return the paired difference to exact physics with its 95% interval."""
    from eval_harness.statistics import paired_bootstrap

    found = paired_bootstrap([exact], [success])
    return {"difference": found.value, "low": found.low, "high": found.high}


def _line(stage: str, rows: Mapping[str, Mapping[str, Any]]) -> str:
    exact = rows[str(SUBSTEPS[0])]["steps_per_cpu_second"]
    parts = [
        f"{substeps} steps {row['success']:.0%} ({row['steps_per_cpu_second'] / exact:.2f}x)"
        for substeps, row in rows.items()
    ]
    return f"{stage} {', '.join(parts)}"


def coarse_physics(
    tasks: tuple[str, ...] = TASKS,
    run: Path = Path("runs/study"),
    recipe: str = "dlr",
    seed: int = 0,
    starts: int = 50,
    assets: Path | None = None,
    out: Path = Path("results/coarse_physics"),
    workers: int | None = None,
) -> None:
    """Compare policies of a run under exact and coarse physics.

    Args:
        tasks: the tasks, as `suite/name`.
        run: folder of the run that has trained policies of them.
        recipe: recipe of the policies.
        seed: of their training.
        starts: held-out starts, each once with every pattern.
        assets: `libero`, `embedded` or a folder; by default the first that `dlr assets` lists.
        out: folder of the results.
        workers: processes; by default one for each core.

    Raises:
        DlrError: tasks failed; the others' results are written.
    """
    pack = resolve_assets(assets)
    items = [CoarseItem(task, run, recipe, seed, starts, pack, out) for task in tasks]
    attempt_tasks(compare, items, workers, "comparing physics")


if __name__ == "__main__":
    run_command(coarse_physics, "experiments.coarse_physics")
