"""Low-rank adapters in a network: what its weights are once they are added."""

from __future__ import annotations

from typing import Any

import torch
from peft.tuners.lora import LoraLayer
from torch import nn


def merged_weights(module: nn.Module) -> dict[str, torch.Tensor]:
    """Return the weights under the names that they have without adapters, with these added.

    The network itself stays as it is, so training can go on.

    Args:
        module: a network with adapters of peft's LoRA in it, or none.
    """
    layers: dict[str, Any] = {n: m for n, m in module.named_modules() if isinstance(m, LoraLayer)}
    weights = {}
    for name, tensor in module.state_dict().items():
        if ".lora_" in name:
            continue
        owner = name.rpartition(".base_layer.")[0]
        if name == f"{owner}.base_layer.weight":
            tensor = tensor + layers[owner].get_delta_weight("default").to(tensor.dtype)
        weights[name.replace(".base_layer.", ".")] = tensor
    return weights
