"""Networks over chunks of actions: a conditional U-Net with FiLM, and an MLP in its place.

Both see a noisy chunk, its level and the policy's features, and return something of the chunk's
shape: the noise in it, or, asked about an empty chunk, the actions themselves. As in
`generator.networks`, rows do not depend on each other: levels are embedded by a table, and widths
are whole vectors of the processor's, since functions round otherwise in what is left over.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import layer_norm, pad, silu

from common.errors import SettingError
from generator.arithmetic import linear
from generator.networks import Linear

ACTIONS = 7
Kind = Literal["unet", "mlp"]
_FREQUENCIES = 8
_KERNEL = 3
VECTOR = 32
"""Widths are multiples of this."""


class Denoiser(nn.Module):
    """A network from a noisy chunk, its level and features to something of the chunk's shape."""

    table: Tensor

    def __init__(self, chunk: int, levels: int) -> None:
        super().__init__()
        self.chunk = chunk
        self.register_buffer("table", embed_levels(levels), persistent=False)

    def forward(self, noisy: Tensor, level: Tensor, features: Tensor) -> Tensor:
        """Return (n, C, 7) from a chunk (n, C, 7), its level (n,) int64 and features (n, F)."""
        raise NotImplementedError

    def seen(self, level: Tensor, features: Tensor) -> Tensor:
        """Return features and embedded level. Shape: (n, F + 2 * _FREQUENCIES)."""
        return torch.cat([features, self.table[level]], dim=-1)


def make_denoiser(
    kind: Kind, features: int, chunk: int, widths: Sequence[int], levels: int
) -> Denoiser:
    """Return a network.

    Args:
        kind: `unet` or `mlp`.
        features: size F of what it is conditioned on.
        chunk: actions C of a chunk.
        widths: channels of the U-Net's resolutions, or widths of the MLP's hidden layers.
        levels: K.

    Raises:
        SettingError: a width is no multiple of `VECTOR`, or there is none, or the U-Net cannot
            halve the chunk that often.
    """
    if not widths or any(width < 1 or width % VECTOR for width in widths):
        raise SettingError(
            f"widths of a denoising network are multiples of {VECTOR}, one at least, not {widths}"
        )
    if kind == "mlp":
        return MlpDenoiser(features, chunk, widths, levels)
    if chunk % 2 ** (len(widths) - 1):
        raise SettingError(
            f"a U-Net with {len(widths)} resolutions halves a chunk {len(widths) - 1} times, which "
            f"one of {chunk} actions does not allow: give a multiple of {2 ** (len(widths) - 1)}"
        )
    return UNetDenoiser(features, chunk, widths, levels)


def embed_levels(levels: int) -> Tensor:
    """Return sines and cosines of levels 0..K. Shape: (K + 1, 2 * _FREQUENCIES)."""
    shares = torch.arange(levels + 1) / max(levels, 1)
    angles = shares[:, None] * (2.0 ** torch.arange(_FREQUENCIES)) * (math.pi / 2)
    return torch.cat([angles.sin(), angles.cos()], dim=-1)


class MlpDenoiser(Denoiser):
    """Layers that each see level and features again."""

    def __init__(self, features: int, chunk: int, widths: Sequence[int], levels: int) -> None:
        super().__init__(chunk, levels)
        seen = features + 2 * _FREQUENCIES
        sizes = [chunk * ACTIONS, *widths]
        self.layers = nn.ModuleList(Linear(a + seen, b) for a, b in pairwise(sizes))
        self.out = _quiet(Linear(sizes[-1], chunk * ACTIONS))

    def forward(self, noisy: Tensor, level: Tensor, features: Tensor) -> Tensor:
        """Return (n, C, 7) from a chunk (n, C, 7), its level (n,) int64 and features (n, F)."""
        condition = self.seen(level, features)
        x = noisy.flatten(1)
        for layer in self.layers:
            x = silu(layer(torch.cat([x, condition], dim=-1)))
        return self.out(x).view(-1, self.chunk, ACTIONS)


