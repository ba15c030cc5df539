"""From pictures to a few numbers: a backbone, its feature map flattened, and a projection."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Literal, Self

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from common.errors import SettingError
from common.machine import cores
from generator.networks import Linear
from generator.pixels.backbones import BACKBONES, Norm, build_backbone

Device = Literal["cpu", "cuda"]
_TOGETHER = {"cpu": 8, "cuda": 64}
"""Pictures that are encoded together, always as many, filled up with black ones: a convolution's
rounding depends on their number, but not on which others there are."""
_PIECE = 64
"""Pictures whose activations are kept at a time while gradients are computed."""


class Encoder(nn.Module):
    """Numbers of each picture: (n, cameras, H, W, 3) uint8 -> (n, cameras * features).

    Args:
        kind: of `BACKBONES`.
        norm: how it is normalised.
        cameras: pictures of a moment; one network sees all.
        size: their height and width, pixels.
        features: numbers that each becomes.
        trained: whether the projection is trained and its output standardised; otherwise it is
            that of principal components.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self, kind: str, norm: Norm, cameras: int, size: int, features: int, trained: bool
    ) -> None:
        super().__init__()
        backbone = BACKBONES[kind]
        self.arguments = {
            "kind": kind, "norm": norm, "cameras": cameras, "size": size, "features": features,
            "trained": trained,
        }  # fmt: skip
        """The constructor's arguments, as JSON can hold them."""
        self.cameras, self.size, self.features = cameras, size, features
        self.output_dim = cameras * features
        self.backbone = build_backbone(kind, norm)
        side = -(-size // backbone.stride)
        self.map_dim = backbone.channels * side**2
        after = nn.LayerNorm(features) if trained else nn.Identity()
        self.projection = nn.Sequential(Linear(self.map_dim, features), after)
        self.register_buffer("mean", torch.tensor(backbone.mean).view(3, 1, 1) * 255)
        self.register_buffer("std", torch.tensor(backbone.std).view(3, 1, 1) * 255)

    @property
    def device(self) -> torch.device:
        """Where its weights are."""
        return self.mean.device

    def train(self, mode: bool = True) -> Self:
        """Set the mode; batch normalisation keeps to the statistics that it has."""
        super().train(mode)
        for part in self.modules():
            if isinstance(part, nn.BatchNorm2d):
                part.eval()
        return self

    def maps(self, pictures: Tensor) -> Tensor:
        """Return flattened feature maps (m, map_dim) of pictures (m, H, W, 3), uint8."""
        channels_first = pictures.to(self.device).movedim(-1, 1).float()
        return self.backbone((channels_first - self.mean) / self.std).flatten(1)

    def forward(self, pictures: Tensor) -> Tensor:
        """Return numbers (n, cameras * features) on the CPU, with gradients where they are on.

        However many pictures there are, only some are in the network at a time; with gradients
        these are computed again on the way back.
        """
        flat, learning = pictures.flatten(0, 1), torch.is_grad_enabled() and self.learning
        parts = []
        for piece in flat.split(_PIECE):
            if learning and len(flat) > _PIECE:
                parts.append(checkpoint(self._numbers, piece, use_reentrant=False))
            else:
                parts.append(self._numbers(piece))
        return torch.cat(parts).view(len(pictures), -1).cpu()

    def _numbers(self, pictures: Tensor) -> Tensor:
        return self.projection(self.maps(pictures))

    @property
    def learning(self) -> bool:
        """Whether its weights are being trained."""
        return any(p.requires_grad for p in self.parameters())

    def encode(self, pictures: np.ndarray) -> np.ndarray:
        """Return numbers (n, cameras * features) float32, each independent of the others.

        On the CPU a thread per core encodes.
        """
        flat = torch.from_numpy(np.ascontiguousarray(pictures)).flatten(0, 1)
        together = _TOGETHER[self.device.type]
        pieces = flat.split(together)

        @torch.no_grad()
        def work(piece: Tensor) -> Tensor:
            filled = piece.new_zeros((together, *piece.shape[1:]))
            filled[: len(piece)] = piece
            return self._numbers(filled)[: len(piece)].cpu()

        if self.device.type == "cpu" and len(pieces) > 1 and cores() > 1:
            with ThreadPoolExecutor(cores()) as pool:
                parts = list(pool.map(work, pieces))
        else:
            parts = [work(piece) for piece in pieces]
        return torch.cat(parts).view(len(pictures), -1).numpy()

    @torch.no_grad()
    def fit_projection(self, pictures: Sequence[np.ndarray]) -> None:
        """Make the projection that of the principal components of pictures' feature maps.

        Args:
            pictures: (T, cameras, H, W, 3) uint8 of each demonstration.
        """
        maps = []
        for part in pictures:
            for piece in torch.from_numpy(part).flatten(0, 1).split(_PIECE):
                maps.append(self.maps(piece).cpu())
        together = torch.cat(maps)
        mean = together.mean(0)
        apart = (together - mean).numpy()
        _, every = np.linalg.eigh(apart.T @ apart)
        directions = torch.from_numpy(np.ascontiguousarray(every[:, : -self.features - 1 : -1]))
        linear = self.projection[0]
        assert isinstance(linear, Linear)
        linear.weight.copy_(directions.T)
        linear.bias.copy_(-(directions.T @ mean))


def has_gpu() -> bool:
    """Return whether PyTorch can use a GPU here."""
    return torch.cuda.is_available()


def choose_device(device: Device) -> torch.device:
    """Return where encoders compute.

    Raises:
        SettingError: there is no such device here.
    """
    if device == "cuda":
        if not has_gpu():
            raise SettingError("there is no GPU that PyTorch can use here: leave --device cpu")
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    return torch.device(device)
