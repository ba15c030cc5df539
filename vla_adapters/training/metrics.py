"""Curves of a training: lines of JSON and TensorBoard, both cut back to where it goes on."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from common.errors import one_line
from common.files import append_bytes, write_bytes
from common.json_files import parse_json, whole_lines
from common.scalars import ScalarWriter
from vla_adapters.training.checkpoints import TrainingError

METRICS = "metrics.jsonl"
"""File of a training's folder with a line for each time that numbers were noted."""


class Metrics:
    """Writes numbers of steps.

    Args:
        out: the training's folder.
        step: steps taken; what was noted of later ones is removed.

    Raises:
        TrainingError: a line is damaged.
    """

    def __init__(self, out: Path, step: int) -> None:
        path = out / METRICS
        kept = [line for where, line in whole_lines(path) if _step(line, where) <= step]
        write_bytes(path, b"".join(line + b"\n" for line in kept))
        self._path = path
        self._board = ScalarWriter(out / "tensorboard", step)

    def add(self, step: int, numbers: Mapping[str, Any], group: str = "training") -> None:
        """Note numbers after a step."""
        line = json.dumps({"step": step, **numbers}) + "\n"
        append_bytes(self._path, line.encode(), sync=False)
        for name, value in numbers.items():
            if isinstance(value, (int, float)):
                self._board.add_scalar(f"{group}/{name}", value, step)


def _step(line: bytes, where: str) -> int:
    try:
        return int(parse_json(line)["step"])
    except (ValueError, KeyError, TypeError) as error:
        raise TrainingError(
            f"{where} is no line of numbers ({one_line(error)}): delete that line, which decides "
            "nothing, and go on"
        ) from error
