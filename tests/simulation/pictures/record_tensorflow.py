"""Records what TensorFlow makes of a picture, for `test_images.py` to compare with."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

SIZE = 224


def resize(picture: np.ndarray) -> np.ndarray:
    """Resize with the antialiased Lanczos kernel, as OpenVLA's script."""
    resized = tf.image.resize(picture, (SIZE, SIZE), method="lanczos3", antialias=True)
    return tf.cast(tf.clip_by_value(tf.round(resized), 0, 255), tf.uint8).numpy()


def crop(picture: np.ndarray, area: float = 0.9) -> np.ndarray:
    """Crop the centre and enlarge it, as OpenVLA's script."""
    values = tf.image.convert_image_dtype(picture, tf.float32)[None]
    side = tf.reshape(tf.sqrt(area), (1,))
    start = (1 - side) / 2
    box = tf.stack([start, start, start + side, start + side], axis=1)
    cropped = tf.clip_by_value(tf.image.crop_and_resize(values, box, [0], (SIZE, SIZE))[0], 0, 1)
    return tf.image.convert_image_dtype(cropped, tf.uint8, saturate=True).numpy()


def jpeg(picture: np.ndarray) -> np.ndarray:
    """Encode and decode, as OpenVLA's script."""
    encoded = tf.io.encode_jpeg(picture)
    return tf.io.decode_image(encoded, expand_animations=False, dtype=tf.uint8).numpy()


def main() -> None:
    """Write `tensorflow_pictures.npz` beside this file."""
    folder = Path(__file__).parent
    spec = importlib.util.spec_from_file_location("test_images", folder / "test_images.py")
    assert spec is not None and spec.loader is not None
    module: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    picture = module.picture()
    lanczos = resize(picture)
    np.savez_compressed(
        folder / "tensorflow_pictures.npz",
        jpeg=jpeg(picture),
        lanczos=lanczos,
        crop=crop(lanczos),
        openvla=crop(resize(jpeg(np.ascontiguousarray(picture[::-1, ::-1])))),
    )


if __name__ == "__main__":
    main()
