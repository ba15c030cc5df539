"""The network of pi0's small variant: LeRobot's pi0 with other sizes and nothing else."""

from __future__ import annotations

from typing import Any

import torch
from lerobot.policies.pi0.modeling_pi0 import (
    GemmaConfig,
    PaliGemmaWithExpertModel,
    PI0Policy,
    PI0Pytorch,
)
from lerobot.policies.pi_gemma import (
    PaliGemmaForConditionalGenerationWithPiGemma,
    PiGemmaForCausalLM,
)
from lerobot.policies.pretrained import PreTrainedPolicy
from torch import Tensor, nn
from torch.nn import functional
from transformers.models.auto import CONFIG_MAPPING

from vla_adapters.pi0.configuration_pi0_small import PI0SmallConfig

HEADS = 8
"""Attention heads of both Gemmas, as LeRobot's joint attention takes for granted."""


class SmallPaliGemmaWithExpert(PaliGemmaWithExpertModel):
    """PaliGemma and the action expert, both of the configuration's sizes."""

    def __init__(self, config: PI0SmallConfig) -> None:
        nn.Module.__init__(self)
        self.freeze_vision_encoder = config.freeze_vision_encoder
        self.train_expert_only = config.train_expert_only
        self.paligemma = PaliGemmaForConditionalGenerationWithPiGemma(_paligemma_config(config))
        self.gemma_expert = PiGemmaForCausalLM(
            CONFIG_MAPPING["gemma"](**_gemma_sizes(config, config.expert_width))
        )
        self.gemma_expert.model.embed_tokens = None
        self.to_bfloat16_for_selected_params(config.dtype)
        self._set_requires_grad()


class PI0SmallPytorch(PI0Pytorch):
    """The flow-matching network around them."""

    def __init__(self, config: PI0SmallConfig, rtc_processor: Any = None) -> None:
        nn.Module.__init__(self)
        self.config, self.rtc_processor = config, rtc_processor
        self.paligemma_with_expert = SmallPaliGemmaWithExpert(config)
        width = config.expert_width
        self.action_in_proj = nn.Linear(config.max_action_dim, width)
        self.action_out_proj = nn.Linear(width, config.max_action_dim)
        self.state_proj = nn.Linear(config.max_state_dim, width)
        self.action_time_mlp_in = nn.Linear(2 * width, width)
        self.action_time_mlp_out = nn.Linear(width, width)
        self.gradient_checkpointing_enabled = False


class PI0SmallPolicy(PI0Policy):
    """LeRobot's policy with the small network."""

    config_class = PI0SmallConfig
    name = "pi0_small"

    def __init__(self, config: PI0SmallConfig, **_: Any) -> None:
        PreTrainedPolicy.__init__(self, config)
        config.validate_features()
        self.init_rtc_processor()
        self.model = PI0SmallPytorch(config, self.rtc_processor)
        if config.gradient_checkpointing:
            self.model.gradient_checkpointing_enable()
        self.model.to(config.device)
        self.reset()

    def _preprocess_images(self, batch: dict[str, Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """Shrink pictures with antialiasing, so that a step's looks alike from any resolution."""
        size = tuple(self.config.image_resolution)
        shrunk = {
            key: functional.interpolate(
                batch[key].to(torch.float32), size, mode="bilinear", antialias=True
            )
            for key in self.config.image_features
            if key in batch
        }
        return super()._preprocess_images({**batch, **shrunk})


def _gemma_sizes(config: PI0SmallConfig, width: int) -> dict[str, Any]:
    sizes = GemmaConfig(width, config.depth, config.mlp_dim, HEADS, 1, config.head_dim)
    return {
        "hidden_size": sizes.width,
        "intermediate_size": sizes.mlp_dim,
        "num_attention_heads": sizes.num_heads,
        "num_hidden_layers": sizes.depth,
        "num_key_value_heads": sizes.num_kv_heads,
        "head_dim": sizes.head_dim,
        "vocab_size": config.vocabulary_size,
        "hidden_activation": "gelu_pytorch_tanh",
        "dtype": "float32",
        "use_adarms": False,
    }


def _paligemma_config(config: PI0SmallConfig) -> Any:
    make: Any = CONFIG_MAPPING["paligemma"]
    return make(
        text_config={"model_type": "gemma", **_gemma_sizes(config, config.width)},
        vision_config={
            "model_type": "siglip_vision_model",
            "hidden_size": config.vision_width,
            "intermediate_size": config.vision_mlp_dim,
            "num_hidden_layers": config.vision_depth,
            "num_attention_heads": config.vision_heads,
            "patch_size": config.patch_size,
            "image_size": config.image_resolution[0],
            "projection_dim": config.width,
            "projector_hidden_act": "gelu_fast",
            "vision_use_head": False,
            "dtype": "float32",
        },
        projection_dim=config.width,
        image_token_index=config.vocabulary_size,
    )
