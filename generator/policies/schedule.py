"""Noise levels of a diffusion over actions, and the steps of the chain that takes it back.

A clean action a_0 at level k of K is sqrt(abar_k) a_0 + sqrt(1 - abar_k) eps. The levels are the
squared cosine's (Nichol and Dhariwal, 2021). One formula gives both samplers (Song et al., 2021,
Eq. 12): DDIM visits a few levels, with eta 0 without noise; with eta 1 and all levels it is DDPM.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np
from torch import Tensor

from common.errors import SettingError

Sampler = Literal["ddim", "ddpm"]
CLIP = 1.2
"""Normalised actions lie in [-1, 1]; an estimate of the clean one is cut a little beyond."""
_FIRST = 0.9
"""Share of the levels at which DDIM begins: above, hardly any signal is left to be scaled up."""
_OFFSET, _LARGEST_BETA = 0.008, 0.999


def signal_shares(levels: int) -> np.ndarray:
    """Return abar_k for k = 0..K. Shape: (K + 1,)."""
    at = (np.arange(levels + 1) / levels + _OFFSET) / (1 + _OFFSET)
    curve = np.cos(at * math.pi / 2) ** 2
    beta = np.minimum(1 - curve[1:] / curve[:-1], _LARGEST_BETA)
    return np.concatenate([[1.0], np.cumprod(1 - beta)])


@dataclass(frozen=True)
class Step:
    """One step of the chain, from a level to a lower one."""

    level: int
    """Level k that it starts from."""
    abar: float
    """Share of signal there."""
    below: float
    """Share of signal where it ends; 1 after the last step."""
    sigma: float
    """Standard deviation of the sampler's own noise; 0 for DDIM with eta 0."""

    def mean(self, noisy: Tensor, eps: Tensor) -> Tensor:
        """Return the mean of the next, less noisy action.

        Args:
            noisy: a_k (n, C, 7), normalised.
            eps: the noise that is seen in it (n, C, 7).
        """
        signal, noise = math.sqrt(self.abar), math.sqrt(1 - self.abar)
        clean = ((noisy - noise * eps) / signal).clamp(-CLIP, CLIP)
        seen = (noisy - signal * clean) / noise
        left = math.sqrt(max(1 - self.below - self.sigma**2, 0.0))
        return math.sqrt(self.below) * clean + left * seen

    @property
    def noise(self) -> float:
        """Standard deviation of all noise at the level where it ends."""
        return math.sqrt(1 - self.below)


def chain(levels: int, sampler: Sampler, acting_steps: int, eta: float) -> list[Step]:
    """Return the steps from the noisiest level to the clean action.

    Args:
        levels: K.
        sampler: `ddpm` visits all levels, `ddim` as many as `acting_steps`.
        acting_steps: of DDIM.
        eta: share of DDPM's noise that DDIM adds.

    Raises:
        SettingError: no step, more than there are levels, or eta outside of 0..1.
    """
    if levels < 1 or not 1 <= acting_steps <= levels or not 0 <= eta <= 1:
        raise SettingError(
            f"a chain of {acting_steps} steps over {levels} noise levels with eta {eta}: give one "
            "step at least and as many as levels at most, and an eta from 0 to 1"
        )
    first = levels if sampler == "ddpm" else max(round(_FIRST * levels), acting_steps)
    count, eta = (levels, 1.0) if sampler == "ddpm" else (acting_steps, eta)
    visited = np.round(np.linspace(first, 0, count + 1)).astype(int).tolist()
    return [_step(signal_shares(levels), a, b, eta) for a, b in pairwise(visited)]


def _step(shares: np.ndarray, level: int, below: int, eta: float) -> Step:
    now, then = float(shares[level]), float(shares[below])
    sigma = eta * math.sqrt((1 - then) / (1 - now)) * math.sqrt(1 - now / then)
    return Step(level, now, then, sigma)
