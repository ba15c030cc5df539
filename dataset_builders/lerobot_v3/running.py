"""Statistics of vectors that come part by part, with bounded memory."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from dataset_builders.lerobot_v3.statistics import QUANTILES, Summary

_MOST_ROWS = 2_000_000
"""Rows that are kept for the quantiles: 128 MB of a state."""


class Running:
    """Mean, deviation and range of all rows; quantiles of all, or of every 2nd, 4th, ... row.

    Args:
        most: rows to keep at most.
    """

    def __init__(self, most: int = _MOST_ROWS) -> None:
        self._most, self._stride, self._count = most, 1, 0
        self._kept: list[npt.NDArray[np.float64]] = []
        self._mean: Any = 0.0
        self._squares: Any = 0.0
        self._low: Any = np.inf
        self._high: Any = -np.inf

    def add(self, rows: npt.NDArray[Any]) -> None:
        """Take in rows, (count, dim)."""
        exact = rows.astype(np.float64)
        count, mean = len(exact), exact.mean(axis=0)
        shift, total = mean - self._mean, self._count + len(exact)
        inner = ((exact - mean) ** 2).sum(axis=0)
        self._squares = self._squares + inner + shift**2 * self._count * count / total
        self._mean = self._mean + shift * count / total
        self._low = np.minimum(self._low, exact.min(axis=0))
        self._high = np.maximum(self._high, exact.max(axis=0))
        first = -self._count % self._stride
        self._kept.append(exact[first :: self._stride])
        self._count = total
        while sum(map(len, self._kept)) > self._most:
            self._kept = [np.concatenate(self._kept)[::2]]
            self._stride *= 2

    def summary(self) -> Summary:
        """Return the statistics in LeRobot's form."""
        kept = np.concatenate(self._kept)
        return {
            "min": self._low.tolist(),
            "max": self._high.tolist(),
            "mean": self._mean.tolist(),
            "std": np.sqrt(self._squares / self._count).tolist(),
            "count": [self._count],
            **{name: np.quantile(kept, q, axis=0).tolist() for name, q in QUANTILES.items()},
        }
