"""Reinforce with the mutual information of patterns and states beside success (Eq. 7)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from generator.config import GeneratorConfig
from generator.context import Context
from generator.stages.dlr import Reinforce

if TYPE_CHECKING:
    from generator.reward import Reward


def information(context: Context) -> Reward:
    """Return success and beta times mutual information, with a q(z|s) of its own."""
    from generator.finetuning.information import InformationReward

    config = context.config
    return InformationReward(context.patterns, config.information, config.seed)


@dataclass(frozen=True)
class ReinforceInformed(Reinforce):
    """PPO on success and mutual information; the last policy is kept, whatever its success."""

    reward: Callable[[Context], Reward] = information

    def settings(self, config: GeneratorConfig) -> dict[str, Any]:
        """Return what it reads of the settings."""
        return {**super().settings(config), "information": asdict(config.information)}
