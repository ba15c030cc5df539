"""Fixtures shared by all tests: files kept beside the checkout, without which a test is skipped."""

from __future__ import annotations

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
