"""The noise axis: what a worse camera, a dirty lens, motion or a bad link makes of a picture."""

from __future__ import annotations

import functools
import hashlib
import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import simplejpeg
from PIL import Image, ImageFilter

from eval_harness.perturbations.base import Perturbation, Picture
from simulation.tasks import Task

_KEPT = 64
"""Cameras of episodes under way whose fog or glass is kept rather than drawn anew."""


@dataclass(frozen=True)
class Noise(Perturbation):
    """Spoils pictures in one of seven ways, which the episode's seed chooses.

    Sensor noise is drawn anew for each picture; what a lens, a haze or a link does stays as it is
    for the whole episode. Lengths are shares of the picture's height.
    """

    axis: ClassVar[str] = "noise"
    sensor: float = 0.3
    """Standard deviation of sensor noise, share of white, half of it grows with brightness."""
    blur: float = 0.02
    """Standard deviation of the blur."""
    motion: float = 0.12
    """Length of the motion blur."""
    fog: float = 0.85
    """Share of fog, thicker in the upper half."""
    glass: float = 0.03
    """Reach of the glass, within which pixels change places."""
    jpeg: float = 0.97
    """Loss of quality: JPEG's quality is 100 less 100 times this, at least 3."""
    exposure: float = 2.5
    """Stops under or over."""

    def draw(self, task: Task, seed: int) -> tuple[str, float]:
        """Return an episode's kind of noise, and how much of its range."""
        rng = self.draws(task, seed)
        kind = tuple(KINDS)[int(rng.integers(len(KINDS)))]
        return kind, self.amount(rng) if self.active else 0.0

    def picture(self, picture: Picture, task: Task, seed: int, step: int, camera: str) -> Picture:
        """Return the spoilt picture."""
        if not self.active:
            return picture
        kind, amount = self.draw(task, seed)
        return self.spoil(picture, kind, amount, _seeds(task, seed, camera), step)

    def spoil(
        self, picture: Picture, kind: str, amount: float, seed: int, step: int = 0
    ) -> Picture:
        """Return a picture spoilt in one way.

        Args:
            picture: uint8 (H, W, 3).
            kind: one of `KINDS`.
            amount: how much of the kind's range, 0..1.
            seed: what stays for an episode's pictures is drawn from it.
            step: what is drawn for each picture is drawn from both.
        """
        most = getattr(self, kind)
        return KINDS[kind](np.ascontiguousarray(picture), most * amount, seed, step)


def _sensor(picture: Picture, deviation: float, seed: int, step: int) -> Picture:
    rng = np.random.default_rng((seed, step))
    grain = rng.standard_normal(picture.shape, dtype=np.float32)
    light = picture.astype(np.float32)
    grain *= np.float32(deviation) * (np.float32(127.5) + light / 2)
    grain += light
    return np.clip(grain, 0, 255, out=grain).astype(np.uint8)


def _blur(picture: Picture, deviation: float, seed: int, step: int) -> Picture:
    image = Image.fromarray(picture)
    return np.asarray(image.filter(ImageFilter.GaussianBlur(deviation * picture.shape[0])))


def _motion(picture: Picture, length: float, seed: int, step: int) -> Picture:
    """Average the picture along a line of an angle that is the episode's."""
    angle = np.random.default_rng(seed).uniform(0, np.pi)
    count = max(2, round(length * picture.shape[0]))
    along = np.arange(count) - (count - 1) // 2
    total = np.zeros(picture.shape, np.uint32)
    height, width = picture.shape[:2]
    rows = np.rint(along * np.sin(angle)).astype(int)
    columns = np.rint(along * np.cos(angle)).astype(int)
    reach = count
    wide = np.pad(picture, ((reach, reach), (reach, reach), (0, 0)), mode="edge")
    for row, column in zip(rows + reach, columns + reach, strict=True):
        total += wide[row : row + height, column : column + width]
    return (total // count).astype(np.uint8)


def _fog(picture: Picture, share: float, seed: int, step: int) -> Picture:
    """Blend with light grey: a smooth haze that is thicker at the top (the last row)."""
    light = picture.astype(np.float32)
    mist = np.float32(share) * _haze(*picture.shape[:2], seed)
    return (light + mist[..., None] * (np.float32(225) - light)).astype(np.uint8)


@functools.lru_cache(maxsize=_KEPT)
def _haze(height: int, width: int, seed: int) -> npt.NDArray[np.float32]:
    """Return how thick an episode's fog is where, 0..1, (height, width)."""
    clouds = Image.fromarray(np.random.default_rng(seed).integers(0, 256, (6, 6), np.uint8))
    haze = np.asarray(clouds.resize((width, height), Image.Resampling.BICUBIC), np.float32) / 255
    upward = np.linspace(0.55, 1.0, height, dtype=np.float32)[:, None]
    thickness = upward * (np.float32(0.7) + np.float32(0.3) * haze)
    return thickness.astype(np.float32)


def _glass(picture: Picture, reach: float, seed: int, step: int) -> Picture:
    """Take each pixel from a place nearby, the same for all of the episode's pictures."""
    height, width = picture.shape[:2]
    places = _places(height, width, reach * height, seed)
    return picture.reshape(-1, 3).take(places, axis=0).reshape(picture.shape)


@functools.lru_cache(maxsize=_KEPT)
def _places(height: int, width: int, pixels: float, seed: int) -> npt.NDArray[np.int32]:
    """Return the pixel, counted row by row, that each is taken from, (height * width,)."""
    jitter = np.random.default_rng(seed).uniform(-pixels, pixels, (2, height, width))
    rows, columns = np.mgrid[:height, :width]
    rows = np.clip(np.rint(rows + jitter[0]), 0, height - 1)
    columns = np.clip(np.rint(columns + jitter[1]), 0, width - 1)
    return (rows * width + columns).astype(np.int32).ravel()


def _jpeg(picture: Picture, loss: float, seed: int, step: int) -> Picture:
    stream = io.BytesIO()
    quality = max(3, round(100 - 100 * loss))
    Image.fromarray(picture).save(stream, "JPEG", quality=quality, subsampling="4:2:0")
    return simplejpeg.decode_jpeg(stream.getvalue(), fastdct=False, fastupsample=False)


def _exposure(picture: Picture, stops: float, seed: int, step: int) -> Picture:
    under = np.random.default_rng(seed).uniform() < 0.5
    factor = 2.0 ** (-stops if under else stops)
    linear = (np.arange(256) / 255) ** 2.2 * factor
    table = np.rint(255 * np.clip(linear, 0, 1) ** (1 / 2.2)).astype(np.uint8)
    return table[picture]


KINDS: dict[str, Callable[[Picture, float, int, int], Picture]] = {
    "sensor": _sensor,
    "blur": _blur,
    "motion": _motion,
    "fog": _fog,
    "glass": _glass,
    "jpeg": _jpeg,
    "exposure": _exposure,
}
"""Ways to spoil a picture, by the field that has their range."""


def _seeds(task: Task, seed: int, camera: str) -> int:
    """Return the seed of one camera's noise in one episode."""
    words = f"{task.key}\0{seed}\0{camera}"
    return int.from_bytes(hashlib.sha256(words.encode()).digest()[:8], "big")
