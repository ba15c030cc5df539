"""Work items: the same results on a process pool and on Beam."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from common.errors import WorkerError
from common.workers import Backend, Beam, Processes, run_items

ITEMS = [f"[{number} ** 2, __import__('os').getpid()]" for number in range(7)]
"""Expressions, evaluated by a function that every process can import: `eval`."""


def backends(folder: Path) -> dict[str, Backend]:
    """Return one backend of each kind."""
    options = ("--runner=apache_beam.runners.portability.fn_api_runner.FnApiRunner",)
    return {"processes": Processes(2), "beam": Beam(options, str(folder))}


@pytest.mark.parametrize("name", ["processes", "beam"])
def test_results_come_in_order_from_other_processes(tmp_path: Path, name: str) -> None:
    found = list(run_items(eval, ITEMS, backends(tmp_path)[name], "squaring"))
    assert [square for square, _ in found] == [number**2 for number in range(7)]
    assert os.getpid() not in {process for _, process in found}
    assert not list(tmp_path.iterdir())


def test_failure_on_beam_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(WorkerError, match=r"counting failed.*division by zero") as caught:
        list(run_items(eval, [*ITEMS, "1 / 0"], backends(tmp_path)["beam"], "counting"))
    assert "\n" not in str(caught.value)
