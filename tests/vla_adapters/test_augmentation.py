"""Augmentation against `tf.image`, and what is drawn."""

from __future__ import annotations

import numpy as np

from vla_adapters.augmentation import Augmentation, Change


def test_pictures_are_tensorflow_s(tensorflow_side):
    for change, expected in zip(tensorflow_side.changes, tensorflow_side.augmented, strict=True):
        found = change(tensorflow_side.source)
        difference = np.abs(found.astype(int) - expected)
        assert difference.max() <= 1
        assert (difference > 0).mean() < 1e-3


def test_no_change_leaves_the_picture():
    picture = np.random.default_rng(0).integers(0, 256, (9, 7, 3), np.uint8)
    assert np.array_equal(Change(0, 1, 0, 1, 1, 0)(picture), picture)


def test_draws_fill_openvla_s_ranges():
    generator, augmentation = np.random.default_rng(1), Augmentation()
    draws = [augmentation.draw(generator) for _ in range(2000)]
    side = np.sqrt(0.9)
    assert {change.side for change in draws} == {side}
    for name, low, high in (
        ("offset", 0, 1 - side),
        ("brightness", -0.2, 0.2),
        ("contrast", 0.8, 1.2),
        ("saturation", 0.8, 1.2),
        ("hue", -0.05, 0.05),
    ):
        values = np.array([getattr(change, name) for change in draws])
        edge = (high - low) / 100
        assert low <= values.min() < low + edge
        assert high - edge < values.max() <= high


def test_the_generator_decides():
    picture = np.random.default_rng(0).integers(0, 256, (16, 16, 3), np.uint8)
    one, other, third = (Augmentation()(picture, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert np.array_equal(one, other)
    assert not np.array_equal(one, third)
