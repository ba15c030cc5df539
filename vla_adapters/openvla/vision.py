"""The vision transformers of OpenVLA: patches of timm's DINOv2 and SigLIP, with published names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import timm
import torch
from timm.layers.layer_scale import LayerScale
from timm.models.vision_transformer import VisionTransformer
from torch import nn

from vla_adapters.adapter import AdapterError
from vla_adapters.openvla.config import OpenVlaConfig

_ACTIVATION = "gelu"
"""Activation of all models in the timm that the weights were made with, whatever today's says."""


class VisionBackbone(nn.Module):
    """One or two vision transformers side by side.

    Args:
        config: names and sizes.

    Raises:
        AdapterError: timm knows no vision transformer of this name.
    """

    def __init__(self, config: OpenVlaConfig) -> None:
        super().__init__()
        overrides = config.timm_overrides or ({},) * len(config.timm_model_ids)
        models = [
            _create(name, config.image_size, activation, override)
            for name, activation, override in zip(
                config.timm_model_ids, config.timm_override_act_layers, overrides, strict=True
            )
        ]
        self.featurizer = models[0]
        self.fused_featurizer = models[1] if config.fused else None
        self.embed_dim = sum(int(model.embed_dim) for model in models)
        self.patches = int(models[0].patch_embed.num_patches)

    def forward(self, pixel_values: torch.Tensor) -> torch.Tensor:
        """Return the patches of the second-to-last blocks, joined on their channels.

        Args:
            pixel_values: normalised pictures, three channels for each transformer. Shape:
                (B, 3 or 6, size, size).

        Returns:
            Shape: (B, patches, embed_dim).
        """
        if self.fused_featurizer is None:
            return _patches(self.featurizer, pixel_values)
        first, second = pixel_values.split(3, dim=1)
        return torch.cat(
            [_patches(self.featurizer, first), _patches(self.fused_featurizer, second)], dim=2
        )

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Compute activations again in the backward pass instead of keeping them."""
        for model in (self.featurizer, self.fused_featurizer):
            if model is not None:
                model.set_grad_checkpointing(enable)


class ScaleFactor(nn.Module):
    """LayerScale whose parameter has the published name. Shape: (..., dim)."""

    def __init__(self, dim: int, initial: float) -> None:
        super().__init__()
        self.initial = initial
        self.scale_factor = nn.Parameter(torch.full((dim,), initial))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the scaled features, of the same shape."""
        return x * self.scale_factor


def _create(
    name: str, size: int, activation: str | None, override: Mapping[str, Any]
) -> VisionTransformer:
    """Return a vision transformer of timm without pretrained weights."""
    if ":" in name:
        raise AdapterError(f"config.json: {name} would be fetched; timm_model_ids are plain names")
    arguments = {
        "act_layer": activation or _ACTIVATION,
        "img_size": size,
        "num_classes": 0,
        "weight_init": "skip",
        **override,
    }
    try:
        model = timm.create_model(name, pretrained=False, **arguments)
    except (RuntimeError, TypeError, ValueError, AssertionError) as error:
        raise AdapterError(f"timm cannot make {name} with {dict(override)}: {error}") from error
    if not isinstance(model, VisionTransformer) or len(model.blocks) < 2:
        raise AdapterError(f"{name} is not a vision transformer of two blocks or more")
    for module in list(model.modules()):
        for child, layer in list(module.named_children()):
            if isinstance(layer, LayerScale):
                scale = ScaleFactor(layer.gamma.numel(), layer.init_values)
                setattr(module, child, scale)
    for part in (model.blocks[-1], model.norm, model.attn_pool):
        if part is not None:
            part.requires_grad_(False)  # comes after the patches that are used
    return model


def _patches(model: VisionTransformer, pictures: torch.Tensor) -> torch.Tensor:
    """Return the second-to-last block's patches as they are, without class and registers."""
    features = model.forward_intermediates(
        pictures,
        indices=[len(model.blocks) - 2],
        stop_early=True,
        output_fmt="NLC",
        intermediates_only=True,
    )
    return cast(list[torch.Tensor], features)[0]
