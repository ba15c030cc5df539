"""The range of every number among the settings, looked at before anything is made of them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from operator import attrgetter
from typing import Any, Literal

from common.errors import SettingError
from generator.config import PICTURE_SIZES, SCORED_STDS, CollectConfig, GeneratorConfig, NoiseConfig
from simulation.starts import TRAINING_SEEDS


@dataclass(frozen=True)
class Range:
    """The numbers from one to another."""

    low: float
    """The least, unless it is left out."""
    high: float = math.inf
    """The largest, unless it is left out; infinity is always."""
    without: Literal["", "low", "high"] = ""
    """Which end is left out."""

    def __contains__(self, value: float) -> bool:
        """Return whether a number lies in it; NaN and infinity never do."""
        inner = self.low <= value <= self.high and math.isfinite(value)
        return inner and value != {"low": self.low, "high": self.high}.get(self.without)

    def __str__(self) -> str:
        """Return what a number in it does, as a message says it."""
        if math.isinf(self.high):
            return f"is more than {self.low}" if self.without else f"is {self.low} or more"
        if not self.without:
            return f"lies in {self.low} to {self.high}"
        left, right = "(" if self.without == "low" else "[", ")" if self.without == "high" else "]"
        return f"lies in {left}{self.low}, {self.high}{right}"

    def check(self, option: str, value: float, where: str = "") -> None:
        """Look at the number that an option was given.

        Args:
            option: as the command line spells it.
            value: the number.
            where: what the range is for, if not for all, such as `in a recipe with PPO`.

        Raises:
            SettingError: it does not lie in the range.
        """
        if value not in self:
            raise SettingError(f"{option} {self}{where and f' {where}'}, not {value}")


SUBSTEPS = Range(10, 25)
"""Simulator steps in a control step, as `Environment.set_substeps` takes them."""
_COUNT, _POSITIVE, _NOT_NEGATIVE = Range(1), Range(0, without="low"), Range(0)
_SHARE, _LESS_THAN_ALL, _DISCOUNT = Range(0, 1), Range(0, 1, "high"), Range(0, 1, "low")
_SEEDS = Range(0, TRAINING_SEEDS - 1)

Names = tuple[str, ...]
RANGES: Mapping[str, Mapping[Range, Names]] = {
    "": {_SEEDS: ("seed",), _POSITIVE: ("horizon_factor",)},
    "discover": {
        _COUNT: (
            "patterns", "most_patterns", "latent_dim", "hidden", "steps", "batch_size", "restarts",
        ),
        _POSITIVE: ("learning_rate",),
        _NOT_NEGATIVE: ("kl_coefficient", "information_coefficient", "input_noise"),
    },
    "observe": {
        Range(*PICTURE_SIZES): ("size",),
        _COUNT: ("features", "steps", "batch_size"),
        _POSITIVE: ("learning_rate", "memory_gib"),
        _NOT_NEGATIVE: ("shift",),
    },
    "learn": {
        _COUNT: (
            "hidden", "steps", "batch_size", "validate_every", "patience", "checkpoint_every",
            "chunk",
        ),
        _POSITIVE: ("learning_rate",),
        _NOT_NEGATIVE: ("weight_decay", "observation_noise"),
        _LESS_THAN_ALL: ("other_fingers", "ema_decay", "validation_share"),
    },
    "noise": {_NOT_NEGATIVE: ("std",), _LESS_THAN_ALL: ("memory",)},
    "evaluation": {_COUNT: ("episodes",), _SHARE: ("fresh_share",)},
    "filtered": {_COUNT: ("episodes", "wave")},
    "reinforce": {
        SUBSTEPS: ("substeps",),
        _COUNT: (
            "iterations", "episodes", "epochs", "minibatches", "critic_hidden", "warmup_episodes",
            "critic_warmup_epochs", "replay_iterations", "evaluate_every", "evaluation_episodes",
            "patience",
        ),
        _POSITIVE: (
            "advantage_floor", "clip", "learning_rate", "maximum_learning_rate",
            "critic_learning_rate", "desired_kl", "gradient_norm",
        ),
        _NOT_NEGATIVE: ("initial_kl_coefficient", "critic_warmup", "replay", "target_success"),
        _SHARE: ("gae_lambda", "fresh_share", "demonstration_starts"),
        _DISCOUNT: ("gamma",),
    },
    "reinforce.budget": {_COUNT: ("steps", "short_steps"), _NOT_NEGATIVE: ("weak", "strong")},
    "information": {
        _COUNT: ("hidden", "steps", "batch_size"),
        _POSITIVE: ("learning_rate",),
        _NOT_NEGATIVE: ("beta",),
    },
    "diffusion": {
        _COUNT: ("channels", "hidden", "chunk", "steps", "batch_size"),
        _POSITIVE: ("learning_rate",),
        _LESS_THAN_ALL: ("ema_decay",),
    },
    "diffusion.chain": {
        _COUNT: ("levels", "acting_steps", "finetuned_steps"),
        _POSITIVE: ("minimum_std",),
        _SHARE: ("eta",),
    },
    "diffusion.finetuning": {
        _COUNT: ("episodes",),
        _POSITIVE: ("learning_rate", "desired_kl"),
        _DISCOUNT: ("denoising_gamma",),
    },
}  # fmt: skip
"""Part of `GeneratorConfig` -> range -> names of the settings that keep to it; where a setting is
several numbers, each does. A success of more than 1 is never reached, which turns off what waits
for it."""
COLLECT_RANGES: Mapping[Range, Names] = {
    _COUNT: ("episodes", "wave", "maximum_attempts"),
    _NOT_NEGATIVE: ("groups",),
    _SHARE: ("fresh_share",),
}
"""The same of `CollectConfig`."""


def check_settings(config: GeneratorConfig) -> None:
    """Look at numbers that would end a training late, train nothing, or fail and say nothing.

    Raises:
        SettingError: one is out of its range; names the option as `dlr train` spells it.
    """
    for part, ranges in RANGES.items():
        _check(attrgetter(part)(config) if part else config, ranges, part)


def check_collect(config: CollectConfig, part: str = "") -> None:
    """Look at a collection's numbers.

    Args:
        config: the settings.
        part: what comes before an option's name on the command line, such as `collect`.

    Raises:
        SettingError: one is out of its range.
    """
    _check(config, COLLECT_RANGES, part)


def check_explores(noise: NoiseConfig) -> None:
    """Look at the noise of a recipe with PPO, whose policy must be able to score it.

    Raises:
        SettingError: it is too small or too large.
    """
    Range(*SCORED_STDS).check("--noise.std", noise.std, "in a recipe with PPO")


def check_seeds(seeds: tuple[int, ...]) -> None:
    """Look at the seeds of several trainings.

    Raises:
        SettingError: there is no such seed.
    """
    for seed in seeds:
        _SEEDS.check("--seeds", seed)


def _check(settings: Any, ranges: Mapping[Range, Names], part: str) -> None:
    for kept, names in ranges.items():
        for name in names:
            option = ".".join(filter(None, (part, name))).replace("_", "-")
            for value in _numbers(getattr(settings, name)):
                kept.check(f"--{option}", value)


def _numbers(value: float | tuple[float, ...]) -> Iterator[float]:
    """Yield a setting's numbers."""
    yield from value if isinstance(value, tuple) else (value,)
