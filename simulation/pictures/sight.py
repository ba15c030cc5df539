"""What a camera may see, and what lies beside its picture or between the picture's samples."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

_SLACK = 1e-2
"""Width that is added to the pyramid of sight, relative: far more than rounding."""
_SLACK_M = 1e-3
"""The same, m."""
_SLACK_PX = 1 / 32
"""Distance from a sample at which a face may still cover it, pixels: OpenGL rounds to 1/256."""


@dataclass(frozen=True)
class Sight:
    """A camera's pyramid of sight, and its mirror images in what reflects."""

    eyes: np.ndarray
    """Positions, m, world frame, (V, 3): the camera's, then those of its mirror images."""
    axes: np.ndarray
    """Their right, up and backward unit vectors as columns, world frame, (V, 3, 3)."""
    slopes: np.ndarray
    """Half width and half height of the picture at distance 1, (2,)."""
    size: np.ndarray
    """Width and height of the picture, pixels, (2,)."""

    @property
    def pose(self) -> bytes:
        """All of it, to compare."""
        return b"".join(a.tobytes() for a in (self.eyes, self.axes, self.slopes, self.size))

    def may_show(self, points: np.ndarray) -> np.ndarray:
        """Tell which convex hulls of points may be in the picture.

        Args:
            points: world frame, m, (N, P, 3).

        Returns:
            bool (N,), false where all points lie beyond one side of each pyramid.
        """
        return np.any([self._inside(local) for local in self._views(points)], axis=0)

    def may_cover(self, triangles: np.ndarray, samples: np.ndarray) -> np.ndarray:
        """Tell which triangles may cover a sample of a pixel, and so change the picture.

        Args:
            triangles: world frame, m, (N, 3, 3).
            samples: where each pixel is sampled, from its lower left corner, pixels, (S, 2).

        Returns:
            bool (N,), false where each pyramid has them beyond a side, or between the samples.
        """
        covers = np.zeros(len(triangles), bool)
        for local in self._views(triangles):
            inside = np.flatnonzero(self._inside(local))
            depth = -local[inside, :, 2:]
            with np.errstate(divide="ignore", invalid="ignore"):
                pixels = (local[inside, :, :2] / (depth * self.slopes) + 1) / 2 * self.size
            low, high = pixels.min(1) - _SLACK_PX, pixels.max(1) + _SLACK_PX
            hit = (depth < _SLACK_M).any((1, 2))  # so near that perspective does not help
            for sample in samples:
                with np.errstate(invalid="ignore"):
                    hit |= (np.floor(high - sample) >= low - sample).all(1)
            covers[inside] |= hit
        return covers

    def _views(self, points: np.ndarray) -> Iterator[np.ndarray]:
        """Yield points (N, P, 3) in the frame of each eye."""
        for eye, axes in zip(self.eyes, self.axes, strict=True):
            yield (points - eye) @ axes

    def _inside(self, local: np.ndarray) -> np.ndarray:
        depth = -local[..., 2:]
        reach = np.maximum(depth, 0) * self.slopes * (1 + _SLACK) + _SLACK_M
        beyond = (local[..., :2] > reach).all(1) | (local[..., :2] < -reach).all(1)
        return np.asarray(~(beyond.any(1) | (depth[..., 0] < 0).all(1)))
