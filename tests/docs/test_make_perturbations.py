"""The page on perturbations shows every axis, and the script behind its sheets still runs."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

from PIL import Image

from eval_harness.perturbations.table import AXES

DOCS = Path(__file__).resolve().parents[2] / "docs"


def test_every_axis_has_a_section_and_a_picture() -> None:
    page = (DOCS / "perturbations.md").read_text()
    assert set(re.findall(r"^### (\w+)$", page, re.MULTILINE)) == set(AXES)
    pictures = re.findall(r"\((perturbations/\w+\.webp)\)", page)
    assert len(pictures) == len(AXES) - 1
    for name in pictures:
        with Image.open(DOCS / name) as picture:
            assert min(picture.size) > 300


def test_a_sheet_is_drawn() -> None:
    path = DOCS / "make_perturbations.py"
    spec = importlib.util.spec_from_file_location("make_perturbations", path)
    assert spec is not None and spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    sheet = script.draw_noise()
    assert sheet.ndim == 3 and sheet[:, :, 0].std() > 10
