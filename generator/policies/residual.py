"""A correction, zero at first, of a frozen Gaussian policy (ResiP)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Self

from torch import Tensor, nn

from generator.networks import mlp
from generator.policies.gaussian import ACTIONS, MOTION, ActionDistribution, GaussianPolicy


class ResidualPolicy(GaussianPolicy):
    """A Gaussian policy whose own network is frozen, and a second one that is added to it."""

    def __init__(
        self,
        observation_dim: int,
        patterns: int,
        hidden: Sequence[int],
        correction: Sequence[int] = (256, 256),
    ) -> None:
        """Build; `correction` are the widths of what is added, zero at first."""
        super().__init__(observation_dim, patterns, hidden)
        self.correction_hidden = tuple(correction)
        self.correction = mlp(self.feature_dim, correction, ACTIONS)
        last = self.correction[-1]
        assert isinstance(last, nn.Linear)
        nn.init.zeros_(last.weight)

    @classmethod
    def on(cls, clone: GaussianPolicy) -> Self:
        """Return a policy that acts as `clone` does."""
        policy = cls(clone.observation_dim, clone.patterns, clone.hidden)
        policy.load_state_dict(clone.state_dict(), strict=False)
        return policy

    def architecture(self) -> dict[str, Any]:
        """Return the constructor's arguments, as JSON can hold them."""
        return {**super().architecture(), "correction": list(self.correction_hidden)}

    def requires_grad_(self, requires_grad: bool = True) -> Self:
        """Let the correction alone be trained."""
        super().requires_grad_(False)
        self.correction.requires_grad_(requires_grad)
        return self

    def distribution(
        self, features: Tensor, trace: Mapping[str, Tensor] | None = None
    ) -> ActionDistribution:
        """Return pi(a|s,z): the frozen network's output and the correction, added."""
        output = self.network(features) + self.correction(features)
        return ActionDistribution(output[:, :MOTION], self.log_std, output[:, MOTION])
