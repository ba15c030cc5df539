"""A small pi0 as training makes it, and samples to feed it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from vla_adapters.pi0.adapter import Pi0Adapter, Pi0Options
from vla_adapters.samples import CAMERAS, Moments, Sample, Statistics

CHUNK = 4


@pytest.fixture(scope="session")
def statistics() -> Statistics:
    """Statistics with other numbers in each place."""

    def moments(length: int) -> Moments:
        values = np.random.default_rng(length).normal(size=(100, length))
        low, high = np.quantile(values, (0.01, 0.99), axis=0)
        return Moments(values.mean(0), values.std(0), values.min(0), values.max(0), low, high)

    return Statistics(
        action=moments(7),
        state=moments(8),
        openness=moments(1),
        transitions=100,
        trajectories=5,
        dataset="made_up",
        digest="0" * 64,
    )


@pytest.fixture(scope="session")
def make(
    statistics: Statistics, tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., Pi0Adapter]:
    """Return what makes small adapters with the options given."""

    def small(**options: object) -> Pi0Adapter:
        folder = tmp_path_factory.mktemp("tokenizer")
        return Pi0Adapter.small(statistics, folder, CHUNK, 3, Pi0Options(**options))  # type: ignore[arg-type]

    return small


@pytest.fixture(scope="session")
def saved(make: Callable[..., Pi0Adapter], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a small checkpoint."""
    folder = tmp_path_factory.mktemp("saved")
    make().save(folder)
    return folder


@pytest.fixture(scope="session")
def samples() -> list[Sample]:
    """Three samples that differ in everything."""
    rng = np.random.default_rng(0)
    words = ("put the bowl on the plate", "close the top drawer", "turn on the stove")
    return [
        Sample(
            {c: rng.integers(0, 256, (48, 48, 3), dtype=np.uint8) for c in CAMERAS},
            rng.normal(size=8).astype(np.float32),
            rng.uniform(-1, 1, (CHUNK, 7)).astype(np.float32),
            np.zeros(CHUNK, dtype=np.bool_),
            word,
            0,
            step,
        )
        for step, word in enumerate(words)
    ]