class UNetDenoiser(Denoiser):
    """A 1-D U-Net along the chunk, each block scaled and shifted by the condition (FiLM)."""

    def __init__(self, features: int, chunk: int, widths: Sequence[int], levels: int) -> None:
        super().__init__(chunk, levels)
        condition = 4 * widths[0]
        self.condition = Linear(features + 2 * _FREQUENCIES, condition)
        sizes = [ACTIONS, *widths]
        self.down = nn.ModuleList(Block(a, b, condition) for a, b in pairwise(sizes))
        self.shrink = nn.ModuleList(Convolution(w, w, stride=2) for w in widths[:-1])
        self.middle = Block(widths[-1], widths[-1], condition)
        backwards = list(pairwise(reversed(widths)))
        self.grow = nn.ModuleList(Convolution(a, b) for a, b in backwards)
        self.up = nn.ModuleList(Block(2 * b, b, condition) for _, b in backwards)
        self.out = _quiet(Convolution(widths[0], ACTIONS, kernel=1))

    def forward(self, noisy: Tensor, level: Tensor, features: Tensor) -> Tensor:
        """Return (n, C, 7) from a chunk (n, C, 7), its level (n,) int64 and features (n, F)."""
        condition = silu(self.condition(self.seen(level, features)))
        x, kept = noisy, []
        for i, block in enumerate(self.down):
            x = block(x, condition)
            if i < len(self.shrink):
                kept.append(x)
                x = self.shrink[i](x)
        x = self.middle(x, condition)
        for grow, block in zip(self.grow, self.up, strict=True):
            x = grow(x.repeat_interleave(2, dim=1))
            x = block(torch.cat([x, kept.pop()], dim=-1), condition)
        return torch.as_tensor(self.out(x))


class Block(nn.Module):
    """Two convolutions with FiLM between them, beside the input itself."""

    def __init__(self, inputs: int, outputs: int, condition: int) -> None:
        super().__init__()
        self.first, self.second = Convolution(inputs, outputs), Convolution(outputs, outputs)
        self.film = _quiet(Linear(condition, 2 * outputs))
        self.beside = nn.Identity() if inputs == outputs else Convolution(inputs, outputs, kernel=1)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """Return (n, T, out) from (n, T, in) and the condition (n, D)."""
        scale, shift = self.film(condition)[:, None].chunk(2, dim=-1)
        y = silu(_normal(self.first(x)))
        y = silu(_normal(self.second(y * (1 + scale) + shift)))
        return y + torch.as_tensor(self.beside(x))


class Convolution(nn.Linear):
    """A convolution along time with zeros beyond both ends, as a product with its windows."""

    def __init__(self, inputs: int, outputs: int, kernel: int = _KERNEL, stride: int = 1) -> None:
        super().__init__(kernel * inputs, outputs)
        self.kernel, self.stride = kernel, stride

    def forward(self, input: Tensor) -> Tensor:
        """Return (n, T / stride, out) from (n, T, in)."""
        side = self.kernel // 2
        windows = pad(input, (0, 0, side, side)).unfold(1, self.kernel, self.stride).flatten(2)
        return linear(windows, self.weight, self.bias)


def _normal(x: Tensor) -> Tensor:
    return layer_norm(x, x.shape[-1:])


def _quiet(layer: Any) -> Any:
    """Return a layer that says next to nothing at first."""
    nn.init.normal_(layer.weight, std=1e-3)
    nn.init.zeros_(layer.bias)
    return layer


class Actions(nn.Module):
    """A denoiser that is asked about an empty chunk at level 0: features to a chunk's numbers."""

    def __init__(self, denoiser: Denoiser) -> None:
        super().__init__()
        self.denoiser = denoiser

    def forward(self, features: Tensor) -> Tensor:
        """Return (n, C * 7) from features (n, F)."""
        n = len(features)
        empty = torch.zeros(n, self.denoiser.chunk, ACTIONS)
        return torch.as_tensor(
            self.denoiser(empty, torch.zeros(n, dtype=torch.int64), features)
        ).flatten(1)
