"""The page on many tasks names no option that `dlr generate` does not have."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from cli.main import main

PAGE = Path(__file__).resolve().parents[2] / "docs" / "generate.md"
OPTION = re.compile(r"(?<![\w-])--[a-z][a-z.-]*[a-z]")


def test_every_option_is_one_of_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    text, others, _ = PAGE.read_text().partition("**More episodes")  # of other commands
    with pytest.raises(SystemExit):
        main(["generate", "--help"])
    named, known = (set(OPTION.findall(t)) for t in (text, capsys.readouterr().out))
    assert others and len(named) > 8 and not named - known
