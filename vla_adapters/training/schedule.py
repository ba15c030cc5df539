"""Learning rate and seeds of a step: functions of its number alone, so that resuming is exact."""

from __future__ import annotations

import math

import numpy as np
import torch

from vla_adapters.training.config import Optimisation


def learning_rate(step: int, total: int, settings: Optimisation) -> float:
    """Return the learning rate of a step.

    The cosine, its warm-up and how both shrink where `total` is less than `decay` are LeRobot's
    `CosineDecayWithWarmupSchedulerConfig`, which are openpi's.

    Args:
        step: number of the step, from 0.
        total: steps of the training.
        settings: the optimiser's.
    """
    peak = settings.learning_rate
    scale = min(1.0, total / settings.decay) if settings.decay else 1.0
    warm_up, decay = int(settings.warm_up * scale), int(settings.decay * scale) or total
    if step < warm_up:
        first = 1 / (warm_up + 1)
        return peak * (first + (1 - first) * step / warm_up)
    if settings.schedule == "constant":
        return peak
    cosine = 0.5 * (1 + math.cos(math.pi * min(step, decay) / decay))
    return settings.final_learning_rate + (peak - settings.final_learning_rate) * cosine


def steps_of(epochs: int, batches: int, accumulate: int) -> int:
    """Return the steps of the optimiser after which so many epochs have ended.

    Args:
        epochs: passes over the data.
        batches: of one pass.
        accumulate: batches of a step.
    """
    return -(-epochs * batches // accumulate)


def seed_step(seed: int, step: int, part: int, rank: int) -> torch.Generator:
    """Seed torch for one batch of a step, and return a generator for the loss.

    Args:
        seed: the training's.
        step: number of the step.
        part: number of the batch in the step.
        rank: number of this process.
    """
    drawn = int(np.random.SeedSequence((seed, step, part, rank)).generate_state(1)[0])
    torch.manual_seed(drawn)
    return torch.Generator().manual_seed(drawn)
