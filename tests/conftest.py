"""Fixtures shared by all tests; those of files that not every machine has skip without them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from common.errors import AssetError
from simulation.assets.resolve import ASSETS_VARIABLE, EMBEDDED_NAME, published_pack

if TYPE_CHECKING:
    from tests.cloud_storage import CloudStorage

_BESIDE_CHECKOUT = Path(__file__).resolve().parents[2] / "shared"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the longest: whichever file is left at the end, the other worker waits for it."""
    begun = {item.path for item in items if item.get_closest_marker("first")}
    items.sort(key=lambda item: item.path not in begun)


def _beside_checkout(name: str) -> Path:
    path = _BESIDE_CHECKOUT / name
    if not path.exists():
        pytest.skip(f"../shared/{name} is not there")
    return path


@pytest.fixture(scope="session", autouse=True)
def embedded_by_default() -> Iterator[None]:
    """Have every test that names no assets use the embedded pack, whatever is installed."""
    with pytest.MonkeyPatch.context() as patch:
        if ASSETS_VARIABLE not in os.environ:
            patch.setenv(ASSETS_VARIABLE, EMBEDDED_NAME)
        yield


@pytest.fixture(scope="session")
def real_assets() -> Path:
    """Folder of LIBERO's own meshes and textures, wherever they are found."""
    try:
        return published_pack().path
    except AssetError as error:
        pytest.skip(str(error))


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


@pytest.fixture
def cloud(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[CloudStorage]:
    """Google's storage on loopback, which `gs://bucket` reaches; a cache folder of its own."""
    from tests.cloud_storage import CloudStorage

    server = CloudStorage(tmp_path / "cloud")
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", server.endpoint)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    yield server
    server.stop()
    import fsspec

    fsspec.get_filesystem_class("gs").clear_instance_cache()
