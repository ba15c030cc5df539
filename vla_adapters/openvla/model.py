"""OpenVLA's network: pictures and text in, logits of the next tokens out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from transformers import Cache, LlamaConfig, LlamaForCausalLM
from transformers.models.llama.modeling_llama import LlamaRMSNorm, LlamaRotaryEmbedding

from vla_adapters.openvla.config import OpenVlaConfig, TextConfig
from vla_adapters.openvla.vision import ScaleFactor, VisionBackbone

_EMBEDDING_STD = 0.02
"""Of random embeddings, as the published models' parts were initialised."""


class Projector(nn.Module):
    """From the patches' width to the language model's.

    Args:
        vision: width of the patches.
        text: width of the language model.
        fused: whether there are two vision transformers, which means a layer more.
    """

    def __init__(self, vision: int, text: int, fused: bool) -> None:
        super().__init__()
        inner = 4 * vision if fused else text
        self.fc1 = nn.Linear(vision, inner)
        self.fc2 = nn.Linear(inner, text)
        self.fc3 = nn.Linear(text, text) if fused else None
        self.gelu = nn.GELU()

    def forward(self, patches: torch.Tensor) -> torch.Tensor:
        """Return the patches as embeddings of tokens. Shape: (B, patches, text)."""
        x = self.fc2(self.gelu(self.fc1(patches)))
        return x if self.fc3 is None else self.fc3(self.gelu(x))


