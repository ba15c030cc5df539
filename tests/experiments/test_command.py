"""An experiment as a command: options of its signature, errors in one line with their status."""

from __future__ import annotations

import sys

import pytest

from common.errors import DlrError, StorageError
from experiments.command import run_command


def add(first: int, second: int = 2) -> None:
    """Add two numbers.

    Args:
        first: one.
        second: the other.
    """
    if first < 0:
        raise DlrError("negative")
    if first == 0:
        raise StorageError("the disk is full")
    print(first + second)


@pytest.mark.parametrize("several", [False, True])
def test_options_are_the_signature_s(
    several: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    name = ["add"] if several else []
    monkeypatch.setattr(sys, "argv", ["x", *name, "--first", "3"])
    run_command({"add": add, "other": add} if several else add, "experiments.add")
    assert capsys.readouterr().out == "5\n"


@pytest.mark.parametrize(
    ("first", "status", "words"), [("-1", 2, "negative"), ("0", 74, "the disk is full")]
)
def test_an_error_is_a_line_and_a_status(
    first: str,
    status: int,
    words: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(sys, "argv", ["x", "--first", first])
    with pytest.raises(SystemExit) as ended:
        run_command(add, "experiments.add")
    assert ended.value.code == status
    assert capsys.readouterr().err == f"experiments: {words}\n"
