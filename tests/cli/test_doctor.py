"""`dlr doctor`: a line for each check, a file on request, a status that scripts can read."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from cli.main import main


def test_a_sound_machine(capsys, tmp_path) -> None:
    main(["doctor", "--json", str(tmp_path / "outcome.json")])
    lines = capsys.readouterr().out.splitlines()
    assert all(line.startswith(("OK ", "WARN ", "      -> ")) for line in lines)
    assert any(line.startswith("OK    frame: ") for line in lines)
    assert json.loads((tmp_path / "outcome.json").read_text())["passed"]


def test_a_fault_ends_with_status_1(capsys, monkeypatch, tmp_path) -> None:
    monkeypatch.setattr("mujoco.mj_versionString", lambda: "3.3.3")
    arguments = ["doctor", "--assets", str(tmp_path / "none"), "--json", str(tmp_path / "o.json")]
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    out, err = capsys.readouterr()
    assert caught.value.code == 1 and "mend what FAILed" in err
    assert "FAIL  mujoco: 3.3.3, but results need 3.3.2" in out
    assert "-> pip install mujoco==3.3.2" in out
    failed = [
        check["name"]
        for check in json.loads((tmp_path / "o.json").read_text())["checks"]
        if check["status"] == "FAIL"
    ]
    assert failed == ["mujoco", "assets"]


@pytest.mark.parametrize("command", ["doctor", "view no_such_task"])
def test_opengl_that_mujoco_cannot_bind_is_one_line(command: str) -> None:
    result = subprocess.run(
        [sys.executable, "-c", f"from cli.main import main; main({command.split()!r})"],
        capture_output=True,
        text=True,
        env={**os.environ, "MUJOCO_GL": "nonsense"},
    )
    assert result.returncode == 2
    (line,) = result.stderr.splitlines()
    assert line.startswith("dlr: mujoco does not load with MUJOCO_GL='nonsense'")
    assert "unset it" in line
