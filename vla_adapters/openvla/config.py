"""What an OpenVLA is made of, read from and written to the published `config.json`."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from common.errors import one_line
from common.json_files import read_json as common_read_json
from vla_adapters.adapter import AdapterError

CODE_SOURCE = "openvla/openvla-7b"
"""Hub repository with the published code, which the files that we write point to."""
_CLASSES = {
    "AutoConfig": "configuration_prismatic.OpenVLAConfig",
    "AutoModelForVision2Seq": "modeling_prismatic.OpenVLAForActionPrediction",
}
_STRATEGIES = ("resize-naive", "resize-crop", "letterbox")


@dataclass(frozen=True)
class TextConfig:
    """The Llama, with the defaults that the published code leaves out of `text_config`."""

    vocab_size: int = 32064
    """Rows of the embedding: the tokenizer's vocabulary and the padding."""
    hidden_size: int = 4096
    """Width."""
    intermediate_size: int = 11008
    """Width of the feed-forward layers."""
    num_hidden_layers: int = 32
    """Layers."""
    num_attention_heads: int = 32
    """Heads."""
    num_key_value_heads: int | None = None
    """Heads of keys and values; by default as many as there are heads."""
    max_position_embeddings: int = 2048
    """Longest sequence, patches included."""
    rms_norm_eps: float = 1e-6
    """Added to the mean square under the root."""
    rope_theta: float = 10000.0
    """Base of the rotary position embedding."""
    pad_token_id: int = 32000
    """Token that fills up."""
    bos_token_id: int = 1
    """Token that a prompt begins with."""
    eos_token_id: int = 2
    """Token that follows the actions: the stop token."""

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> TextConfig:
        """Read `text_config`.

        Raises:
            AdapterError: it is not a plain Llama's.
        """
        kind = content.get("model_type", "llama")
        if kind != "llama" or content.get("rope_scaling") or content.get("attention_bias"):
            raise AdapterError(
                f"config.json: text_config is of type {kind!r} or has scaled positions or biases; "
                "OpenVLAs with a plain Llama can be loaded"
            )
        names = {f.name for f in dataclasses.fields(cls)}
        return cls(**{name: value for name, value in content.items() if name in names})

    def as_json(self) -> dict[str, Any]:
        """Return `text_config`, every field of it that is set."""
        fields = {name: value for name, value in vars(self).items() if value is not None}
        return {"model_type": "llama", **fields}


