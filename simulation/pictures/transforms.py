"""What is done to a picture before a policy sees it, in evaluation and in training alike.

The originals do this with TensorFlow (OpenVLA, OpenVLA-OFT) or Pillow (openpi). Nothing here needs
TensorFlow, and the pixels are its own: the JPEG round trip (TensorFlow 2.21 decodes with the fast,
less accurate DCT) and the crop exactly, the Lanczos kernel but for ties of rounding: one value
in 30,000 of a photograph's, by 1.
"""

from __future__ import annotations

import functools
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numba
import numpy as np
import numpy.typing as npt
import simplejpeg
from PIL import Image

Picture = npt.NDArray[np.uint8]
"""(H, W, 3), RGB."""


@dataclass(frozen=True)
class Rotate180:
    """Reverse rows and columns: LIBERO's pictures are upside down, the policies' are mirrored."""

    name: ClassVar[str] = "rotate_180"

    def __call__(self, picture: Picture) -> Picture:
        """Return the turned picture, of the same shape."""
        return picture[::-1, ::-1]


@dataclass(frozen=True)
class Jpeg:
    """Encode as JPEG with halved chroma and decode again, as RLDS datasets store pictures."""

    quality: int = 95
    """TensorFlow's default."""
    name: ClassVar[str] = "jpeg"

    def __call__(self, picture: Picture) -> Picture:
        """Return the decoded picture, of the same shape."""
        stream = io.BytesIO()
        Image.fromarray(np.ascontiguousarray(picture)).save(
            stream, "JPEG", quality=self.quality, subsampling="4:2:0"
        )
        return simplejpeg.decode_jpeg(stream.getvalue(), fastdct=True, fastupsample=False)


@dataclass(frozen=True)
class Lanczos3:
    """Resize to a square with the antialiased Lanczos kernel of radius 3, as `tf.image.resize`."""

    size: int = 224
    """Side of the result, pixels."""
    name: ClassVar[str] = "lanczos3"

    def __call__(self, picture: Picture) -> Picture:
        """Return the resized picture, (size, size, 3), rounded half to even."""
        height, width = picture.shape[:2]
        result = np.empty((self.size, self.size, 3), np.uint8)
        down, across = _lanczos_weights(height, self.size), _lanczos_weights(width, self.size)
        _gather(np.ascontiguousarray(picture), *down, *across, result)
        return result


@dataclass(frozen=True)
class CentreCrop:
    """Cut out the centre and enlarge it bilinearly, as `tf.image.crop_and_resize`."""

    area: float = 0.9
    """Share of the picture's area that is kept."""
    size: int = 224
    """Side of the result, pixels."""
    name: ClassVar[str] = "centre_crop"

    def __call__(self, picture: Picture) -> Picture:
        """Return the cropped picture, (size, size, 3)."""
        rows = _crop_positions(picture.shape[0], self.area, self.size)
        columns = _crop_positions(picture.shape[1], self.area, self.size)
        result = np.empty((self.size, self.size, 3), np.uint8)
        _interpolate(np.ascontiguousarray(picture), rows, columns, result)
        return result


