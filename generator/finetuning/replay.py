"""The policy's own successes of earlier iterations, to be cloned beside PPO's objective."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from common.tensors import select
from generator.finetuning.batch import Batch

_TRACE = "trace."


class Replay:
    """Steps of successful episodes of the last iterations, oldest first.

    Args:
        iterations: how many are kept.
    """

    def __init__(self, iterations: int) -> None:
        self._kept: list[dict[str, Tensor]] = []
        self._most = iterations

    def add(self, batch: Batch) -> None:
        """Keep an iteration's successes; the oldest iteration's go."""
        chosen = batch.success
        steps = {"features": batch.features[chosen]}
        steps |= {_TRACE + name: part[chosen] for name, part in batch.trace.items()}
        self._kept = [*self._kept, steps][-self._most :] if self._most else []

    def sample(self, count: int, rng: torch.Generator) -> tuple[Tensor, dict[str, Tensor]] | None:
        """Return features and trace of steps drawn with replacement; None while there are none."""
        pool = {
            name: torch.cat([steps[name] for steps in self._kept])
            for name in (self._kept[0] if self._kept else ())
        }
        if not pool or not len(pool["features"]):
            return None
        index = torch.randint(len(pool["features"]), (count,), generator=rng)
        trace = {n.removeprefix(_TRACE): t[index] for n, t in pool.items() if n != "features"}
        return pool["features"][index], trace

    def tensors(self) -> dict[str, Tensor]:
        """Return all that `load` needs."""
        return {
            f"{i}.{name}": tensor
            for i, steps in enumerate(self._kept)
            for name, tensor in steps.items()
        }

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Take what `tensors` returned."""
        count = len({name.partition(".")[0] for name in tensors})
        self._kept = [select(str(i), tensors) for i in range(count)]
