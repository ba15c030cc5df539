"""What a training is told: data, model, optimiser, checkpoints; and the published presets."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from common.errors import SettingError
from common.settings.ranges import COUNT, NOT_NEGATIVE, POSITIVE, Ranges, check_ranges

ModelName = Literal["pi0", "openvla"]
_FREE = (
    "out",
    "data",
    "workers",
    "checkpoint_every",
    "keep_every",
    "keep_epochs",
    "log_every",
)
"""Fields that change no weight, so that a training may go on with others."""
RANGES: Ranges = {
    COUNT: (
        "steps", "epochs", "episodes", "batch", "accumulate", "chunk", "lora_rank", "lora_alpha",
        "checkpoint_every", "log_every",
    ),
    NOT_NEGATIVE: ("weight_decay", "seed", "workers", "keep_every", "keep_epochs"),
    POSITIVE: ("learning_rate",),
}  # fmt: skip
"""The range of each of the training's own numbers that is given."""
_VALIDATED: Ranges = {
    COUNT: ("patience", "validation_episodes"),
    NOT_NEGATIVE: ("evaluate_every_epochs", "validation_seed"),
}


@dataclass(frozen=True)
class Optimisation:
    """AdamW, its learning rate over the steps, and the clipping of gradients."""

    learning_rate: float
    """Greatest learning rate."""
    schedule: Literal["cosine", "constant"] = "constant"
    """Whether it falls along half a cosine after the warm-up, or stays."""
    warm_up: int = 0
    """Steps in which it rises. Both it and `decay` shrink with a shorter training."""
    decay: int = 0
    """Steps after which a cosine has fallen; 0 for all of the training's."""
    final_learning_rate: float = 0.0
    """Learning rate at a cosine's end."""
    betas: tuple[float, float] = (0.9, 0.999)
    """Decay of AdamW's moments."""
    epsilon: float = 1e-8
    """Added to the root of its second moment."""
    weight_decay: float = 0.01
    """Share of a weight that a step takes off, times the learning rate."""
    clip: float | None = None
    """Greatest norm of the gradient; longer ones are shortened."""


_PI0 = Optimisation(2.5e-5, "cosine", 1000, 30_000, 2.5e-6, (0.9, 0.95), clip=1.0)
PRESETS: dict[tuple[str, str], Optimisation] = {
    ("pi0", "full"): _PI0,
    ("pi0", "expert_only"): _PI0,
    ("pi0", "lora"): _PI0,
    ("openvla", "full"): Optimisation(2e-5),
    ("openvla", "lora"): Optimisation(5e-4),
}
"""Model and what of it is trained -> the published settings: LeRobot's `PI0Config`, and OpenVLA's
`vla-scripts`."""


def needs_autocast(precision: str, train: str) -> bool:
    """Return whether something that is float32 is to be computed in bfloat16.

    Args:
        precision: as `TrainConfig.precision`.
        train: as `TrainConfig.train`; low-rank adapters are float32 beside bfloat16 weights.
    """
    return precision == "mixed" or (precision == "bfloat16" and train == "lora")


@dataclass(frozen=True)
class ValidationConfig:
    """Rollouts in the simulator after epochs, which choose the best one and end the training."""

    evaluate_every_epochs: int = 0
    """Epochs between evaluations; 0 for none."""
    validation_suites: tuple[str, ...] = ()
    """Suites of the validation's tasks, such as libero_spatial."""
    validation_tasks: tuple[str, ...] = ()
    """Further tasks of it, as `suite/name` or their names alone."""
    validation_assets: Path | None = None
    """Folder of assets; by default the pack that most of the data was made with."""
    validation_episodes: int = 10
    """Episodes of each task."""
    validation_seed: int = 1
    """Draws fixtures and noise; those of seed 0 are the test's. The official start states have no
    seed: the first ones, from which most protocols begin, are the test's as well, so that the best
    epoch is a little favoured there."""
    patience: int = 1
    """Evaluations without a better one after which the training ends."""


