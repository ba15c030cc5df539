"""CPU seconds of a piece of work, over tries that ended and one that was killed."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from common import spent as module
from common.errors import DlrError
from common.spent import spending, spent

BUSY = """
import time
from pathlib import Path
from common import spent
spent._EVERY_S = 0.05
with spent.spending(Path({path!r})):
    print("begun", flush=True)
    while True:
        sum(range(1000))
"""


def test_a_killed_try_counts_too(tmp_path: Path) -> None:
    path = tmp_path / "spent.json"
    command = [sys.executable, "-c", BUSY.format(path=str(path))]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stdout.readline()
        while spent(path) < 0.3:
            time.sleep(0.05)
        process.kill()
    before = spent(path)
    with spending(path) as cpu_seconds:
        sum(range(1_000_000))
        assert cpu_seconds() > before >= 0.3
    assert spent(path) > before


def test_a_try_that_fails_counts_too(tmp_path: Path) -> None:
    path = tmp_path / "spent.json"
    with pytest.raises(ZeroDivisionError), spending(path):
        sum(range(1_000_000))
        raise ZeroDivisionError
    assert spent(path) > 0


def test_a_damaged_note_says_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "spent.json"
    assert spent(path) == 0.0
    for content in ("{}", "[]", "x", '{"cpu_seconds": "x"}'):
        path.write_text(content)
        with pytest.raises(DlrError, match="delete it"):
            spent(path)
    assert module._EVERY_S > 1
