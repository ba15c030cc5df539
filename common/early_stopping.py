"""Training that ends when validation stops falling: averaged weights, the best of them, and a file.

What a training goes on from after a kill is one file; batches derive from seed and step alone.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from common.tensors import (
    fitting,
    load_module,
    load_optimizer,
    load_tensors,
    optimizer_tensors,
    prefixed,
    save_tensors,
    select,
)

_PROGRESS = ("step", "best_step", "best_loss")


class EarlyStopping[Module: nn.Module]:
    """A module in training, an average of its weights over steps, and the best average so far.

    The learning rate falls from the optimiser's to zero along a cosine.

    Args:
        module: is trained in place.
        optimizer: of its parameters.
        steps: most gradient steps.
        decay: of the exponential moving average; it is less in the first steps. 0 for no average.
    """

    def __init__(
        self, module: Module, optimizer: torch.optim.Optimizer, steps: int, decay: float
    ) -> None:
        self.module, self.optimizer, self.steps, self.decay = module, optimizer, steps, decay
        self._rates = [group["lr"] for group in optimizer.param_groups]
        self.step, self.best_step, self.best_loss = 0, 0, float("inf")
        self.average = copy.deepcopy(module).requires_grad_(False)
        self.best = copy.deepcopy(self.average)

    def generator(self, seed: int) -> torch.Generator:
        """Return the random numbers of the next step, which depend on the seed and it alone."""
        return torch.Generator().manual_seed(seed * 1_000_003 + self.step)

    def descend(self, loss: Tensor) -> None:
        """Take a gradient step."""
        for group, rate in zip(self.optimizer.param_groups, self._rates, strict=True):
            group["lr"] = rate * 0.5 * (1 + np.cos(np.pi * self.step / self.steps))
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        self.step += 1
        decay = min(self.decay, self.step / (self.step + 9)) if self.decay else 0.0
        average: list[Tensor] = list(self.average.parameters())
        with torch.no_grad():
            torch._foreach_lerp_(average, list(self.module.parameters()), 1 - decay)

    def stale(self, steps: int) -> bool:
        """Return whether the last steps made nothing better."""
        return self.step - self.best_step >= steps

    def compare(self, loss: float) -> None:
        """Keep the average as the best if its loss on validation is the least so far."""
        if loss < self.best_loss:
            self.best_loss, self.best_step = loss, self.step
            self.best.load_state_dict(self.average.state_dict())

    def save(self, path: Path, kind: str, more: Mapping[str, Any] | None = None) -> None:
        """Write all that `load` needs, and more of the caller's (JSON).

        Raises:
            OutputError: it cannot be written.
        """
        tensors = optimizer_tensors("optimizer", self.optimizer)
        for name, module in self._modules().items():
            tensors |= prefixed(name, module.state_dict())
        progress = {name: getattr(self, name) for name in _PROGRESS}
        save_tensors(path, kind, tensors, {**progress, **(more or {})})

    def load(self, path: Path, kind: str) -> dict[str, Any]:
        """Go on from what `save` wrote; return what was written with it.

        Raises:
            CheckpointError: as `load_tensors`, or it is of other modules.
        """
        tensors, progress = load_tensors(path, kind)
        for name, module in self._modules().items():
            load_module(module, select(name, tensors), path)
        with fitting(path):
            load_optimizer("optimizer", self.optimizer, tensors)
            for name in _PROGRESS:
                setattr(self, name, progress[name])
        return progress

    def _modules(self) -> dict[str, nn.Module]:
        return {"module": self.module, "average": self.average, "best": self.best}
