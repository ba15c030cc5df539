"""`dlr vla`: pretrain and fine-tune pi0 and OpenVLA on RLDS datasets."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated

import tyro

from common.errors import UsageError
from vla_adapters.training.config import TrainConfig

_Settings = Annotated[TrainConfig, tyro.conf.arg(name="")]
_EPOCHS = 3
"""Passes over the data after which the papers' fine-tuning has ended."""
_STEPS = 30_000
"""Steps of pi0's published schedule."""


@dataclass(frozen=True)
class Pretrain:
    """Train on a source of data; the same steps and episodes for each source make it fair.

    Without --init a small variant with random weights is trained. By default 30,000 steps.
    """

    config: _Settings

    def __call__(self) -> None:
        """Train."""
        _train(self.config if _has_length(self.config) else replace(self.config, steps=_STEPS))


@dataclass(frozen=True)
class Finetune:
    """Go on from a checkpoint with a downstream suite's data, by default for 3 epochs.

    Normalisation follows the statistics of this data, not those of the checkpoint's. Multi-GPU:
    `accelerate launch -m cli.main vla finetune ...`.
    """

    config: _Settings

    def __call__(self) -> None:
        """Train.

        Raises:
            UsageError: no checkpoint is named.
        """
        if self.config.init is None:
            raise UsageError("fine-tuning begins with a checkpoint: give it as --init")
        _train(self.config if _has_length(self.config) else replace(self.config, epochs=_EPOCHS))


def vla(
    command: tyro.conf.OmitArgPrefixes[tyro.conf.OmitSubcommandPrefixes[Pretrain | Finetune]],
) -> None:
    """Pretrain or fine-tune a vision-language-action model."""
    command()


def _has_length(config: TrainConfig) -> bool:
    return config.steps is not None or config.epochs is not None


def _train(config: TrainConfig) -> None:
    from cli.doctor import load_mujoco
    from vla_adapters.training.loop import train

    if config.validation.evaluate_every_epochs:
        load_mujoco()
    print(train(config))
