"""What the policy plays: one recorded demonstration a task, found by instruction and step."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from safetensors.numpy import load_file

CHUNK = 10
"""Actions given at a time."""
STEPS = 320
"""Actions stored of each demonstration: more than any horizon of the suite."""


@dataclass(frozen=True, eq=False)
class Demonstrations:
    """Actions of several tasks, played open loop: nothing is looked at."""

    instructions: tuple[str, ...]
    """The tasks' language."""
    actions: npt.NDArray[np.float32]
    """Shape: (tasks, STEPS, 7); after a demonstration's end the hand stays as it is."""

    @classmethod
    def load(cls, folder: Path) -> Demonstrations:
        """Read the checkpoint that LeRobot's `save_pretrained` wrote."""
        config = json.loads((folder / "config.json").read_text())
        actions = load_file(folder / "model.safetensors")["actions"]
        return cls(tuple(config["instructions"]), actions)

    def chunk(self, instruction: str, step: int) -> npt.NDArray[np.float32]:
        """Return the actions of a task from a step on, (10, 7)."""
        return self.actions[self.instructions.index(instruction), step : step + CHUNK]