@dataclass(frozen=True)
class OpenVlaConfig:
    """Architecture and action statistics; the defaults are `openvla/openvla-7b`'s."""

    timm_model_ids: tuple[str, ...] = (
        "vit_large_patch14_reg4_dinov2.lvd142m",
        "vit_so400m_patch14_siglip_224",
    )
    """One vision transformer of timm, or two whose patches are joined on their channels."""
    image_sizes: tuple[int, ...] = (224, 224)
    """Side of the picture of each, pixels; equal, because they are given one tensor."""
    timm_override_act_layers: tuple[str | None, ...] = (None, None)
    """Activation of each where it is not GELU."""
    timm_overrides: tuple[Mapping[str, Any], ...] = ()
    """Arguments that make each another size than its name says. Ours alone: the published code
    knows sizes by their name, so such a model loads there only if timm is told, too."""
    text: TextConfig = TextConfig()
    """The language model."""
    vision_backbone_id: str = "dinosiglip-vit-so-224px"
    """Published name of the vision transformers."""
    llm_backbone_id: str = "llama2-7b-pure"
    """Published name of the language model."""
    arch_specifier: str = "no-align+fused-gelu-mlp"
    """Published name of the projector."""
    image_resize_strategy: str = "resize-naive"
    """What is done to a picture that is not square; LIBERO's are."""
    llm_max_length: int = 2048
    """Longest text, tokens."""
    pad_to_multiple_of: int = 64
    """Rows of the embedding beyond the tokenizer's vocabulary."""
    n_action_bins: int = 256
    """Edges of the intervals that an action is rounded to."""
    norm_stats: Mapping[str, Any] = field(default_factory=dict)
    """Dataset -> statistics, in the layout of `dataset_statistics.json`."""

    def __post_init__(self) -> None:
        """Check what no library will check.

        Raises:
            AdapterError: the parts do not fit each other.
        """
        count = len(self.timm_model_ids)
        if count not in (1, 2) or len(self.image_sizes) != count:
            raise AdapterError("config.json must name one or two timm_model_ids and image_sizes")
        if len(set(self.image_sizes)) != 1:
            raise AdapterError(f"config.json: image_sizes must be equal, not {self.image_sizes}")
        overrides = (len(self.timm_override_act_layers), len(self.timm_overrides or range(count)))
        if overrides != (count, count):
            raise AdapterError("config.json: timm_override_* must have an entry for each backbone")
        if self.image_resize_strategy not in _STRATEGIES:
            raise AdapterError(
                f"config.json: unknown image_resize_strategy {self.image_resize_strategy!r}"
            )
        if self.n_action_bins < 2 or self.vocabulary_size <= self.n_action_bins:
            raise AdapterError(
                f"config.json: a vocabulary of {self.vocabulary_size} has no room for "
                f"{self.n_action_bins} actions"
            )

    @property
    def image_size(self) -> int:
        """Side of the pictures, pixels."""
        return self.image_sizes[0]

    @property
    def fused(self) -> bool:
        """Whether there are two vision transformers."""
        return len(self.timm_model_ids) == 2

    @property
    def vocabulary_size(self) -> int:
        """The tokenizer's vocabulary, whose last `n_action_bins` tokens are actions."""
        return self.text.vocab_size - self.pad_to_multiple_of

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> OpenVlaConfig:
        """Read the content of a published `config.json`.

        Raises:
            AdapterError: it is not an OpenVLA's, or of a kind that cannot be loaded.
        """
        if content.get("model_type") != "openvla":
            raise AdapterError(
                f"config.json is of type {content.get('model_type')!r}, not 'openvla': "
                "give the folder or hub id of an OpenVLA"
            )
        names = {f.name for f in dataclasses.fields(cls)}
        fields = {name: _frozen(value) for name, value in content.items() if name in names}
        fields["norm_stats"] = content.get("norm_stats") or {}
        try:
            text = TextConfig.from_json(
                {"pad_token_id": content.get("pad_token_id", 32000), **content["text_config"]}
            )
            return cls(text=text, **fields)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise AdapterError(
                f"config.json is incomplete or malformed ({one_line(error)}): fetch it again"
            ) from error

    def as_json(self) -> dict[str, Any]:
        """Return the content of `config.json`, as the published code reads it."""
        content = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        del content["text"]
        if not self.timm_overrides:
            del content["timm_overrides"]
        content |= {
            "architectures": ["OpenVLAForActionPrediction"],
            "auto_map": on_hub(_CLASSES),
            "hf_llm_id": "meta-llama/Llama-2-7b-hf",
            "model_type": "openvla",
            "output_projector_states": False,
            "pad_token_id": self.text.pad_token_id,
            "text_config": self.text.as_json(),
            "transformers_version": "4.40.1",
            "use_fused_vision_backbone": self.fused,
        }
        return json.loads(json.dumps(content))


def small_config(
    vocabulary_size: int,
    image_size: int = 112,
    vision_width: int = 128,
    vision_depth: int = 4,
    text_width: int = 192,
    text_depth: int = 4,
) -> OpenVlaConfig:
    """Return a configuration of a few million parameters that trains on a CPU.

    It has all parts of the full size: two vision transformers, one of them with registers and
    LayerScale, the fused projector, a Llama.

    Args:
        vocabulary_size: of the tokenizer, the action tokens included.
        image_size: side of the pictures, pixels; a multiple of 16, the side of a patch.
        vision_width: width of the vision transformers, a multiple of 32.
        vision_depth: their blocks; the last one is not used.
        text_width: width of the language model, a multiple of 64.
        text_depth: its layers.
    """
    vision = {
        "patch_size": 16,
        "embed_dim": vision_width,
        "depth": vision_depth,
        "num_heads": vision_width // 32,
        "mlp_ratio": 4.0,
    }
    text = TextConfig(
        vocab_size=vocabulary_size + 64,
        hidden_size=text_width,
        intermediate_size=text_width * 8 // 3,
        num_hidden_layers=text_depth,
        num_attention_heads=text_width // 64,
        max_position_embeddings=512,
        pad_token_id=vocabulary_size,
    )
    return OpenVlaConfig(
        image_sizes=(image_size, image_size),
        timm_overrides=({**vision, "init_values": 1.0}, vision),
        text=text,
        llm_max_length=256,
    )


def read_json(file: Path) -> dict[str, Any]:
    """Return the object in a JSON file.

    Raises:
        AdapterError: there is none.
    """
    return common_read_json(file, "a JSON object", AdapterError, "fetch or copy it again")


def on_hub(classes: Mapping[str, str]) -> dict[str, str]:
    """Return an `auto_map` whose classes are found in `CODE_SOURCE`: no code lies beside ours."""
    return {name: f"{CODE_SOURCE}--{value.rsplit('--')[-1]}" for name, value in classes.items()}


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
