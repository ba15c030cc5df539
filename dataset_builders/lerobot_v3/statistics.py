"""Statistics in LeRobot's form: of each episode, and of all, with bounded memory.

Vectors are summed up exactly. Of pictures every frame of an episode up to a hundred is taken, as
LeRobot does, and counted into a histogram of each channel, from which all statistics follow
exactly; values are in [0, 1].
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import simplejpeg

QUANTILES = {"q01": 0.01, "q10": 0.1, "q50": 0.5, "q90": 0.9, "q99": 0.99}
"""LeRobot's, by their names."""
MOST_FRAMES = 100
"""Of an episode that its statistics of pictures are of."""
_LEVELS = np.arange(256) / 255

Summary = dict[str, Any]
"""Statistic -> nested list: (dim,) of vectors, (3, 1, 1) of pictures, `count` (1,)."""


def of_vectors(values: npt.NDArray[np.floating[Any]]) -> Summary:
    """Return the statistics of vectors, (count, dim)."""
    exact = values.astype(np.float64)
    return {
        "min": exact.min(axis=0).tolist(),
        "max": exact.max(axis=0).tolist(),
        "mean": exact.mean(axis=0).tolist(),
        "std": exact.std(axis=0).tolist(),
        "count": [len(exact)],
        **{name: np.quantile(exact, q, axis=0).tolist() for name, q in QUANTILES.items()},
    }


def histogram(jpegs: Sequence[bytes]) -> npt.NDArray[np.int64]:
    """Return how often each value occurs in some frames of an episode, (3, 256).

    Raises:
        ValueError: a picture is no whole JPEG.
    """
    frames = np.linspace(0, len(jpegs) - 1, min(len(jpegs), MOST_FRAMES)).round().astype(int)
    counts = np.zeros((3, 256), np.int64)
    for frame in frames:
        picture = simplejpeg.decode_jpeg(jpegs[frame], fastdct=False, fastupsample=False)
        for channel in range(3):
            counts[channel] += np.bincount(picture[..., channel].ravel(), minlength=256)
    return counts


def of_histogram(counts: npt.NDArray[np.int64], frames: int) -> Summary:
    """Return the statistics of pictures whose values were counted, (3, 256), from `frames`."""
    total = counts.sum(axis=1)
    below = counts.cumsum(axis=1)
    mean = counts @ _LEVELS / total
    square = counts @ _LEVELS**2 / total
    found = {
        "min": _LEVELS[(counts > 0).argmax(axis=1)],
        "max": _LEVELS[255 - (counts > 0)[:, ::-1].argmax(axis=1)],
        "mean": mean,
        "std": np.sqrt(np.maximum(square - mean**2, 0)),
    }
    for name, q in QUANTILES.items():
        found[name] = _LEVELS[(below >= q * total[:, None]).argmax(axis=1)]
    summary: Summary = {name: value.reshape(3, 1, 1).tolist() for name, value in found.items()}
    return {**summary, "count": [frames]}


def columns(summaries: Mapping[str, Summary]) -> dict[str, Any]:
    """Return the columns of an episode's row: `stats/<feature>/<statistic>`."""
    return {
        f"stats/{feature}/{name}": value
        for feature, summary in summaries.items()
        for name, value in summary.items()
    }
