"""Curves for TensorBoard, without TensorFlow."""

from __future__ import annotations

import sys
import types
from pathlib import Path
from typing import Any


def scalar_writer(folder: Path, step: int) -> Any:
    """Return a TensorBoard writer that drops events from `step` on, left by a killed run."""
    # TensorBoard's own switch against importing TensorFlow, which takes ten seconds.
    sys.modules.setdefault("tensorboard.compat.notf", types.ModuleType("notf"))
    from torch.utils.tensorboard import SummaryWriter

    return SummaryWriter(str(folder), purge_step=step + 1)
