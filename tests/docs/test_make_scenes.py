"""The script behind `docs/scenes.jpg` still runs, and knows every scene."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import imageio.v3 as iio
import pytest

DOCS = Path(__file__).resolve().parents[2] / "docs"


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_scenes", DOCS / "make_scenes.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_task_belongs_to_one_of_23_scenes(script: ModuleType) -> None:
    scenes = script.scenes()
    keys = [task.key for tasks in scenes.values() for task in tasks]
    assert len(scenes) == 23 and len(keys) == len(set(keys)) == 130
    assert list(scenes)[:2] == ["KITCHEN_SCENE1", "KITCHEN_SCENE2"]
    assert list(scenes)[9] == "KITCHEN_SCENE10" and list(scenes)[-1] == "libero_spatial"


def test_a_scene_is_drawn(script: ModuleType, tmp_path: Path) -> None:
    script.main(out=tmp_path / "a.png", size=64, only="KITCHEN_SCENE10")
    sheet = iio.imread(tmp_path / "a.png")
    assert sheet.shape == (6 + 19 + 64 + 19 + 6, 64 + 12, 3)
    picture = sheet[25:89, 6:70].mean(axis=2)
    assert picture[-16:].mean() > 2 * picture[:16, :16].mean()  # the table, and the dark wall


def test_the_page_shows_the_picture() -> None:
    assert "](scenes.jpg)" in (DOCS / "scenes.md").read_text()
    assert (DOCS / "scenes.jpg").stat().st_size < 1_500_000
