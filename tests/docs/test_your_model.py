"""The page's two files are run as they stand: a policy in the process, and one behind a socket."""

from __future__ import annotations

import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from cli.main import main
from eval_harness.results import load_results
from simulation.assets.resolve import embedded_pack

PAGE = Path(__file__).resolve().parents[2] / "docs" / "your_model.md"
TASK = "libero_object/pick_up_the_alphabet_soup_and_place_it_in_the_basket"


def files() -> dict[str, str]:
    """Return the page's Python files by name."""
    text = PAGE.read_text()
    return dict(re.findall(r"`(\w+\.py)`[^`]*```python\n(.*?)```", text, re.DOTALL))


def evaluate(policy: str, out: Path) -> dict[str, object]:
    """Run one episode, and return the policy's identity."""
    options = ["--protocol", "openpi", "--tasks", TASK, "--episodes", "1", "--no-preflight"]
    options += ["--assets", str(embedded_pack().path), "--environments", "1", "--retries", "0"]
    main(["eval", "run", policy, *options, "--out", str(out)])
    results = load_results(out)
    assert [(r.success, r.error) for r in results.episodes] == [(False, None)]
    return results.config["policy"]


def test_the_policy_is_evaluated_in_this_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    source = files()["my_policy.py"]
    assert len([line for line in source.splitlines() if line.strip()]) <= 20
    Path("my_policy.py").write_text(source)
    identity = evaluate("my_policy.py:MyPolicy#checkpoint=here", tmp_path / "mine")
    assert identity["code"] == "my_policy.py:MyPolicy" and identity["kind"] == "MyPolicy"
    assert identity["settings"] == {"checkpoint": "here"}


def test_the_server_is_evaluated(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    source = files()["my_server.py"]
    assert "8000" in source and "import dlr" not in source and "eval_harness" not in source
    path = tmp_path / "my_server.py"
    path.write_text(source.replace("8000", str(port)))
    server = subprocess.Popen([sys.executable, str(path)])
    try:
        identity = evaluate(f"openpi://127.0.0.1:{port}", tmp_path / "served")
    finally:
        server.kill()
        server.wait()
    assert identity["metadata"] == {"model": "mine"}
