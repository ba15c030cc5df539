"""OpenVLA's image augmentation, seeded: a random crop, then brightness, contrast, colour.

The operations, their order and their numbers are those of OpenVLA's training (`image_aug` in
`prismatic/vla/datasets/datasets.py`, run by dlimp's `augment_image`): in float32 within [0, 1],
clipped after each, as `tf.image` does them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numba
import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class Augmentation:
    """Changes pictures at random, by so much at most; the defaults are OpenVLA's."""

    crop_area: float = 0.9
    """Share of the picture's area that the crop keeps; its aspect ratio is the picture's."""
    brightness: float = 0.2
    """Greatest amount that is added to all values, or taken off."""
    contrast: tuple[float, float] = (0.8, 1.2)
    """Least and greatest factor of the distance to the channel's mean."""
    saturation: tuple[float, float] = (0.8, 1.2)
    """Least and greatest factor of the saturation in HSV."""
    hue: float = 0.05
    """Greatest turn of the hue in HSV to either side, as a share of the whole circle."""

    def __call__(
        self, picture: npt.NDArray[np.uint8], generator: np.random.Generator
    ) -> npt.NDArray[np.uint8]:
        """Return a picture changed at random, uint8 (H, W, 3), RGB."""
        return self.draw(generator)(picture)

    def draw(self, generator: np.random.Generator) -> Change:
        """Return a change, drawn uniformly."""
        side = float(np.sqrt(self.crop_area))
        offset, brightness, contrast, saturation, hue = generator.uniform(
            (0, -self.brightness, self.contrast[0], self.saturation[0], -self.hue),
            (1 - side, self.brightness, self.contrast[1], self.saturation[1], self.hue),
        )
        return Change(offset, side, brightness, contrast, saturation, hue)


@dataclass(frozen=True)
class Change:
    """What is done to one picture."""

    offset: float
    """Where the crop begins, share of the side, the same downwards and across: dlimp draws both
    from one seed, so its crops lie on the diagonal."""
    side: float
    """Side of the crop, share of the picture's."""
    brightness: float
    """Added to all values."""
    contrast: float
    """Factor of the distance to the channel's mean."""
    saturation: float
    """Factor of the saturation."""
    hue: float
    """Turn of the hue, share of the circle."""

    def __call__(self, picture: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """Return the changed picture, uint8 of the same shape (H, W, 3)."""
        rows, columns = (_positions(size, self) for size in picture.shape[:2])
        values = np.empty(picture.shape, np.float32)
        means = _crop(
            np.ascontiguousarray(picture), rows, columns, np.float32(self.brightness), values
        )
        result = np.empty(picture.shape, np.uint8)
        factors = np.array([self.contrast, self.saturation, self.hue], np.float32)
        _colour(values, means, *factors, result)
        return result


def _positions(size: int, change: Change) -> npt.NDArray[np.float32]:
    """Return where in the picture each row or column of the result lies, pixels. Shape: (size,)."""
    start, end = np.float32(change.offset), np.float32(change.offset + change.side)
    pace = (end - start) * np.float32(size - 1) / np.float32(max(size - 1, 1))
    return start * np.float32(size - 1) + np.arange(size, dtype=np.float32) * pace


@numba.njit(nogil=True, cache=True)
def _crop(picture, rows, columns, brightness, values):  # type: ignore[no-untyped-def]
    """Write the brightened bilinear values at rows x columns; return each channel's mean."""
    unit, zero, one = np.float32(1 / 255), np.float32(0), np.float32(1)
    height, width = picture.shape[0], picture.shape[1]
    sums = np.zeros(3)
    for y in range(len(rows)):
        top = min(int(rows[y]), height - 1)
        bottom = min(top + 1, height - 1)
        down = rows[y] - np.float32(top)
        for x in range(len(columns)):
            left = min(int(columns[x]), width - 1)
            right = min(left + 1, width - 1)
            across = columns[x] - np.float32(left)
            for channel in range(3):
                a = np.float32(picture[top, left, channel]) * unit
                b = np.float32(picture[top, right, channel]) * unit
                c = np.float32(picture[bottom, left, channel]) * unit
                d = np.float32(picture[bottom, right, channel]) * unit
                upper, lower = a + (b - a) * across, c + (d - c) * across
                value = min(max(upper + (lower - upper) * down, zero), one)
                value = min(max(value + brightness, zero), one)
                values[y, x, channel] = value
                sums[channel] += value
    return (sums / (len(rows) * len(columns))).astype(np.float32)


@numba.njit(nogil=True, cache=True)
def _colour(values, means, contrast, saturation, hue, result):  # type: ignore[no-untyped-def]
    """Write the values with their contrast, saturation and hue changed, as bytes."""
    zero, one = np.float32(0), np.float32(1)
    for y in range(values.shape[0]):
        for x in range(values.shape[1]):
            red = min(max((values[y, x, 0] - means[0]) * contrast + means[0], zero), one)
            green = min(max((values[y, x, 1] - means[1]) * contrast + means[1], zero), one)
            blue = min(max((values[y, x, 2] - means[2]) * contrast + means[2], zero), one)
            value = max(red, green, blue)
            spread = value - min(red, green, blue)
            sector = zero
            if spread > zero:
                if value == red:
                    sector = (green - blue) / spread
                elif value == green:
                    sector = (blue - red) / spread + np.float32(2)
                else:
                    sector = (red - green) / spread + np.float32(4)
                spread = min(spread / value * saturation, one) * value
            sector += hue * np.float32(6)
            for channel in range(3):
                phase = sector + np.float32(5 - 2 * channel)
                phase -= np.float32(6) * np.floor(phase / np.float32(6))
                share = min(max(min(phase, np.float32(4) - phase), zero), one)
                level = value - spread * share
                result[y, x, channel] = np.uint8(min(level * np.float32(255.5), np.float32(255)))
