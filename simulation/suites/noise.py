"""The picture noise of LIBERO-Plus's variants, from the numbers in their names.

Ten strengths each of motion blur, Gaussian blur, zoom blur, fog and frosted glass, as ImageNet-C
(Hendrycks and Dietterich, 2019) has them, on the agent's camera alone. LIBERO-Plus draws from a
generator that nobody seeds; here episode and step decide.
"""

from __future__ import annotations

import hashlib

import numpy as np
import numpy.typing as npt
from scipy.ndimage import gaussian_filter, zoom

from simulation.tasks import Task

Picture = npt.NDArray[np.uint8]
"""(H, W, 3), RGB, as LIBERO's arrays are."""
CAMERA = "agentview"
"""The one camera that it spoils."""
STRENGTHS = 10
_MOTION = (
    (5, 2),
    (8, 3),
    (10, 4),
    (12, 5),
    (15, 6),
    (18, 8),
    (20, 10),
    (25, 12),
    (30, 15),
    (35, 20),
)
"""Radius and standard deviation, pixels."""
_ZOOM = (
    (1.11, 0.01), (1.16, 0.01), (1.21, 0.02), (1.26, 0.02), (1.31, 0.03),
    (1.36, 0.01), (1.41, 0.01), (1.46, 0.02), (1.51, 0.02), (1.56, 0.03),
)  # fmt: skip
"""Greatest magnification, and steps to it from 1."""
_FOG = (
    (0.5, 3.0), (1.0, 2.8), (1.5, 2.5), (2.0, 2.2), (2.5, 2.0),
    (3.0, 1.8), (3.5, 1.6), (4.0, 1.5), (4.5, 1.4), (5.0, 1.3),
)  # fmt: skip
"""Thickness, and how fast finer clouds become fainter."""
_GLASS = (
    (0.5, 1, 3), (0.7, 1, 3), (0.9, 2, 3), (1.0, 2, 2), (1.1, 3, 2),
    (1.3, 3, 2), (1.5, 4, 2), (1.8, 4, 2), (2.2, 5, 1), (2.5, 5, 1),
)  # fmt: skip
"""Standard deviation of the blur, reach within which pixels change places, rounds of it; pixels."""


def published_noise(picture: Picture, task: Task, seed: int, step: int, camera: str) -> Picture:
    """Return a picture as a published task's camera gives it.

    Args:
        picture: uint8 (H, W, 3).
        task: the task; LIBERO's own, and those without noise, change nothing.
        seed: the episode's.
        step: of the episode.
        camera: whose picture it is.
    """
    number = task.noise
    if not number or camera != CAMERA:
        return picture
    kinds = (_motion, _gaussian, _zoom, _fog, _glass)
    kind, strength = divmod(number - 1, STRENGTHS)
    words = f"{task.key}\0{seed}\0{step}"
    rng = np.random.default_rng(list(hashlib.sha256(words.encode()).digest()))
    return kinds[kind](np.asarray(picture, np.float64), strength, rng).clip(0, 255).astype(np.uint8)


_Float = npt.NDArray[np.float64]
"""A picture as numbers from 0 to 255."""


def _motion(picture: _Float, strength: int, rng: np.random.Generator) -> _Float:
    """Average along a line to one side, nearer pixels more, at an angle of up to 45 degrees."""
    radius, deviation = _MOTION[strength]
    angle = np.radians(rng.uniform(-45, 45))
    along = np.arange(2 * radius + 1)
    weights = np.exp(-(along**2) / (2.0 * deviation**2))
    columns = np.ceil(along * np.cos(angle) - 0.5).astype(int)
    rows = np.ceil(along * np.sin(angle) - 0.5).astype(int)
    reach, (height, width) = 2 * radius + 1, picture.shape[:2]
    wide = np.pad(picture, ((reach, reach), (reach, reach), (0, 0)), mode="edge")
    total = np.zeros_like(picture)
    for row, column, weight in zip(rows + reach, columns + reach, weights, strict=True):
        total += weight * wide[row : row + height, column : column + width]
    return total / weights.sum()


def _gaussian(picture: _Float, strength: int, rng: np.random.Generator) -> _Float:
    return _blurred(picture, strength + 1.0)


def _zoom(picture: _Float, strength: int, rng: np.random.Generator) -> _Float:
    """Average the picture with itself, magnified more and more."""
    end, step = _ZOOM[strength]
    factors = np.arange(1, end, step)
    total = picture.copy()
    height = picture.shape[0]
    for factor in factors:
        side = int(np.ceil(height / factor))
        top = (height - side) // 2
        part = picture[top : top + side, top : top + side]
        larger = zoom(part, (factor, factor, 1), order=1)
        trim = (larger.shape[0] - height) // 2
        total += larger[trim : trim + height, trim : trim + height]
    return total / (len(factors) + 1)


def _fog(picture: _Float, strength: int, rng: np.random.Generator) -> _Float:
    thickness, decay = _FOG[strength]
    light, (height, width) = picture / 255, picture.shape[:2]
    clouds = _plasma(max(height, width), decay, rng)[:height, :width, None]
    brightest = light.max()
    return (light + thickness * clouds) * brightest / (brightest + thickness) * 255


def _glass(picture: _Float, strength: int, rng: np.random.Generator) -> _Float:
    """Blur, let pixels take the place of others nearby, and blur again."""
    deviation, reach, rounds = _GLASS[strength]
    seen, (height, width) = _blurred(picture, deviation), picture.shape[:2]
    rows, columns = np.mgrid[:height, :width]
    for _ in range(rounds):
        moved = rng.integers(-reach, reach, (2, height, width))
        seen = seen[
            np.clip(rows + moved[0], 0, height - 1), np.clip(columns + moved[1], 0, width - 1)
        ]
    return _blurred(seen, deviation)


def _blurred(picture: _Float, deviation: float) -> _Float:
    return gaussian_filter(picture, (deviation, deviation, 0), mode="nearest")


def _plasma(size: int, decay: float, rng: np.random.Generator) -> _Float:
    """Return clouds by the diamond-square algorithm, 0 to 1, of a power of two not below `size`."""
    side = 1 << (size - 1).bit_length()
    clouds = np.zeros((side, side))
    stride, roughness = side, 100.0
    while stride >= 2:
        half = stride // 2

        def mean(total: _Float, amount: float = roughness) -> _Float:
            return total / 4 + amount * rng.uniform(-amount, amount, total.shape)

        corners = clouds[::stride, ::stride]
        squares = corners + np.roll(corners, -1, axis=0)
        squares = squares + np.roll(squares, -1, axis=1)
        clouds[half::stride, half::stride] = mean(squares)
        middles = clouds[half::stride, half::stride]
        up = middles + np.roll(middles, 1, axis=0) + corners + np.roll(corners, -1, axis=1)
        clouds[::stride, half::stride] = mean(up)
        left = middles + np.roll(middles, 1, axis=1) + corners + np.roll(corners, -1, axis=0)
        clouds[half::stride, ::stride] = mean(left)
        stride, roughness = half, roughness / decay
    clouds -= clouds.min()
    return clouds / clouds.max()
