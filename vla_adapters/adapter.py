"""What a vision-language-action model is to training: samples in, a loss, a checkpoint out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import nn

from common.errors import DlrError
from vla_adapters.samples import Sample

Batch = dict[str, torch.Tensor]
"""Tensors of a batch, the samples first."""


def to_device(batch: Batch, device: torch.device) -> Batch:
    """Return the batch on a device; from pinned memory the copy goes on beside what follows."""
    return {name: tensor.to(device, non_blocking=True) for name, tensor in batch.items()}


class AdapterError(DlrError, RuntimeError):
    """A checkpoint, tokenizer or dataset does not fit; the message says which and what to do."""


class Adapter(ABC):
    """A model with all that stands between it and `Sample`: one for training and acting."""

    name: ClassVar[str]
    """Name on the command line: `pi0`, `openvla`."""
    chunk: int
    """Actions of a sample that it learns from."""
    cameras: tuple[str, ...]
    """Pictures that it looks at, of `vla_adapters.samples.CAMERAS`."""
    module: nn.Module
    """The network; training casts, wraps and moves it."""
    began_with: str | None = None
    """sha256 of the checkpoint that its weights are from; None of random ones."""

    @abstractmethod
    def collate(self, samples: Sequence[Sample]) -> Batch:
        """Return the batch that `loss` takes; runs in the reader's worker processes, on the CPU.

        A pure function of the samples: pictures have been made ready, noise comes later.
        """

    @abstractmethod
    def loss(
        self, batch: Batch, generator: torch.Generator
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """Return the scalar loss of a batch on the module's device, and what else is worth a curve.

        Args:
            batch: what `collate` made, on the module's device.
            generator: source of all randomness of the loss, on the CPU.
        """

    @abstractmethod
    def save(self, folder: Path) -> None:
        """Write weights, configuration, processors, tokenizer and statistics; safetensors only.

        What lies in the folder afterwards is loaded by the model's published code, too.
        """

    @abstractmethod
    def identity(self) -> dict[str, Any]:
        """Return what tells this model from others, as JSON can hold it: sizes, options, origin."""
