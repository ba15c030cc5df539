"""What an episode must hold: flags, rewards, numbers, pictures, and its own digest."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image, UnidentifiedImageError

from dataset_builders.digests import CONTENT, content_digest
from dataset_builders.features import METADATA, OBSERVATION, STEPS, Feature
from dataset_builders.parts import numbers


def episode_faults(episode: Mapping[str, Any], features: Mapping[str, Feature]) -> list[str]:
    """Return what is wrong with one episode, in words; empty if nothing is.

    Args:
        episode: `steps`, a list with pictures as JPEG bytes, and `episode_metadata`.
        features: name -> feature, as `features.all_features` returns them.
    """
    steps, metadata = episode[STEPS], episode[METADATA]
    last, success = len(steps) - 1, bool(metadata["success"])
    expected: dict[str, list[Any]] = {
        "is_first": [t == 0 for t in range(len(steps))],
        "is_last": [t == last for t in range(len(steps))],
        "is_terminal": [t == last and success for t in range(len(steps))],
        "reward": [float(t == last and success) for t in range(len(steps))],
        "discount": [1.0] * len(steps),
    }
    faults = []
    for name, values in expected.items():
        wrong = [t for t, step in enumerate(steps) if step[name] != values[t]]
        if wrong:
            t = wrong[0]
            faults.append(
                f"{name} is {steps[t][name]} at step {t} of {len(steps)}, not {values[t]}"
            )
    arrays = numbers(steps)
    if not all(np.isfinite(array).all() for array in arrays):
        faults.append("holds NaN or infinity")
    elif np.abs(arrays[0]).max() > 1:
        faults.append("holds actions outside [-1, 1]")
    if content_digest(episode) != metadata[CONTENT]:
        faults.append("does not match its content digest")
    return faults + _encoding_faults(steps, features)


def decode_picture(content: bytes) -> np.ndarray:
    """Return a stored JPEG's picture, uint8 (H, W, 3).

    Raises:
        ValueError: it is no JPEG.
    """
    try:
        return np.asarray(Image.open(io.BytesIO(content), formats=["JPEG"]))
    except (UnidentifiedImageError, Image.DecompressionBombError, OSError) as error:
        raise ValueError("it is no JPEG") from error


def _encoding_faults(
    steps: Sequence[Mapping[str, Any]], features: Mapping[str, Feature]
) -> list[str]:
    """Return faults of the first and last step's pictures: format and size."""
    faults = []
    for t in sorted({0, len(steps) - 1}):
        for name, content in steps[t]["observation"].items():
            if not isinstance(content, bytes):
                continue
            wanted = features[f"{STEPS}/{OBSERVATION}{name}"].shape
            try:
                shape = decode_picture(content).shape
            except ValueError as error:
                faults.append(f"{name} at step {t}: {error}")
                continue
            if shape != wanted:
                faults.append(f"{name} at step {t} has shape {shape}, not {wanted}")
    return faults


def orientation_of(stored: np.ndarray, upright: np.ndarray) -> tuple[str, float]:
    """Return how a stored picture lies relative to the upright one, and how well it fits.

    Args:
        stored: uint8 (H, W, 3).
        upright: the same view, upright and unmirrored, uint8 (H, W, 3).

    Returns:
        `rotated` (the dataset's convention: the raw picture rotated by 180 degrees), `raw`
        (upside down, as the simulator gives it), `upright` or `upright rotated`; and the mean
        absolute difference of 255.
    """
    from dataset_builders.episodes import to_stored

    candidates = {
        "rotated": to_stored(upright),
        "raw": upright[::-1],
        "upright": upright,
        "upright rotated": upright[::-1, ::-1],
    }
    errors = {
        name: float(np.abs(stored.astype(np.int16) - picture).mean())
        for name, picture in candidates.items()
    }
    best = min(errors, key=lambda name: errors[name])
    return best, errors[best]
