"""The stages of every recipe: each is keyed by what it reads, and keeps its result in a folder."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from common.errors import CheckpointError, UsageError
from common.files import ensure_writable
from common.json_files import read_sealed, write_sealed
from common.locks import lock_file
from demonstrations.demonstration import Demonstration
from generator.config import GeneratorConfig
from simulation.starts import FINAL_EVALUATION_SEED
from simulation.tasks import Task

if TYPE_CHECKING:
    from generator.discover import PatternEncoder
    from generator.policies.policy import Policy
    from generator.reward import Reward
    from generator.rollout import Environments


@dataclass(frozen=True)
class Context:
    """What the stages of a run share."""

    task: Task
    environments: Environments
    demonstrations: Sequence[Demonstration]
    config: GeneratorConfig
    results: dict[str, Any] = field(default_factory=dict)
    """Name of a finished stage -> what its `load` returned."""

    @property
    def encoder(self) -> PatternEncoder | None:
        """The frozen q(z|s); None in a recipe without discovery."""
        return self.results.get("discover")

    @property
    def horizon(self) -> int:
        """Control steps of a training episode at most."""
        lengths = [len(d.actions) for d in self.demonstrations]
        longest = float(np.quantile(lengths, 0.95))
        return min(self.task.horizon, math.ceil(longest * self.config.horizon_factor))


class Stage(Protocol):
    """One step of a recipe. Its fields are options of the stage, and part of its key."""

    @property
    def name(self) -> str:
        """Name of the stage, its folder and its result."""

    @property
    def file(self) -> str:
        """Name of the file that holds the result."""

    @property
    def reads(self) -> tuple[str, ...]:
        """Names of the earlier stages whose results it reads."""

    def settings(self, config: GeneratorConfig) -> dict[str, Any]:
        """Return what it reads of the settings."""

    def run(self, context: Context, folder: Path) -> dict[str, Any]:
        """Write the result into the folder, going on from a killed run; return a report."""

    def load(self, folder: Path) -> Any:
        """Return the result."""


@dataclass(frozen=True)
class Discover:
    """Stage 1: the pattern encoder q(z|s)."""

    name: str = "discover"
    file: str = "encoder.safetensors"
    reads: tuple[str, ...] = ()

    def settings(self, config: GeneratorConfig) -> dict[str, Any]:
        """Return what it reads of the settings."""
        return {"discover": asdict(config.discover)}

    def run(self, context: Context, folder: Path) -> dict[str, Any]:
        """Fit the encoder; report its agreement with known ways."""
        from common.reproducible import reproducible
        from generator.discover import discover

        config, demonstrations = context.config, context.demonstrations
        ways = [d.way for d in demonstrations]
        with reproducible():
            encoder = discover(
                [d.proprio for d in demonstrations], config.discover, config.seed, ways
            )
        encoder.save(folder / self.file)
        return encoder.report

    def load(self, folder: Path) -> PatternEncoder:
        """Return the encoder."""
        from generator.discover import PatternEncoder

        return PatternEncoder.load(folder / self.file)


@dataclass(frozen=True)
class Learn:
    """Stage 2: behaviour cloning, conditioned on the patterns where `reads` names `discover`."""

    name: str = "learn"
    file: str = "policy.safetensors"
    reads: tuple[str, ...] = ()

    def settings(self, config: GeneratorConfig) -> dict[str, Any]:
        """Return what it reads of the settings."""
        return {"learn": asdict(config.learn), "evaluation": asdict(config.evaluation)}

    def run(self, context: Context, folder: Path) -> dict[str, Any]:
        """Clone; report held-out success."""
        from generator.learn import learn

        encoder, config = context.encoder if self.reads else None, context.config
        labels = [encoder.label(d.proprio) for d in context.demonstrations] if encoder else None
        patterns = encoder.patterns if encoder else 0
        policy, report = learn(
            context.demonstrations, labels, config.learn, patterns, config.seed, folder
        )
        return {**report, "held_out_success": held_out_success(context, policy)}

    def load(self, folder: Path) -> Policy:
        """Return the policy."""
        return _load_policy(folder / self.file)


def sparse_success(context: Context) -> Reward:
    """Return the sparse success reward (section 4.4)."""
    from generator.reward import SparseSuccess

    return SparseSuccess()


@dataclass(frozen=True)
class Reinforce:
    """Stage 3: PPO on a reward, close to the cloned policy."""

    name: str = "reinforce"
    file: str = "policy.safetensors"
    reads: tuple[str, ...] = ("learn",)
    reward: Callable[[Context], Reward] = sparse_success
    """Maker of what PPO maximises."""

    def settings(self, config: GeneratorConfig) -> dict[str, Any]:
        """Return what it reads of the settings."""
        return {
            "reinforce": asdict(config.reinforce),
            "evaluation": asdict(config.evaluation),
            "horizon_factor": config.horizon_factor,
        }

    def run(self, context: Context, folder: Path) -> dict[str, Any]:
        """Fine-tune; report held-out success."""
        from generator.reinforce import Finetuning, reinforce

        config = context.config
        policy, report = reinforce(
            context.results["learn"],
            context.environments,
            context.encoder,
            Finetuning(
                config.reinforce,
                config.evaluation,
                self.reward(context),
                context.horizon,
                config.seed,
            ),
            folder,
        )
        return {**report, "held_out_success": held_out_success(context, policy)}

    def load(self, folder: Path) -> Policy:
        """Return the policy."""
        return _load_policy(folder / self.file)


def _load_policy(path: Path) -> Policy:
    from generator.checkpoints import load_policy

    return load_policy(path)[0]


def held_out_success(context: Context, policy: Policy) -> list[dict[str, float]]:
    """Return success per pattern with its Wilson interval, on episodes that selected nothing."""
    from common.intervals import wilson_interval
    from common.reproducible import reproducible
    from generator.policies.policy import Exploration
    from generator.rollout import evaluate, held_out_specs

    evaluation = context.config.evaluation
    n = evaluation.episodes
    specs = held_out_specs(range(n), FINAL_EVALUATION_SEED, policy.patterns, evaluation.fresh_share)
    exploration = Exploration(evaluation.motion_noise)
    with reproducible():
        success = evaluate(
            policy, context.environments, specs, context.task.horizon, exploration=exploration
        )
    rows = []
    for rate in success.reshape(n, -1).T:
        low, high = wilson_interval(int(rate.sum()), n)
        rows.append({"success": float(rate.mean()), "low": low, "high": high, "episodes": n})
    return rows


def run_stage(
    stage: Stage, context: Context, inputs: Mapping[str, str], parent: Path
) -> tuple[Path, dict[str, Any]]:
    """Run a stage unless its result is there, put it into `context.results`.

    The folder's name ends with the key: a digest of the stage with its options, its settings, the
    task, the seed and `inputs`. So what a stage does not read does not touch it, other settings
    are another folder, and recipes share stages. `record.json` holds report, settings, inputs,
    versions, and the sha256 of the result.

    Args:
        stage: the stage.
        context: the run.
        inputs: name -> digest of everything else that it reads.
        parent: where the folders of stages lie.

    Returns:
        its folder and its record.

    Raises:
        BusyError: another process is running this very stage there.
        OutputError: the folder cannot be written.
    """
    from generator.checkpoints import versions

    read = {
        "stage": {name: _text(value) for name, value in vars(stage).items()},
        "task": context.task.key,
        "seed": context.config.seed,
        "settings": stage.settings(context.config),
        "inputs": dict(inputs),
    }
    key = hashlib.sha256(json.dumps(read, sort_keys=True).encode()).hexdigest()
    folder = parent / f"{stage.name}-{key[:12]}"
    with lock_file(folder):
        if not (folder / RECORD).exists():
            report = stage.run(context, ensure_writable(folder))
            content = {**read, "versions": versions(), "report": report}
            write_sealed(folder / RECORD, {**content, "result": _sha256(folder / stage.file)})
    record = read_record(folder)
    if record["result"] != _sha256(folder / stage.file):
        raise CheckpointError(
            f"{folder / stage.file} is not what its record says: delete {folder}, and `dlr train` "
            "runs the stage again"
        )
    context.results[stage.name] = stage.load(folder)
    return folder, record


def read_record(folder: Path) -> dict[str, Any]:
    """Return the record (settings, inputs, versions, report, result) of a finished stage.

    Raises:
        UsageError: the stage is not finished.
        CheckpointError: the record is damaged.
    """
    path = folder / RECORD
    if not path.exists():
        raise UsageError(f"{path} is not there: finish `dlr train` for this recipe first")
    remedy = f"delete {folder.resolve()}, and `dlr train` runs the stage again"
    content = read_sealed(path, "the record of a stage", CheckpointError, remedy)
    if lacking := {"settings", "inputs", "versions", "report", "result"} - content.keys():
        raise CheckpointError(f"{path} lacks {', '.join(sorted(lacking))}: {remedy}")
    return content


def _sha256(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise CheckpointError(
            f"cannot read {path} ({error.strerror}): delete {path.parent}, and `dlr train` runs "
            "the stage again"
        ) from error


RECORD = "record.json"
"""Name of a finished stage's record."""


def _text(value: Any) -> Any:
    return value.__name__ if callable(value) else value
