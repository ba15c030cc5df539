"""Configuration of pi0's small variant, a type of LeRobot's own registry, `pi0_small`.

LeRobot finds the network and the processors of a registered configuration by the names of the
modules beside it, hence the names of these files. Who imports this one also has the step that
carries a checkpoint's tokenizer.
"""

from __future__ import annotations

from dataclasses import dataclass

from lerobot.configs import PreTrainedConfig
from lerobot.policies.pi0.configuration_pi0 import PI0Config

from vla_adapters.pi0 import tokenizer_step  # noqa: F401  (registers the step)


@PreTrainedConfig.register_subclass("pi0_small")
@dataclass
class PI0SmallConfig(PI0Config):
    """pi0 in a few million parameters; the variants' names that it inherits mean nothing here.

    Both Gemmas have eight heads, which LeRobot's joint attention takes for granted.
    """

    vocabulary_size: int = 512
    """Tokens of the tokenizer."""
    width: int = 128
    """Width of the language model."""
    expert_width: int = 128
    """Width of the action expert."""
    depth: int = 3
    """Layers of each."""
    mlp_dim: int = 384
    """Width of their feed-forward layers."""
    head_dim: int = 16
    """Width of an attention head."""
    vision_width: int = 128
    """Width of the SigLIP tower."""
    vision_depth: int = 3
    """Layers of the tower."""
    vision_mlp_dim: int = 384
    """Width of its feed-forward layers."""
    vision_heads: int = 4
    """Its attention heads."""
    patch_size: int = 16
    """Edge of a patch, pixels."""
    chunk_size: int = 10
    n_action_steps: int = 10
    tokenizer_max_length: int = 24
    image_resolution: tuple[int, int] = (96, 96)
