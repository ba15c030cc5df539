"""Fixtures shared by all tests; those of files beside the checkout skip where these are not."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

_BESIDE_CHECKOUT = Path(__file__).resolve().parents[2] / "shared"


def _beside_checkout(name: str) -> Path:
    path = _BESIDE_CHECKOUT / name
    if not path.exists():
        pytest.skip(f"../shared/{name} is not there")
    return path


@pytest.fixture(scope="session")
def real_assets() -> Path:
    """Folder of LIBERO's real meshes and textures."""
    return _beside_checkout("libero_assets")


@pytest.fixture(scope="session")
def human_demos() -> Path:
    """Folder of human demonstrations, one JSON file for a task."""
    return _beside_checkout("libero_human_demos")


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """Have PyTorch sum in one thread: exact under any load, and fastest for small networks."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
