"""A Gaussian policy over chunks with a diffusion policy's network, the second paper's baseline."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from generator.policies.chunk import ChunkPolicy
from generator.policies.denoisers import Actions, Kind, make_denoiser


class NetworkChunkPolicy(ChunkPolicy):
    """Distributions of C actions by a U-Net or MLP that would denoise them, asked once."""

    def __init__(
        self,
        observation_dim: int,
        patterns: int,
        network: Kind,
        widths: Sequence[int],
        chunk: int,
    ) -> None:
        """Build with the network of a `DiffusionPolicy` of these arguments."""
        super().__init__(observation_dim, patterns, (), chunk)
        self.kind, self.widths = network, tuple(widths)
        made = make_denoiser(network, self.feature_dim, chunk, widths, levels=0)
        self.network = Actions(made)

    def architecture(self) -> dict[str, Any]:
        """Return the constructor's arguments, as JSON can hold them."""
        return {
            "observation_dim": self.observation_dim,
            "patterns": self.patterns,
            "network": self.kind,
            "widths": list(self.widths),
            "chunk": self.chunk,
        }
