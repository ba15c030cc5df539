"""What a policy that trains its encoder keeps of a step: one row of bytes, and never floats."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

PROPRIO = 8
"""Proprioceptive numbers of a step."""


def pack(pictures: np.ndarray, proprio: np.ndarray) -> np.ndarray:
    """Return rows of bytes: pictures (n, cameras, H, W, 3), and (n, 8) proprioception, float32."""
    numbers = np.ascontiguousarray(proprio, dtype=np.float32).view(np.uint8)
    return np.concatenate([pictures.reshape(len(pictures), -1), numbers], axis=1)


def unpack(rows: Tensor, cameras: int, size: int) -> tuple[Tensor, Tensor]:
    """Undo `pack`: return pictures (n, cameras, size, size, 3) uint8 and (n, 8) float32."""
    end = cameras * size**2 * 3
    part = rows[:, end : end + 4 * PROPRIO]
    numbers = part.clone(memory_format=torch.contiguous_format).view(torch.float32)
    return rows[:, :end].reshape(len(rows), cameras, size, size, 3), numbers
