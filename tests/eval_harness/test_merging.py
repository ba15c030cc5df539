"""Folders that are put together, which are there whole or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from common.errors import BusyError, OutputError
from common.files import write_text
from eval_harness.merging import whole_folder
from eval_harness.results import ResultsError


def test_a_folder_appears_once_it_is_filled(tmp_path: Path) -> None:
    out = tmp_path / "out"
    write_text(tmp_path / ".out.merging" / "old", "what a killed process left")
    out.mkdir()
    with whole_folder(out) as new:
        write_text(new / "file", "text")
        assert list(out.iterdir()) == []
        with pytest.raises(BusyError), whole_folder(out):
            pass
    assert [path.name for path in out.iterdir()] == ["file"] and list(tmp_path.iterdir()) == [out]
    with pytest.raises(OutputError, match="not empty"), whole_folder(out):
        pass
    with pytest.raises(OutputError, match="cannot write"), whole_folder(out / "file"):
        pass


def test_what_fails_leaves_no_trace(tmp_path: Path) -> None:
    with pytest.raises(ResultsError, match="enough"), whole_folder(tmp_path / "out") as new:
        write_text(new / "file", "text")
        raise ResultsError("enough")
    assert list(tmp_path.iterdir()) == []
