"""Uniformly random actions: the floor of every comparison, which needs no checkpoint."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from eval_harness.policy import ACTION_DIM, Observation, Policy, Requirements


class RandomPolicy(Policy):
    """Draws actions uniformly from [-1, 1], from the episode's seed and the step alone.

    Args:
        chunk: actions in a chunk.
        cameras: cameras whose pictures are rendered all the same, for timing.
    """

    def __init__(self, chunk: int = 1, cameras: Sequence[str] = ()) -> None:
        self.requirements = Requirements(tuple(cameras), (), chunk)

    def act(self, observations: Sequence[Observation]) -> npt.NDArray[np.float64]:
        """Return random chunks. Shape: (n, chunk, 7)."""
        shape = (self.requirements.chunk, ACTION_DIM)
        return np.stack(
            [
                np.random.default_rng([o.key.seed, o.step]).uniform(-1.0, 1.0, shape)
                for o in observations
            ]
        )

    def identity(self) -> dict[str, Any]:
        """Return the kind and the chunk, which decides the draws."""
        return {"kind": "random", "chunk": self.requirements.chunk}
