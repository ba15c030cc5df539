"""Pictures and instructions as OpenVLA is given them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from simulation.pictures.transforms import Bicubic
from vla_adapters.adapter import AdapterError
from vla_adapters.openvla.config import OpenVlaConfig, on_hub

_MEANS = ((0.485, 0.456, 0.406), (0.5, 0.5, 0.5))
"""ImageNet's for DINOv2, a half for SigLIP."""
_STDS = ((0.229, 0.224, 0.225), (0.5, 0.5, 0.5))
_BICUBIC = 3
"""PIL's number of the interpolation."""

Constants = tuple[tuple[float, float, float], ...]


def prompt(instruction: str) -> str:
    """Return the text that is continued with actions."""
    return f"In: What action should the robot take to {instruction.lower()}?\nOut:"


@dataclass(frozen=True)
class Preprocessing:
    """From pictures to what the vision transformers take; `preprocessor_config.json` holds it."""

    size: int
    """Side of the pictures, pixels."""
    strategy: str = "resize-naive"
    """What is done to a picture that is not square."""
    means: Constants = _MEANS
    """Mean of each channel for each vision transformer; checkpoints' are rounded to bfloat16."""
    stds: Constants = _STDS
    """Standard deviations likewise."""

    @classmethod
    def of_config(cls, config: OpenVlaConfig) -> Preprocessing:
        """Return what a new model of this configuration begins with."""
        count = len(config.timm_model_ids)
        strategy = config.image_resize_strategy
        return cls(config.image_size, strategy, _MEANS[-count:], _STDS[-count:])

    @classmethod
    def from_json(cls, content: Mapping[str, Any], config: OpenVlaConfig) -> Preprocessing:
        """Read the content of `preprocessor_config.json`.

        Raises:
            AdapterError: it is malformed, or not for this model.
        """
        try:
            constants = content["tvf_normalize_params"]
            means = tuple(tuple(map(float, c["mean"])) for c in constants)
            stds = tuple(tuple(map(float, c["std"])) for c in constants)
            sizes = {tuple(size) for size in content["input_sizes"]}
            kinds = {r["interpolation"] for r in content["tvf_resize_params"]}
            strategy = content["image_resize_strategy"]
        except (KeyError, TypeError, ValueError) as error:
            raise AdapterError(f"preprocessor_config.json is malformed: {error!r}") from error
        if sizes != {(3, config.image_size, config.image_size)} or kinds != {_BICUBIC}:
            raise AdapterError(
                f"preprocessor_config.json makes pictures of {sorted(sizes)} by interpolation "
                f"{sorted(kinds)}, but config.json wants {config.image_size} pixels, bicubic"
            )
        if len(means) != len(config.timm_model_ids) or any(len(v) != 3 for v in means + stds):
            raise AdapterError("preprocessor_config.json is for another number of channels")
        return cls(config.image_size, strategy, means, stds)  # type: ignore[arg-type]

    def as_json(self) -> dict[str, Any]:
        """Return the content of `preprocessor_config.json`, as the published code reads it."""
        count, side = len(self.means), (self.size, self.size)
        resize = {"antialias": True, "interpolation": _BICUBIC, "max_size": None}
        size: Any = self.size if self.strategy == "resize-crop" else list(side)
        letterbox = self.strategy == "letterbox"
        size = self.size if letterbox else size
        return {
            "auto_map": on_hub(
                {
                    "AutoImageProcessor": "processing_prismatic.PrismaticImageProcessor",
                    "AutoProcessor": "processing_prismatic.PrismaticProcessor",
                }
            ),
            "image_processor_type": "PrismaticImageProcessor",
            "image_resize_strategy": self.strategy,
            "input_sizes": [[3, *side]] * count,
            "interpolations": ["bicubic"] * count,
            "means": [list(mean) for mean in self.means],
            "processor_class": "PrismaticProcessor",
            "stds": [list(std) for std in self.stds],
            "tvf_crop_params": [{"output_size": list(side)}] * count,
            "tvf_do_letterbox": letterbox,
            "tvf_letterbox_fill": [int(x * 255) for x in self.means[-1]] if letterbox else None,
            "tvf_normalize_params": [
                {"inplace": False, "mean": list(mean), "std": list(std)}
                for mean, std in zip(self.means, self.stds, strict=True)
            ],
            "tvf_resize_params": [{**resize, "size": size}] * count,
            "use_fused_vision_backbone": count == 2,
        }

    def resize(self, picture: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """Return a picture in the model's size. Shapes: (H, W, 3) -> (3, size, size).

        Raises:
            AdapterError: it is not square, and the model would pad or crop it.
        """
        height, width = picture.shape[:2]
        if height != width and self.strategy != "resize-naive":
            raise AdapterError(
                f"this model wants square pictures, and got {height} by {width}: it was trained "
                f"with {self.strategy}"
            )
        return np.ascontiguousarray(Bicubic(self.size)(picture).transpose(2, 0, 1))

    def normalise(self, pictures: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
        """Return `pixel_values` on the pictures' device.

        Args:
            pictures: resized, uint8. Shape: (B, 3, size, size).
            dtype: type of the result.

        Returns:
            Shape: (B, 3 or 6, size, size): for each vision transformer its three channels.
        """
        values = pictures.float() / 255
        parts = [
            (values - _channels(mean, values)) / _channels(std, values)
            for mean, std in zip(self.means, self.stds, strict=True)
        ]
        return torch.cat(parts, dim=1).to(dtype)


def _channels(constants: tuple[float, float, float], like: torch.Tensor) -> torch.Tensor:
    return torch.tensor(constants, dtype=like.dtype, device=like.device)[:, None, None]