@dataclass(frozen=True)
class TrainConfig:
    """A whole training."""

    data: tuple[str, ...]
    """RLDS datasets: folders of one version each, or gs:// addresses."""
    out: Path
    """Folder of checkpoints and metrics; the same command goes on where it was killed."""
    model: ModelName = "pi0"
    """pi0 or openvla."""
    init: str | None = None
    """Checkpoint to begin with, a folder or hub id such as lerobot/pi0_base; without one, a small
    variant with random weights is trained."""
    tokenizer: str | None = None
    """Folder or hub id of a tokenizer; by default the checkpoint's own or the published one."""
    steps: int | None = None
    """Steps of the optimiser."""
    epochs: int | None = None
    """Passes over the data, instead of steps."""
    episodes: int | None = None
    """Episodes to use, the same number of each source that is to be compared; by default all."""
    where: tuple[str, ...] = ()
    """Conditions on the episodes' metadata, such as pattern=1."""
    batch: int = 32
    """Samples that a process computes at a time."""
    accumulate: int = 1
    """Batches of a step."""
    protocol: str = ""
    """Whose way of evaluating: training shows pictures as it does, and validation follows it; by
    default openpi's for pi0, openvla's for OpenVLA."""
    chunk: int = 10
    """Actions that pi0 predicts; OpenVLA predicts one."""
    train: Literal["full", "expert_only", "lora"] = "full"
    """All weights, pi0's action expert alone, or low-rank adapters, merged when saved."""
    lora_rank: int = 32
    """Rank of the adapters."""
    lora_alpha: int = 16
    """Their scale: their product is multiplied by alpha / rank."""
    precision: Literal["float32", "mixed", "bfloat16"] = "float32"
    """Of weights and arithmetic; mixed keeps float32 weights and computes in bfloat16. Low-rank
    adapters are float32 in any case; small steps of other weights vanish in bfloat16."""
    gradient_checkpointing: bool = False
    """Compute activations a second time instead of keeping them."""
    augment: bool | None = None
    """Change pictures at random; by default as published: OpenVLA does, LeRobot's pi0 does not."""
    learning_rate: float | None = None
    """Instead of the preset's."""
    weight_decay: float | None = None
    """Instead of the preset's."""
    schedule: Literal["cosine", "constant"] | None = None
    """Instead of the preset's."""
    seed: int = 0
    """Of weights, order, augmentation and noise."""
    workers: int = 2
    """Processes that prepare batches."""
    checkpoint_every: int = 1000
    """Steps between the states that a killed training goes on from."""
    keep_every: int = 0
    """Steps between policies that are kept, beside those after each epoch; 0 for none."""
    keep_epochs: int = 3
    """Epochs after which the policy is kept."""
    log_every: int = 10
    """Steps between lines of metrics."""
    validation: ValidationConfig = ValidationConfig()
    """Rollouts after epochs."""

    def __post_init__(self) -> None:
        """Check what belongs together.

        Raises:
            SettingError: both steps and epochs are given, a number is out of range, the model
                cannot be trained that way, or there is no task to evaluate on.
        """
        if self.steps is not None and self.epochs is not None:
            raise SettingError("give either --steps or --epochs, not both")
        check_ranges(self, RANGES)
        if (self.model, self.train) not in PRESETS:
            raise SettingError(f"{self.model} has no action expert: train it full or lora")
        if self.tokenizer and (self.model != "pi0" or self.init is None):
            raise SettingError("--tokenizer is of pi0 with --init; elsewhere nothing reads it")
        wanted = self.validation
        check_ranges(wanted, _VALIDATED)
        tasks = wanted.validation_suites or wanted.validation_tasks
        if wanted.evaluate_every_epochs and not tasks:
            raise SettingError("say on what to evaluate: --validation-suites or --validation-tasks")

    @property
    def optimisation(self) -> Optimisation:
        """The preset, with what was given instead."""
        names = ("learning_rate", "weight_decay", "schedule")
        given = {n: getattr(self, n) for n in names if getattr(self, n) is not None}
        preset = PRESETS[self.model, self.train]
        if "learning_rate" in given and preset.learning_rate:
            share = given["learning_rate"] / preset.learning_rate
            given["final_learning_rate"] = preset.final_learning_rate * share
        return dataclasses.replace(preset, **given)

    def decisive(self) -> dict[str, Any]:
        """Return the fields that decide the weights, as JSON can hold them.

        Not the folders of data and assets, which may move; digests stand for them.
        """
        content = dataclasses.asdict(self)
        for name in _FREE:
            del content[name]
        del content["validation"]["validation_assets"]
        content["where"] = list(self.where)
        content["validation"] = {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in content["validation"].items()
        }
        return content