class OpenVla(nn.Module):
    """Vision transformers, projector and Llama, with the published parameters' names.

    The patches stand after the first token. Padding may be anywhere but there: positions count
    the tokens that are none, and nobody looks at padding.

    Args:
        config: sizes.
    """

    def __init__(self, config: OpenVlaConfig) -> None:
        super().__init__()
        self.config = config
        self.vision_backbone = VisionBackbone(config)
        self.projector = Projector(
            self.vision_backbone.embed_dim, config.text.hidden_size, config.fused
        )
        self.language_model = LlamaForCausalLM(_llama_config(config.text))

    @classmethod
    def empty(
        cls, config: OpenVlaConfig, device: torch.device | str, dtype: torch.dtype
    ) -> OpenVla:
        """Return a network of uninitialised parameters that were never anywhere but on `device`.

        Args:
            config: sizes.
            device: where it lives; `meta` for names and shapes alone.
            dtype: type of the parameters.
        """
        with torch.device("meta"):
            model = cls(config)
        return model.to(dtype).to_empty(device=device)

    @classmethod
    def random(
        cls,
        config: OpenVlaConfig,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
        seed: int = 0,
    ) -> OpenVla:
        """Return a network of random parameters, drawn on the device itself.

        Matrices keep the variance of what they are given; normalisations begin as the identity.

        Args:
            config: sizes.
            device: where it lives.
            dtype: type of the parameters.
            seed: of the parameters; the same ones on the same device.
        """
        model = cls.empty(config, device, dtype)
        generator = torch.Generator(device).manual_seed(seed)
        with torch.no_grad():
            for module in model.modules():
                for parameter, tensor in module.named_parameters(recurse=False):
                    _initialise(module, parameter, tensor, generator)
        return model

    @property
    def patches(self) -> int:
        """Tokens that a picture becomes."""
        return self.vision_backbone.patches

    def embed(self, pixel_values: torch.Tensor, input_ids: torch.Tensor) -> torch.Tensor:
        """Return what the language model reads: first token, patches, other tokens.

        Args:
            pixel_values: normalised pictures. Shape: (B, 3 or 6, size, size).
            input_ids: tokens, BOS first. Shape: (B, T).

        Returns:
            Shape: (B, patches + T, width).
        """
        patches = self.projector(self.vision_backbone(pixel_values))
        text = self.language_model.model.embed_tokens(input_ids)
        return torch.cat([text[:, :1], patches, text[:, 1:]], dim=1)

    def extend_mask(self, attention_mask: torch.Tensor) -> torch.Tensor:
        """Return the mask with the patches in it. Shapes: (B, T) -> (B, patches + T)."""
        seen = attention_mask.new_ones(len(attention_mask), self.patches)
        return torch.cat([attention_mask[:, :1], seen, attention_mask[:, 1:]], dim=1)

    def decode(
        self,
        embeddings: torch.Tensor,
        mask: torch.Tensor,
        cache: Cache | None = None,
        causal: bool = True,
    ) -> torch.Tensor:
        """Return the language model's last hidden states.

        Args:
            embeddings: of the tokens that are new. Shape: (B, T, width).
            mask: 1 for tokens, 0 for padding, of all tokens up to now. Shape: (B, past + T).
            cache: keys and values of those before; extended.
            causal: whether a token sees those before it alone, or all, as in OpenVLA-OFT.

        Returns:
            Shape: (B, T, width).
        """
        positions = (mask.cumsum(dim=1) - 1).clamp(min=0)[:, -embeddings.shape[1] :]
        everywhere = mask.bool()[:, None, None].expand(-1, 1, embeddings.shape[1], -1)
        output = self.language_model.model(
            inputs_embeds=embeddings,
            attention_mask=mask if causal else everywhere,
            position_ids=positions,
            past_key_values=cache,
            use_cache=cache is not None,
        )
        return output.last_hidden_state

    def forward(
        self,
        pixel_values: torch.Tensor,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor,
        last: int | None = None,
    ) -> torch.Tensor:
        """Return the logits of the token after each, or of the last `last` tokens given.

        Args:
            pixel_values: normalised pictures. Shape: (B, 3 or 6, size, size).
            input_ids: tokens, BOS first. Shape: (B, T).
            attention_mask: 1 for tokens, 0 for padding. Shape: (B, T).
            last: how many tokens at the end are asked for; none of them may be padding.

        Returns:
            Shape: (B, patches + T, vocabulary), or (B, last, vocabulary).
        """
        embeddings = self.embed(pixel_values, input_ids)
        hidden = self.decode(embeddings, self.extend_mask(attention_mask))
        if last is not None:
            hidden = hidden[:, -last - 1 : -1]
        return self.language_model.lm_head(hidden)

    def gradient_checkpointing_enable(self) -> None:
        """Keep few activations in training and compute the others again."""
        self.vision_backbone.set_grad_checkpointing()
        self.language_model.gradient_checkpointing_enable({"use_reentrant": False})

    def _apply(self, fn: Callable[[torch.Tensor], torch.Tensor], recurse: bool = True) -> Any:
        """Move or cast, but keep the rotary frequencies exact: they are float32 in any model."""
        super()._apply(fn, recurse)
        decoder = self.language_model.model
        device = decoder.embed_tokens.weight.device
        decoder.rotary_emb = LlamaRotaryEmbedding(decoder.config, device=device)
        return self


def _llama_config(text: TextConfig) -> LlamaConfig:
    fields: dict[str, Any] = {**text.as_json(), "tie_word_embeddings": False}
    fields["rope_parameters"] = {"rope_type": "default", "rope_theta": fields.pop("rope_theta")}
    config = LlamaConfig(**fields)
    config._attn_implementation = "sdpa"
    return config


def _initialise(
    module: nn.Module, name: str, tensor: torch.Tensor, generator: torch.Generator
) -> None:
    """Fill one parameter of a new network."""
    if isinstance(module, ScaleFactor):
        tensor.fill_(module.initial)
    elif isinstance(module, (nn.LayerNorm, LlamaRMSNorm)) and name == "weight":
        tensor.fill_(1.0)
    elif name == "bias":
        tensor.zero_()
    elif isinstance(module, (nn.Linear, nn.Conv2d)):
        tensor.normal_(0.0, tensor[0].numel() ** -0.5, generator=generator)
    else:
        tensor.normal_(0.0, _EMBEDDING_STD, generator=generator)
