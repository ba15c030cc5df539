"""Small networks whose rows do not depend on each other, and the normalisation of their inputs."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn

from generator.arithmetic import linear

OBSERVATION_CLIP = 5.0


class Linear(nn.Linear):
    """A linear layer with the bits of any processor; see `generator.arithmetic.linear`."""

    def forward(self, input: Tensor) -> Tensor:
        """Return `input @ weight.T + bias`. Shapes: (n, in) -> (n, out), or (n, T, in)."""
        return linear(input, self.weight, self.bias)


def mlp(inputs: int, hidden: Sequence[int], outputs: int) -> nn.Sequential:
    """Return a tanh MLP with orthogonal weights; its last layer starts near zero."""
    sizes = [inputs, *hidden]
    layers: list[nn.Module] = []
    for a, b in pairwise(sizes):
        layer = Linear(a, b)
        _make_orthogonal(layer.weight, gain=5 / 3)
        nn.init.zeros_(layer.bias)
        layers += [layer, nn.Tanh()]
    last = Linear(sizes[-1], outputs)
    _make_orthogonal(last.weight, gain=0.01)
    nn.init.zeros_(last.bias)
    return nn.Sequential(*layers, last)


@torch.no_grad()
def _make_orthogonal(weight: Tensor, gain: float) -> None:
    """Draw a (semi-)orthogonal matrix from torch's generator, by NumPy's decomposition.

    A matrix without content, of a network whose weights come from a file, stays so.
    """
    if weight.is_meta:
        return
    rows, columns = weight.shape
    drawn = torch.empty(max(rows, columns), min(rows, columns)).normal_().double().numpy()
    q, r = np.linalg.qr(drawn)
    q *= np.sign(np.diag(r))
    weight.copy_(torch.from_numpy(gain * (q if rows >= columns else q.T)))


class Normalizer(nn.Module):
    """Standardises observations by fixed statistics, clips to +-5 and zeroes constant features."""

    mean: Tensor
    scale: Tensor

    def __init__(self, size: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(size))
        self.register_buffer("scale", torch.ones(size))

    def fit(
        self,
        observations: np.ndarray,
        floor: float | np.ndarray = 1e-3,
        constant: float = 1e-5,
    ) -> None:
        """Take mean and standard deviation from data.

        Args:
            observations: (n, size).
            floor: smallest standard deviation that is divided by, for all features or each.
            constant: a feature whose standard deviation is below this says nothing and is zeroed.
        """
        std = observations.std(axis=0, dtype=np.float64)
        scale = np.where(std < constant, 0.0, 1 / np.maximum(std, floor))
        self.mean.copy_(torch.from_numpy(observations.mean(axis=0, dtype=np.float64)))
        self.scale.copy_(torch.from_numpy(scale))

    def forward(self, observations: Tensor) -> Tensor:
        """Normalise. Shape: (n, size)."""
        normal = (observations - self.mean) * self.scale
        return normal.clamp(-OBSERVATION_CLIP, OBSERVATION_CLIP)
