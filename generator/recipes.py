"""Recipes: short lists of stages, each resumable, from demonstrations to a final policy."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from common.errors import DemonstrationError, DlrError
from common.intervals import wilson_interval
from common.json_files import write_sealed
from common.reproducible import reproducible
from demonstrations.demonstration import Demonstration
from generator.checkpoints import load_policy, versions
from generator.config import GeneratorConfig
from generator.discover import PatternEncoder, discover, mutual_information
from generator.learn import learn
from generator.policies.gaussian import GaussianPolicy
from generator.reinforce import reinforce
from generator.rollout import Environments, evaluate, held_out_specs
from generator.run_folder import RECORD, read_record
from simulation.starts import FINAL_EVALUATION_SEED
from simulation.tasks import Task


class RecipeError(DlrError, ValueError):
    """A recipe is unknown, or its folder holds results of other settings."""


@dataclass
class Run:
    """A recipe at work: what its stages share."""

    task: Task
    environments: Environments
    demonstrations: Sequence[Demonstration]
    config: GeneratorConfig
    out_dir: Path
    encoder: PatternEncoder | None = None
    """Set by `discover`; its absence means that the policy has no pattern."""
    policy: GaussianPolicy | None = None
    """Set by `learn`, replaced by `reinforce`."""

    @property
    def patterns(self) -> int:
        """K, or 0 without discovery."""
        return self.encoder.patterns if self.encoder else 0

    @property
    def horizon(self) -> int:
        """Control steps of a training episode at most."""
        lengths = [len(d.actions) for d in self.demonstrations]
        longest = float(np.quantile(lengths, 0.95))
        return min(self.task.horizon, math.ceil(longest * self.config.horizon_factor))


def _discover(run: Run, folder: Path) -> dict[str, Any]:
    trajectories = [d.proprio for d in run.demonstrations]
    with reproducible():
        encoder = discover(trajectories, run.config.discover)
    report = dict(encoder.report)
    known = [d for d in run.demonstrations if d.way]
    if known:
        labels = [encoder.classify_trajectory(d.proprio) for d in known]
        report["mutual_information_with_ways"] = mutual_information(labels, [d.way for d in known])
    encoder.save(folder / "encoder.safetensors")
    return report


def _learn(run: Run, folder: Path) -> dict[str, Any]:
    encoder = run.encoder
    labels = [encoder.label(d.proprio) for d in run.demonstrations] if encoder else None
    policy, report = learn(run.demonstrations, labels, run.config.learn, run.patterns, folder)
    return {**report, "held_out_success": _held_out_success(run, policy)}


def _reinforce(run: Run, folder: Path) -> dict[str, Any]:
    if run.policy is None:
        raise RecipeError("`reinforce` needs a cloned policy: put `learn` before it")
    policy, report = reinforce(
        run.policy, run.environments, run.encoder, run.config.reinforce, run.horizon, folder
    )
    return {**report, "held_out_success": _held_out_success(run, policy)}


def _held_out_success(run: Run, policy: GaussianPolicy) -> list[dict[str, float]]:
    """Return success per pattern with its Wilson interval, on episodes that selected nothing."""
    n, config = run.config.evaluation_episodes, run.config.reinforce
    specs = held_out_specs(range(n), FINAL_EVALUATION_SEED, run.patterns, config.fresh_share)
    with reproducible():
        success = evaluate(
            policy,
            run.environments,
            specs,
            run.task.horizon,
            motion_noise=config.evaluation_noise,
        )
    rows = []
    for rate in success.reshape(n, -1).T:
        low, high = wilson_interval(int(rate.sum()), n)
        rows.append({"success": float(rate.mean()), "low": low, "high": high, "episodes": n})
    return rows


Stage = Callable[[Run, Path], dict[str, Any]]
STAGES: dict[str, Stage] = {"discover": _discover, "learn": _learn, "reinforce": _reinforce}
"""What a stage's name in a recipe stands for."""
RECIPES: dict[str, tuple[str, ...]] = {
    "dlr": ("discover", "learn", "reinforce"),
    "o2o_rl": ("learn", "reinforce"),
}
"""Recipe -> its stages, in order."""


@dataclass(frozen=True)
class RecipeResult:
    """A finished recipe."""

    policy: GaussianPolicy
    encoder: PatternEncoder | None
    reports: dict[str, dict[str, Any]]
    """Stage -> what it reported."""


def run_recipe(
    recipe: str,
    task: Task,
    environments: Environments,
    demonstrations: Sequence[Demonstration],
    config: GeneratorConfig,
    out_dir: Path,
) -> RecipeResult:
    """Run a recipe's stages, skipping those whose record is in `out_dir` already.

    Each stage has a folder with its result and `record.json`: report, settings, seeds and
    versions. A stage without a record continues from its own checkpoint, if it has one.

    Raises:
        RecipeError: unknown recipe, or a record was made with other settings or demonstrations.
        DemonstrationError: there are no demonstrations.
    """
    if recipe not in RECIPES:
        raise RecipeError(f"unknown recipe {recipe!r}: choose one of {', '.join(sorted(RECIPES))}")
    if not demonstrations:
        raise DemonstrationError(f"there are no demonstrations of {task.key}")
    run = Run(task, environments, demonstrations, config, out_dir)
    settings = _settings(recipe, run)
    reports = {}
    for stage in RECIPES[recipe]:
        folder = out_dir / stage
        record = folder / RECORD
        if not record.exists():
            folder.mkdir(parents=True, exist_ok=True)
            report = STAGES[stage](run, folder)
            write_sealed(record, {"settings": settings, "versions": versions(), "report": report})
        content = read_record(out_dir, stage)
        if content["settings"] != settings:
            raise RecipeError(
                f"{folder} holds a result of other settings or demonstrations: "
                "choose another output folder, or delete it"
            )
        reports[stage] = content["report"]
        if stage == "discover":
            run.encoder = PatternEncoder.load(folder / "encoder.safetensors")
        else:
            run.policy, _ = load_policy(folder / "policy.safetensors")
    if run.policy is None:
        raise RecipeError(f"recipe {recipe!r} trains no policy")
    return RecipeResult(run.policy, run.encoder, reports)


def _settings(recipe: str, run: Run) -> dict[str, Any]:
    """Return what a stage's result depends on, as JSON gives it back."""
    settings = {
        "recipe": recipe,
        "task": run.task.key,
        "demonstrations": _content_hash(run.demonstrations),
        "config": asdict(run.config),
    }
    return json.loads(json.dumps(settings))


def _content_hash(demonstrations: Sequence[Demonstration]) -> str:
    """Return the sha256 of all that stages see; observations tell asset packs apart too."""
    digest = hashlib.sha256()
    for d in demonstrations:
        for array in (d.observations, d.proprio, d.actions):
            digest.update(f"{d.way}{array.shape}{array.dtype}".encode())
            digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()
