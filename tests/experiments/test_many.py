"""Many tasks' work: a line of each, and the traceback of what failed unexpectedly."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from common.errors import DlrError
from common.workers import Outcome
from experiments.many import attempt_tasks


@dataclass(frozen=True)
class Item:
    """A task's work."""

    task: str


def test_an_unexpected_error_is_told_with_its_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    outcomes = [
        Outcome(1, None, "KeyError: 'lost'", 2.0, "Traceback: in work"),
        Outcome(0, None, "no demonstrations", 1.0),
        Outcome(2, "3 of 3", None, 3.0),
    ]
    monkeypatch.setattr("experiments.many.attempt_items", lambda *given: outcomes)
    items = [Item("refused"), Item("lost"), Item("done")]
    with pytest.raises(DlrError, match=r"2 of 3 tasks failed: lost, refused"):
        attempt_tasks(lambda item: item.task, items, 1, "working")
    told = capsys.readouterr()
    assert told.out.splitlines() == [
        "lost: KeyError: 'lost' (2 s)", "refused: no demonstrations (1 s)", "done: 3 of 3 (3 s)"
    ]  # fmt: skip
    assert told.err == "Traceback: in work\n"
