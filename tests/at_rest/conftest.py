"""What the stages of these tests start from."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.at_rest.support import prepare


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of trajectories and of a trained policy."""
    folder = tmp_path_factory.mktemp("sources")
    prepare(folder)
    return folder
