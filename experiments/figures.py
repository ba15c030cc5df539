"""Figures of the experiments' pages: panels beside each other, as a PNG."""

from __future__ import annotations

import io
import string
import textwrap
from collections.abc import Callable, Sequence
from pathlib import Path

from matplotlib.axes import Axes
from PIL import Image

from common.files import write_bytes
from reports.figures import picture

_WIDTH, _HEIGHT = 340, 300


def write_panels(
    path: Path,
    draws: Sequence[tuple[str, Callable[[Axes], str]]],
    names: Sequence[tuple[str, str]] = (),
    width: int = _WIDTH,
) -> None:
    """Write panels beside each other as a PNG, atomically.

    Args:
        path: the file.
        draws: each panel's title, and what draws it.
        names: of the legend, with their colours.
        width: of a panel, pixels.
    """
    pixels = picture(draws, width * len(draws), _HEIGHT, names)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", optimize=True)
    write_bytes(path, buffer.getvalue())


def short_name(task: str, letters: int) -> str:
    """Return a task's name in words, without its scene, cut where it is longer.

    Args:
        task: the task's key.
        letters: most letters.
    """
    name = task.rpartition("/")[2].lstrip(string.ascii_uppercase + string.digits + "_")
    return textwrap.shorten(name.replace("_", " "), letters, placeholder=" …")