@dataclass(frozen=True)
class ResizeWithPad:
    """Resize bilinearly into a square without distortion and pad with black, as openpi does."""

    size: int = 224
    """Side of the result, pixels."""
    name: ClassVar[str] = "resize_with_pad"

    def __call__(self, picture: Picture) -> Picture:
        """Return the resized picture, (size, size, 3)."""
        height, width = picture.shape[:2]
        if (height, width) == (self.size, self.size):
            return picture
        ratio = max(height, width) / self.size
        inner = (int(width / ratio), int(height / ratio))
        image = Image.fromarray(np.ascontiguousarray(picture))
        resized = image.resize(inner, Image.Resampling.BILINEAR)
        canvas = Image.new("RGB", (self.size, self.size), 0)
        canvas.paste(resized, ((self.size - inner[0]) // 2, (self.size - inner[1]) // 2))
        return np.asarray(canvas)


@dataclass(frozen=True)
class Bicubic:
    """Resize to a square with Pillow's antialiased bicubic kernel, as OpenVLA's processor does."""

    size: int = 224
    """Side of the result, pixels."""
    name: ClassVar[str] = "bicubic"

    def __call__(self, picture: Picture) -> Picture:
        """Return the resized picture, (size, size, 3)."""
        if picture.shape[:2] == (self.size, self.size):
            return picture
        image = Image.fromarray(np.ascontiguousarray(picture))
        return np.asarray(image.resize((self.size, self.size), Image.Resampling.BICUBIC))


Step = Rotate180 | Jpeg | Lanczos3 | CentreCrop | ResizeWithPad | Bicubic
"""One step of a picture's way: a function of the picture alone."""


def prepare(picture: Picture, steps: Sequence[Step]) -> Picture:
    """Return what a policy sees.

    Args:
        picture: LIBERO's own array, uint8 (H, W, 3): the first row is the lowest.
        steps: a protocol's `picture_steps`, applied in order.
    """
    for step in steps:
        picture = step(picture)
    return np.ascontiguousarray(picture)


def describe(step: Step) -> dict[str, Any]:
    """Return a step as JSON can hold it."""
    return {"step": step.name, **vars(step)}


@functools.cache
def _lanczos_weights(
    size_in: int, size_out: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]:
    """Return, for each output pixel, the first input pixel that counts and all weights.

    Shapes: (size_out,), (size_out, taps); weights beyond the picture's edge are 0.
    """
    inverse = size_in / size_out
    stretch = max(inverse, 1.0)
    centres = (np.arange(size_out, dtype=np.float32) + np.float32(0.5)) * np.float32(inverse)
    centres = centres.astype(np.float64)
    first = np.maximum(np.ceil(centres - 3 * stretch - 0.5), 0).astype(np.int64)
    taps = min(2 * math.ceil(3 * stretch) + 1, size_in)
    inputs = first[:, None] + np.arange(taps)
    distance = np.abs(inputs + 0.5 - centres[:, None]) / stretch
    angle = np.maximum(distance, 1e-3) * math.pi
    kernel = 3 * np.sin(angle) * np.sin(angle / 3) / angle**2
    kernel = np.where(distance <= 1e-3, 1.0, kernel)
    kernel[(distance > 3) | (inputs >= size_in)] = 0.0
    return first, (kernel / kernel.sum(axis=1, keepdims=True)).astype(np.float32)


@numba.njit(nogil=True, cache=True)
def _gather(picture, first_rows, row_weights, first_columns, column_weights, result):  # type: ignore[no-untyped-def]
    """Write the weighted sums over rows, then over columns, to `result`."""
    height, width = picture.shape[0], picture.shape[1]
    line = np.empty((width, 3), np.float32)
    for y in range(result.shape[0]):
        line[:] = 0
        for tap in range(row_weights.shape[1]):
            row, weight = first_rows[y] + tap, row_weights[y, tap]
            if row < height and weight != 0:
                for x in range(width):
                    for channel in range(3):
                        line[x, channel] += np.float32(picture[row, x, channel]) * weight
        for x in range(result.shape[1]):
            for channel in range(3):
                total = np.float32(0)
                for tap in range(column_weights.shape[1]):
                    column = first_columns[x] + tap
                    if column < width:
                        total += line[column, channel] * column_weights[x, tap]
                result[y, x, channel] = np.uint8(min(max(np.rint(total), 0), 255))


@functools.cache
def _crop_positions(size_in: int, area: float, size_out: int) -> npt.NDArray[np.float32]:
    """Return where in the input each output row or column lies, pixels. Shape: (size_out,)."""
    one = np.float32
    kept = np.sqrt(one(area))
    start = (one(1) - kept) / one(2)
    end = start + kept
    pace = (end - start) * one(size_in - 1) / one(size_out - 1)
    return start * one(size_in - 1) + np.arange(size_out, dtype=np.float32) * pace


@numba.njit(nogil=True, cache=True)
def _interpolate(picture, rows, columns, result):  # type: ignore[no-untyped-def]
    """Write the picture's bilinear values at rows x columns to `result`."""
    unit = np.float32(1 / 255)
    for y in range(len(rows)):
        top, bottom = int(np.floor(rows[y])), int(np.ceil(rows[y]))
        down = rows[y] - np.float32(top)
        for x in range(len(columns)):
            left, right = int(np.floor(columns[x])), int(np.ceil(columns[x]))
            across = columns[x] - np.float32(left)
            for channel in range(3):
                a = np.float32(picture[top, left, channel]) * unit
                b = np.float32(picture[top, right, channel]) * unit
                c = np.float32(picture[bottom, left, channel]) * unit
                d = np.float32(picture[bottom, right, channel]) * unit
                upper, lower = a + (b - a) * across, c + (d - c) * across
                value = upper + (lower - upper) * down
                value = min(max(value, np.float32(0)), np.float32(1))
                result[y, x, channel] = np.uint8(min(value * np.float32(255.5), np.float32(255)))
