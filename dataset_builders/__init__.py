"""Trajectories rendered into RLDS datasets: the TFDS builder, `dlr build`, and `dlr verify`."""

from __future__ import annotations

import logging
import os
from types import ModuleType


def import_tfds() -> ModuleType:
    """Import TensorFlow Datasets (seconds) without TensorFlow's start-up notices."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
    import tensorflow_datasets as tfds

    logging.getLogger("absl").setLevel(logging.ERROR)
    return tfds
