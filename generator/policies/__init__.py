"""Pattern-conditioned policies pi(a|s,z), one class a file."""

from __future__ import annotations

from generator.policies.chunk import ChunkPolicy
from generator.policies.diffusion import DiffusionPolicy
from generator.policies.gaussian import GaussianPolicy
from generator.policies.network_chunk import NetworkChunkPolicy
from generator.policies.policy import Policy
from generator.policies.residual import ResidualPolicy
from generator.policies.seeing import SeeingPolicy

POLICIES: dict[str, type[Policy]] = {
    "gaussian": GaussianPolicy,
    "chunk": ChunkPolicy,
    "residual": ResidualPolicy,
    "diffusion": DiffusionPolicy,
    "network_chunk": NetworkChunkPolicy,
    "seeing": SeeingPolicy,
}
"""Kind, as checkpoints name it -> class."""
