"""Low-rank adapters: put into a network, and added to its weights when these are saved."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from peft import LoraConfig, inject_adapter_in_model
from peft.tuners.lora import LoraLayer
from torch import nn

from vla_adapters.adapter import AdapterError


@dataclass(frozen=True)
class Lora:
    """Low-rank adapters beside frozen weights; the numbers are those of OpenVLA's finetune.py."""

    rank: int = 32
    """Rank of each."""
    alpha: int = 16
    """Scale: the adapter's product is multiplied by alpha / rank."""
    modules: str | None = None
    """Regular expression of the layers' whole names; by default the model's own choice."""
    seed: int = 0
    """Draws their first weights."""


def add_adapters(module: nn.Module, lora: Lora, default: str | list[str], **options: Any) -> None:
    """Put adapters into a network and freeze all else.

    They are float32 whatever the network is: an optimiser's small steps vanish in bfloat16.

    Args:
        module: the network, changed in place.
        lora: settings.
        default: expression or names of the layers, where the settings name none.
        options: further ones of peft's `LoraConfig`.

    Raises:
        AdapterError: no layer has such a name.
    """
    targets = lora.modules or default
    config = LoraConfig(r=lora.rank, lora_alpha=lora.alpha, target_modules=targets, **options)
    try:
        with torch.random.fork_rng():
            torch.manual_seed(lora.seed)
            inject_adapter_in_model(config, module)
    except ValueError as error:
        raise AdapterError(f"no layer is named {targets}: {error}") from error
    for parameter in module.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()


class MergedWeights(Mapping[str, torch.Tensor]):
    """Weights under the names that they have without adapters, with these added.

    Each is computed when it is asked for, so that a large network is never there twice. The
    network itself stays as it is, so training can go on.

    Args:
        module: a network with adapters of peft's LoRA in it, or none.
    """

    def __init__(self, module: nn.Module) -> None:
        self._layers: dict[str, Any] = {
            f"{name}.weight": layer
            for name, layer in module.named_modules()
            if isinstance(layer, LoraLayer)
        }
        self._tensors = {
            name.replace(".base_layer.", "."): tensor
            for name, tensor in module.state_dict().items()
            if ".lora_" not in name
        }

    def __getitem__(self, name: str) -> torch.Tensor:
        tensor = self._tensors[name]
        if name not in self._layers:
            return tensor
        delta = self._layers[name].get_delta_weight("default")
        return (tensor + delta).to(tensor.dtype)

    def __iter__(self) -> Iterator[str]:
        return iter(self._tensors)

    def __len__(self) -> int:
        return len(self._tensors)
