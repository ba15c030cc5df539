"""Validation in the simulator: success after epochs, the best of them, and when to stop."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common.errors import one_line
from common.intervals import wilson_interval
from common.json_files import build, read_sealed, write_sealed
from vla_adapters.training.checkpoints import TrainingError
from vla_adapters.training.config import ModelName, ValidationConfig

RESULTS = "validation.json"
"""File of a training's folder with all evaluations, and the best epoch."""
PROTOCOLS: dict[ModelName, str] = {"pi0": "openpi", "openvla": "openvla"}
"""The protocol that each model is evaluated under by default."""
_KINDS = {"pi0": "lerobot", "openvla": "openvla"}


@dataclass(frozen=True)
class Evaluation:
    """Success of one epoch's policy."""

    epoch: int
    """Epochs trained."""
    successes: int
    """Episodes that succeeded."""
    episodes: int
    """Episodes that ended without an error."""
    low: float
    """Lower bound of Wilson's 95% interval."""
    high: float
    """Upper bound."""

    @property
    def rate(self) -> float:
        """Share of the episodes that succeeded."""
        return self.successes / max(1, self.episodes)


def evaluate_policy(
    folder: Path, model: ModelName, epoch: int, config: ValidationConfig, out: Path
) -> Evaluation:
    """Run an epoch's policy under the validation's protocol, in this process.

    Args:
        folder: the policy's checkpoint.
        model: what it is.
        epoch: epochs trained.
        config: tasks and episodes.
        out: folder of the results, new or begun by this very evaluation.

    Raises:
        SettingError: no task is named, or there is no such protocol.
        PolicyError: the checkpoint cannot be run.
    """
    from eval_harness.evaluation import evaluate
    from eval_harness.plan import choose_tasks
    from eval_harness.policies import load_policy
    from eval_harness.protocols import get_protocol
    from eval_harness.results import summarise

    protocol = get_protocol(config.validation_protocol or PROTOCOLS[model])
    tasks = choose_tasks(config.validation_tasks, config.validation_suites)
    seed = config.validation_seed
    policy = load_policy(f"{_KINDS[model]}:{folder}", protocol, seed)
    try:
        results = evaluate(policy, protocol, tasks, out, config.validation_episodes, seed=seed)
    finally:
        policy.close()
    found = summarise(results)["all"]
    successes, ended = found["successes"], found["done"]
    return Evaluation(epoch, successes, ended, *wilson_interval(successes, ended))


def read_evaluations(out: Path) -> list[Evaluation]:
    """Return the evaluations that a training's folder knows of, by epoch.

    Raises:
        TrainingError: the file that holds them is damaged.
    """
    path = out / RESULTS
    if not path.exists():
        return []
    remedy = "delete it, and the epochs are evaluated again"
    content = read_sealed(path, "a list of evaluations", TrainingError, remedy)
    try:
        return [build(Evaluation, entry) for entry in content["evaluations"]]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise TrainingError(f"{path} is damaged ({one_line(error)}): {remedy}") from error


def write_evaluations(out: Path, evaluations: list[Evaluation]) -> None:
    """Keep all evaluations and mark the best."""
    best = find_best(evaluations)
    content: dict[str, Any] = {
        "best": None if best is None else f"epoch_{best.epoch:03d}",
        "evaluations": [vars(evaluation) for evaluation in evaluations],
    }
    write_sealed(out / RESULTS, content)


def find_best(evaluations: list[Evaluation]) -> Evaluation | None:
    """Return the evaluation with the greatest success, of equals the first."""
    return max(evaluations, key=lambda e: (e.rate, -e.epoch), default=None)


def should_stop(evaluations: list[Evaluation], patience: int) -> bool:
    """Return whether the last `patience` evaluations brought nothing better."""
    best = find_best(evaluations)
    return best is not None and len(evaluations) - evaluations.index(best) > patience
