"""The critic of PPO: V(s, z, t) within the range of the reward's returns."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from generator.networks import mlp


class Critic(nn.Module):
    """V(s, z, t) = low + (high - low) sigmoid(logit): no return lies outside the range.

    Args:
        features: size of the policy's features.
        hidden: widths of the hidden layers.
        bounds: least and largest discounted return.
    """

    def __init__(self, features: int, hidden: Sequence[int], bounds: tuple[float, float]) -> None:
        super().__init__()
        self._low, self._span = bounds[0], bounds[1] - bounds[0]
        self.network = mlp(features + 1, hidden, 1)

    def forward(self, features: Tensor, time: Tensor) -> Tensor:
        """Return logits (n,) from the policy's features (n, F) and time / horizon (n,)."""
        return self.network(torch.cat([features, time[:, None] * 2 - 1], dim=-1))[:, 0]

    def values(self, features: Tensor, time: Tensor) -> Tensor:
        """Return V (n,)."""
        return self._low + self._span * torch.sigmoid(self(features, time))

    def loss(self, features: Tensor, time: Tensor, returns: Tensor) -> Tensor:
        """Return the mean cross-entropy to returns (n,), as shares of the range."""
        share = ((returns - self._low) / self._span).clamp(0, 1)
        return binary_cross_entropy_with_logits(self(features, time), share)
