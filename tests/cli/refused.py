"""What a command says of a number that it refuses before it makes anything."""

from __future__ import annotations

from pathlib import Path

import pytest

from cli.main import main


def refused(arguments: list[str], folder: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """Run a command in an empty folder; return the message with which it ends, nothing made.

    Args:
        arguments: of `dlr`.
        folder: the empty folder, which is left as the working directory was before.
        capsys: pytest's.
    """
    with pytest.MonkeyPatch.context() as patch, pytest.raises(SystemExit) as ended:
        patch.chdir(folder)
        main(arguments)
    assert ended.value.code == 2 and not list(folder.iterdir())
    return capsys.readouterr().err
