"""Pictures as policies see them, beside what TensorFlow and openpi make of the same."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from eval_harness.protocols import PROTOCOLS
from simulation.pictures.transforms import CentreCrop, Jpeg, Lanczos3, ResizeWithPad, prepare

RECORDED = Path(__file__).parent / "tensorflow_pictures.npz"
"""What TensorFlow 2.21 makes of `picture()`: JPEG round trip, Lanczos, crop, and all together.

Written by `python tests/simulation/pictures/record_tensorflow.py`.
"""


def picture() -> np.ndarray:
    """Return edges, gradients and a patch of noise, uint8 (256, 256, 3)."""
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[:256, :256] / 256
    waves = np.stack(
        [
            230 * rows**1.3,
            120 + 110 * np.sin(5 * rows * columns),
            200 * np.exp(-3 * ((rows - 0.4) ** 2 + (columns - 0.6) ** 2)),
        ],
        axis=-1,
    )
    waves[60:120, 40:100] = [200, 30, 60]
    waves[150:210, 60:150] += rng.normal(0, 25, (60, 90, 3))
    return np.clip(waves, 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def recorded() -> dict[str, np.ndarray]:
    with np.load(RECORDED, allow_pickle=False) as file:
        return dict(file)


def test_jpeg_round_trip_is_tensorflows(recorded: dict[str, np.ndarray]) -> None:
    assert np.array_equal(Jpeg()(picture()), recorded["jpeg"])


def test_crop_is_tensorflows(recorded: dict[str, np.ndarray]) -> None:
    assert np.array_equal(CentreCrop()(recorded["lanczos"]), recorded["crop"])


def test_lanczos_is_tensorflows_but_for_ties(recorded: dict[str, np.ndarray]) -> None:
    offset = np.abs(Lanczos3()(picture()).astype(int) - recorded["lanczos"])
    assert offset.max() <= 1 and (offset > 0).mean() < 1e-2  # the smooth gradients make ties


def test_all_of_openvla_is_tensorflows_but_for_ties(recorded: dict[str, np.ndarray]) -> None:
    found = prepare(picture(), PROTOCOLS["openvla"].picture_steps)
    offset = np.abs(found.astype(int) - recorded["openvla"])
    assert found.shape == (224, 224, 3) and found.flags.c_contiguous
    assert offset.max() <= 1 and (offset > 0).mean() < 1e-4


def test_openpi_pads_and_resizes_as_its_client() -> None:
    tools = pytest.importorskip("openpi_client.image_tools")
    for shape in ((256, 256), (224, 224), (180, 256), (301, 97)):
        image = np.resize(picture(), (*shape, 3))
        assert np.array_equal(ResizeWithPad()(image), tools.resize_with_pad(image, 224, 224))
    expected = tools.resize_with_pad(np.ascontiguousarray(picture()[::-1, ::-1]), 224, 224)
    assert np.array_equal(prepare(picture(), PROTOCOLS["openpi"].picture_steps), expected)


def test_lerobot_turns_and_libero_leaves_as_it_is() -> None:
    lerobot = prepare(picture(), PROTOCOLS["lerobot"].picture_steps)
    assert np.array_equal(lerobot, picture()[::-1, ::-1])
    assert np.array_equal(prepare(picture(), PROTOCOLS["libero"].picture_steps), picture())
