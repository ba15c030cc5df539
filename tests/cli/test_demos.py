"""`dlr demos` as a user meets it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from cli.main import main
from demonstrations.official import REPOSITORY, REVISION, official_folder
from tests.hub import loopback_hub

STOVE = "libero_goal/turn_on_the_stove"


def download(endpoint: str, cache: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run `dlr demos download` in a process whose hub is at `endpoint`."""
    environment = {**os.environ, "HF_ENDPOINT": endpoint, "XDG_CACHE_HOME": str(cache)}
    environment.pop("HF_HUB_OFFLINE", None)
    return subprocess.run(
        [sys.executable, "-m", "cli.main", "demos", "download", *arguments],
        capture_output=True,
        text=True,
        env={**environment, "HF_HUB_DISABLE_TELEMETRY": "1"},
    )


def test_download_from_the_hub_that_the_environment_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = b"demonstrations" * 1000
    with loopback_hub(REPOSITORY, REVISION, {f"{STOVE}_demo.hdf5": content}) as hub:
        result = download(hub.endpoint, tmp_path, STOVE)
    assert result.returncode == 0, result.stderr
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    path = official_folder("libero_goal") / "turn_on_the_stove_demo.hdf5"
    assert path.read_bytes() == content
    assert result.stdout.splitlines()[-1] == str(path)
    main(["demos", "download", STOVE])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "name a suite, such as libero_90, or tasks"),
        (("turn_on_the_stoves",), "did you mean"),
        (("libero_goal", "--from", "/no/such/folder"), "there is no /no/such/folder"),
        (("libero_goal", "--copy"), "--copy goes with --from PATH"),
    ],
)
def test_what_is_wrong_is_one_line(
    arguments: tuple[str, ...], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["demos", "download", *arguments])
    assert caught.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert words in line


def test_an_audit_that_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["demos", "audit", str(tmp_path)])
    assert "`dlr demonstrate --human-demos` writes one" in capsys.readouterr().err
