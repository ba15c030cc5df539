"""Steps of earlier iterations that are learnt from again: the warm-up's, and successes."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from common.tensors import select
from generator.finetuning.batch import Batch

_TRACE = "trace."


class Pool:
    """Rows of the last iterations, oldest first, as tensors by name.

    Args:
        iterations: how many are kept.
    """

    def __init__(self, iterations: int) -> None:
        self._most = iterations
        self._kept: list[dict[str, Tensor]] = []

    def add(self, rows: Mapping[str, Tensor]) -> None:
        """Keep an iteration's rows; the oldest iteration's go."""
        self._kept = [*self._kept, dict(rows)][-self._most :] if self._most else []

    def together(self) -> dict[str, Tensor]:
        """Return all rows; none while nothing is kept."""
        names = self._kept[0] if self._kept else ()
        return {name: torch.cat([rows[name] for rows in self._kept]) for name in names}

    def clear(self) -> None:
        """Forget all rows."""
        self._kept = []

    def tensors(self) -> dict[str, Tensor]:
        """Return all that `load` needs."""
        return {
            f"{i}.{name}": tensor
            for i, rows in enumerate(self._kept)
            for name, tensor in rows.items()
        }

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Take what `tensors` returned."""
        count = len({name.partition(".")[0] for name in tensors})
        self._kept = [select(str(i), tensors) for i in range(count)]


class Replay(Pool):
    """Steps of the policy's own successes, to be cloned beside PPO's objective."""

    def keep(self, batch: Batch) -> None:
        """Keep the decisions of an iteration's successes."""
        chosen = batch.success & batch.decided
        trace = {_TRACE + name: part[chosen] for name, part in batch.trace.items()}
        self.add({"features": batch.features[chosen], **trace})

    def sample(self, count: int, rng: torch.Generator) -> tuple[Tensor, dict[str, Tensor]] | None:
        """Return features and trace of steps drawn with replacement; None while there are none."""
        steps = self.together()
        if not steps or not len(steps["features"]):
            return None
        index = torch.randint(len(steps["features"]), (count,), generator=rng)
        trace = {n.removeprefix(_TRACE): t[index] for n, t in steps.items() if n != "features"}
        return steps["features"][index], trace
