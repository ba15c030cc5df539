"""Pictures in training beside those that the protocols show of the same scene."""

from __future__ import annotations

import numpy as np
import pytest

from eval_harness.protocols import PROTOCOLS
from simulation.pictures.transforms import (
    CentreCrop,
    Jpeg,
    Lanczos3,
    ResizeWithPad,
    Rotate180,
    prepare,
)
from vla_adapters.augmentation import Augmentation
from vla_adapters.pictures import Pictures

GENERATOR = np.random.default_rng(3)


@pytest.fixture
def raw() -> np.ndarray:
    """LIBERO's array of a scene: edges and gradients, nothing symmetrical."""
    rows, columns = np.mgrid[:256, :256] / 256
    waves = np.stack([230 * rows**1.3, 250 * rows * columns, 90 + 80 * np.sin(9 * columns)], -1)
    waves[60:120, 40:100] = [200, 30, 60]
    return waves.astype(np.uint8)


@pytest.mark.parametrize("name", PROTOCOLS)
def test_a_stored_picture_becomes_what_the_protocol_shows(name, raw):
    steps = PROTOCOLS[name].picture_steps
    stored = Jpeg()(Rotate180()(raw))
    scene = raw if Jpeg() in steps else Rotate180()(stored)
    shown = Pictures.of_protocol(PROTOCOLS[name])(stored, GENERATOR)
    assert np.array_equal(shown, prepare(scene, steps))
    assert shown.flags.c_contiguous


def test_what_is_changed_at_random_is_cut_once(raw):
    """As OpenVLA trains: resized to 224, then cut, then recoloured."""
    augmentation = Augmentation()
    pictures = Pictures.of_protocol(PROTOCOLS["openvla"], augmentation)
    assert pictures.steps == (Lanczos3(224),)
    shown = pictures(raw, np.random.default_rng(5))
    change = augmentation.draw(np.random.default_rng(5))
    assert np.array_equal(shown, change(Lanczos3(224)(raw)))
    assert CentreCrop() in Pictures.of_protocol(PROTOCOLS["openvla"]).steps
    pi0 = Pictures.of_protocol(PROTOCOLS["openpi"], augmentation)
    assert pi0 == Pictures((ResizeWithPad(224),), augmentation)
