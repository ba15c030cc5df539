"""Curves of a training: lines of JSON and TensorBoard, both cut back to where it goes on."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from common.files import append_bytes, write_text
from common.scalars import ScalarWriter

METRICS = "metrics.jsonl"
"""File of a training's folder with a line for each time that numbers were noted."""


class Metrics:
    """Writes numbers of steps.

    Args:
        out: the training's folder.
        step: steps taken; what was noted of later ones is removed.
    """

    def __init__(self, out: Path, step: int) -> None:
        path = out / METRICS
        kept = [line for line in _lines(path) if json.loads(line)["step"] <= step]
        write_text(path, "".join(f"{line}\n" for line in kept))
        self._path = path
        self._board = ScalarWriter(out / "tensorboard", step)

    def add(self, step: int, numbers: Mapping[str, Any], group: str = "training") -> None:
        """Note numbers after a step."""
        line = json.dumps({"step": step, **numbers}) + "\n"
        append_bytes(self._path, line.encode(), sync=False)
        for name, value in numbers.items():
            if isinstance(value, (int, float)):
                self._board.add_scalar(f"{group}/{name}", value, step)


def _lines(path: Path) -> list[str]:
    """Return the whole lines; one that a kill cut off is not among them."""
    if not path.exists():
        return []
    return [line for line in path.read_text().split("\n")[:-1] if line]
