"""Small RLDS datasets, built by TFDS in a process of their own: this one never loads TensorFlow."""

from __future__ import annotations

import dataclasses
import json
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from vla_adapters.augmentation import Augmentation, Change

_SIDE = Path(__file__).with_name("tensorflow_side.py")


@dataclass(frozen=True)
class TensorFlowSide:
    """What `tensorflow_side.py` made."""

    libero_rl: Path
    """Dataset of seven episodes in two shards, with all features and metadata of ours."""
    openvla: Path
    """Dataset of three episodes as OpenVLA finds it: without a config."""
    read: dict[str, np.ndarray]
    """Stacked steps of the first, as TFDS reads them."""
    changes: list[Change]
    """Changes of a picture."""
    source: np.ndarray
    """That picture."""
    augmented: np.ndarray
    """The picture after each of the changes, by `tf.image`."""


@pytest.fixture(scope="session")
def tensorflow_side(tmp_path_factory: pytest.TempPathFactory) -> TensorFlowSide:
    folder = tmp_path_factory.mktemp("tensorflow")
    generator = np.random.default_rng(5)
    changes = [Augmentation().draw(generator) for _ in range(8)]
    listed = json.dumps([dataclasses.asdict(change) for change in changes])
    subprocess.run([sys.executable, _SIDE, folder, listed], check=True)
    pictures = np.load(folder / "augmented.npz")
    return TensorFlowSide(
        folder / "libero_rl" / "dlr" / "1.0.0",
        folder / "libero_spatial_no_noops" / "1.0.0",
        dict(np.load(folder / "read.npz")),
        changes,
        pictures["source"],
        pictures["results"],
    )


@pytest.fixture
def rlds(tensorflow_side: TensorFlowSide, tmp_path: Path) -> Path:
    """Copy of the first dataset, which a test may damage."""
    return shutil.copytree(tensorflow_side.libero_rl, tmp_path / "libero_rl" / "dlr" / "1.0.0")
