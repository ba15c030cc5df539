"""The range of every number among the settings, looked at before anything is made of them."""

from __future__ import annotations

from collections.abc import Mapping

from common.settings.ranges import (
    COUNT,
    DISCOUNT,
    LESS_THAN_ALL,
    NOT_NEGATIVE,
    POSITIVE,
    SHARE,
    Range,
    Ranges,
    check_parts,
    check_ranges,
)
from generator.config import PICTURE_SIZES, SCORED_STDS, CollectConfig, GeneratorConfig, NoiseConfig
from simulation.starts import TRAINING_SEEDS

SUBSTEPS = Range(10, 25)
"""Simulator steps in a control step, as `Environment.set_substeps` takes them."""
_SEEDS = Range(0, TRAINING_SEEDS - 1)

RANGES: Mapping[str, Ranges] = {
    "": {_SEEDS: ("seed",), POSITIVE: ("horizon_factor",)},
    "discover": {
        COUNT: (
            "patterns", "most_patterns", "latent_dim", "hidden", "steps", "batch_size", "restarts",
        ),
        POSITIVE: ("learning_rate",),
        NOT_NEGATIVE: ("kl_coefficient", "information_coefficient", "input_noise"),
    },
    "observe": {
        Range(*PICTURE_SIZES): ("size",),
        COUNT: ("features", "steps", "batch_size"),
        POSITIVE: ("learning_rate", "memory_gib"),
        NOT_NEGATIVE: ("shift",),
    },
    "learn": {
        COUNT: (
            "hidden", "steps", "batch_size", "validate_every", "patience", "checkpoint_every",
            "chunk",
        ),
        POSITIVE: ("learning_rate",),
        NOT_NEGATIVE: ("weight_decay", "observation_noise"),
        LESS_THAN_ALL: ("other_fingers", "ema_decay", "validation_share"),
    },
    "noise": {NOT_NEGATIVE: ("std",), LESS_THAN_ALL: ("memory",)},
    "evaluation": {COUNT: ("episodes",), SHARE: ("fresh_share",)},
    "filtered": {COUNT: ("episodes", "wave")},
    "reinforce": {
        SUBSTEPS: ("substeps",),
        COUNT: (
            "iterations", "episodes", "epochs", "minibatches", "critic_hidden", "warmup_episodes",
            "critic_warmup_epochs", "replay_iterations", "evaluate_every", "evaluation_episodes",
            "patience",
        ),
        POSITIVE: (
            "advantage_floor", "clip", "learning_rate", "maximum_learning_rate",
            "critic_learning_rate", "desired_kl", "gradient_norm",
        ),
        NOT_NEGATIVE: ("initial_kl_coefficient", "critic_warmup", "replay", "target_success"),
        SHARE: ("gae_lambda", "fresh_share", "demonstration_starts"),
        DISCOUNT: ("gamma",),
    },
    "reinforce.budget": {COUNT: ("steps", "short_steps_each"), NOT_NEGATIVE: ("weak", "strong")},
    "information": {
        COUNT: ("hidden", "steps", "batch_size"),
        POSITIVE: ("learning_rate",),
        NOT_NEGATIVE: ("beta",),
    },
    "diffusion": {
        COUNT: ("channels", "hidden", "chunk", "steps", "batch_size"),
        POSITIVE: ("learning_rate",),
        LESS_THAN_ALL: ("ema_decay",),
    },
    "diffusion.chain": {
        COUNT: ("levels", "acting_steps", "finetuned_steps"),
        POSITIVE: ("minimum_std",),
        SHARE: ("eta",),
    },
    "diffusion.finetuning": {
        COUNT: ("episodes",),
        POSITIVE: ("learning_rate", "desired_kl"),
        DISCOUNT: ("denoising_gamma",),
    },
}  # fmt: skip
"""Part of `GeneratorConfig` -> range -> names of the settings that keep to it; where a setting is
several numbers, each does. A success of more than 1 is never reached, which turns off what waits
for it."""
COLLECT_RANGES: Ranges = {
    COUNT: ("episodes", "wave", "maximum_attempts"),
    NOT_NEGATIVE: ("groups",),
    SHARE: ("fresh_share",),
}
"""The same of `CollectConfig`."""


def check_settings(config: GeneratorConfig) -> None:
    """Look at numbers that would end a training late, train nothing, or fail and say nothing.

    Raises:
        SettingError: one is out of its range; names the option as `dlr train` spells it.
    """
    check_parts(config, RANGES)


def check_collect(config: CollectConfig, part: str = "") -> None:
    """Look at a collection's numbers.

    Args:
        config: the settings.
        part: what comes before an option's name on the command line, such as `collect`.

    Raises:
        SettingError: one is out of its range.
    """
    check_ranges(config, COLLECT_RANGES, part)


def check_slots(slots: int) -> None:
    """Look at how many environments are stepped together.

    Raises:
        SettingError: there is none.
    """
    COUNT.check("--slots", slots)


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
