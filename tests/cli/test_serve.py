"""`dlr serve` as a user runs it: it serves, says where, answers health checks, and stops."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator

import pytest
from openpi_client.websocket_client_policy import WebsocketClientPolicy

from cli.main import main
from eval_harness.policies.random import RandomPolicy
from eval_harness.policy import EpisodeKey, Observation
from eval_harness.remote.openpi import OpenPiPolicy


@pytest.fixture(scope="module")
def server() -> Iterator[tuple[subprocess.Popen[str], int]]:
    command = [sys.executable, "-c", "from cli.main import main; main()", "serve", "random:5"]
    process = subprocess.Popen([*command, "--port", "0"], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    line = process.stdout.readline()
    found = re.search(r"openpi://127\.0\.0\.1:(\d+)", line)
    assert found, line
    yield process, int(found[1])
    process.kill()
    process.wait()


def test_it_serves_what_the_policy_gives(server: tuple[subprocess.Popen[str], int]) -> None:
    _, port = server
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz") as response:
        assert response.read() == b"OK\n"
    here = RandomPolicy(chunk=5)
    policy = OpenPiPolicy(f"openpi://127.0.0.1:{port}")
    assert policy.requirements == here.requirements
    assert policy.identity() == {"kind": "openpi", "policy": here.identity()}
    seen = [Observation(EpisodeKey("a/b", n, n, 100 + n), 5 * n, "go") for n in range(6)]
    policy.reset([observation.key for observation in seen])
    assert (policy.act(seen) == here.act(seen)).all()
    policy.close()
    real = WebsocketClientPolicy("127.0.0.1", port)
    assert real.infer({"prompt": "go"})["actions"].shape == (5, 7)
    real._ws.close()


def test_it_stops_when_it_is_told(server: tuple[subprocess.Popen[str], int]) -> None:
    process, port = server
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=30)
    assert output.splitlines()[-1] == "stopped"
    assert process.returncode == 0
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("nothing",), "unknown policy 'nothing'"),
        (("random", "--protocol", "none"), "unknown protocol 'none'"),
        (("random", "--port", "70000"), "--port must be 0 to 65535"),
        (("random", "--batch", "0"), "at least 1"),
        (("random", "--wait-ms", "-1"), "--wait-ms"),
        (("random", "--host", "256.0.0.1", "--port", "0"), "cannot listen on 256.0.0.1:0"),
    ],
)
def test_mistakes_are_one_line(
    arguments: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["serve", *arguments])
    assert caught.value.code == 2
    errors = capsys.readouterr().err.splitlines()
    assert message in errors[-1]
