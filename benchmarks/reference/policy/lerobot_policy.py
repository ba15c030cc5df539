"""The policy as LeRobot has it: a registered configuration, a `PreTrainedPolicy`, a checkpoint."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from lerobot.configs import PreTrainedConfig
from lerobot.policies.pretrained import PreTrainedPolicy
from lerobot.processor import (
    DeviceProcessorStep,
    PolicyProcessorPipeline,
    RenameObservationsProcessorStep,
)
from lerobot.utils.constants import (
    POLICY_POSTPROCESSOR_DEFAULT_NAME,
    POLICY_PREPROCESSOR_DEFAULT_NAME,
)

from benchmarks.reference.policy.demonstrations import CHUNK, STEPS


@PreTrainedConfig.register_subclass("open_loop")
@dataclass
class OpenLoopConfig(PreTrainedConfig):
    """Configuration of the policy."""

    instructions: list[str] = field(default_factory=list)
    """The tasks' language, in the order of the demonstrations."""

    @property
    def observation_delta_indices(self) -> None:
        """Return that the present observation is all."""

    @property
    def action_delta_indices(self) -> list[int]:
        """Return the steps of a chunk."""
        return list(range(CHUNK))

    @property
    def reward_delta_indices(self) -> None:
        """Return that there are no rewards."""

    def get_optimizer_preset(self) -> Any:
        """Refuse: there is nothing to train."""
        raise NotImplementedError("recorded demonstrations are not trained")

    def get_scheduler_preset(self) -> None:
        """Return that there is none."""

    def validate_features(self) -> None:
        """Accept any."""


class OpenLoopPolicy(PreTrainedPolicy):
    """Plays the demonstration of the observation's instruction, in chunks."""

    config_class = OpenLoopConfig
    name = "open_loop"

    def __init__(self, config: OpenLoopConfig, **options: Any) -> None:
        super().__init__(config)
        self.register_buffer("actions", torch.zeros(len(config.instructions), STEPS, 7))
        self.reset()

    def get_optim_params(self) -> dict[str, Any]:
        """Return that there are no parameters."""
        return {}

    def reset(self) -> None:
        """Begin episodes, as many as there will be rows."""
        self._step = 0
        self._chunk = torch.zeros(0)

    def forward(self, batch: dict[str, Any]) -> Any:
        """Refuse: there is nothing to train."""
        raise NotImplementedError("recorded demonstrations are not trained")

    def predict_action_chunk(self, batch: dict[str, Any], **options: Any) -> torch.Tensor:
        """Return the chunk that begins at the present step, (rows, 10, 7)."""
        rows = [self.config.instructions.index(task) for task in batch["task"]]
        return self.actions[rows, self._step : self._step + CHUNK]

    def select_action(self, batch: dict[str, Any], **options: Any) -> torch.Tensor:
        """Return the next action of the present chunk, (rows, 7)."""
        if self._step % CHUNK == 0:
            self._chunk = self.predict_action_chunk(batch)
        action = self._chunk[:, self._step % CHUNK]
        self._step += 1
        return action


def save_checkpoint(
    folder: Path, instructions: list[str], actions: npt.NDArray[np.float32]
) -> None:
    """Write a checkpoint with its processors; actions (tasks, STEPS, 7)."""
    config = OpenLoopConfig(instructions=instructions, device="cpu", push_to_hub=False)
    policy = OpenLoopPolicy(config)
    policy.actions.copy_(torch.from_numpy(actions))
    policy.save_pretrained(folder)
    rename, device = RenameObservationsProcessorStep(rename_map={}), DeviceProcessorStep("cpu")
    for name, steps in (
        (POLICY_PREPROCESSOR_DEFAULT_NAME, [rename, device]),
        (POLICY_POSTPROCESSOR_DEFAULT_NAME, [device]),
    ):
        pipeline: Any = PolicyProcessorPipeline(steps=steps, name=name)
        pipeline.save_pretrained(folder)
