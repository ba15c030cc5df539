"""The critics of PPO: V(s, z, t) within the range of the reward's returns, or without bounds."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, mse_loss

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

    def adapt(self, returns: Tensor) -> None:
        """Do nothing: the range of returns is known."""

    def values(self, features: Tensor, time: Tensor) -> Tensor:
        """Return V (n,)."""
        return self._low + self._span * torch.sigmoid(self(features, time))

    def loss(self, features: Tensor, time: Tensor, returns: Tensor) -> Tensor:
        """Return the mean cross-entropy to returns (n,), as shares of the range."""
        share = ((returns - self._low) / self._span).clamp(0, 1)
        return binary_cross_entropy_with_logits(self(features, time), share)


class UnboundedCritic(Critic):
    """V(s, z, t) = centre + spread x output, of a reward whose returns have no known range.

    Centre and spread are those of the first returns that it sees; they only set its scale.

    Args:
        features: size of the policy's features.
        hidden: widths of the hidden layers.
    """

    centre: Tensor
    spread: Tensor

    def __init__(self, features: int, hidden: Sequence[int]) -> None:
        super().__init__(features, hidden, (0.0, 1.0))
        self.register_buffer("centre", torch.zeros(()))
        self.register_buffer("spread", torch.zeros(()))

    def adapt(self, returns: Tensor) -> None:
        """Take the scale from returns (n,), unless it has one."""
        if self.spread == 0:
            self.centre.copy_(returns.mean())
            self.spread.copy_(returns.std().clamp_min(LEAST_SPREAD))

    def values(self, features: Tensor, time: Tensor) -> Tensor:
        """Return V (n,)."""
        return self.centre + self.spread * self(features, time)

    def loss(self, features: Tensor, time: Tensor, returns: Tensor) -> Tensor:
        """Return the mean squared error to returns (n,), in units of their first spread."""
        return mse_loss(self(features, time), (returns - self.centre) / self.spread)


LEAST_SPREAD = 0.1
"""Of returns that are all alike."""


def make_critic(features: int, hidden: Sequence[int], bounds: tuple[float, float] | None) -> Critic:
    """Return a critic for returns within bounds, or for any returns."""
    if bounds is None:
        return UnboundedCritic(features, hidden)
    return Critic(features, hidden, bounds)
