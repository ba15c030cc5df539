"""`dlr assets`: what is found and used, whether it is whole, downloading and writing."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from cli.main import main
from simulation.assets.embedded import pack_files

COMMIT = "89abcdef" * 5


@pytest.fixture(autouse=True)
def bare_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("DLR_LIBERO_ASSETS", raising=False)
    monkeypatch.setattr("simulation.assets.resolve.PACKAGE", "no_such_package")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))


def test_lists_where_it_looked_and_what_is_used(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    main(["assets", "--verify"])
    lines = capsys.readouterr().out.splitlines()
    assert [line[0] for line in lines[:7]] == [" "] * 6 + ["*"]
    assert "hub's cache (lerobot/libero-assets): not there" in lines[3]
    assert "installed: not there" in lines[4]
    assert lines[6].startswith("* embedded: whole (")
    assert "chosen  the first whole one of the list" in lines
    assert lines[-1] == "every file is as it should be"


def test_a_written_pack_is_shown(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    main(["assets", "--write", str(tmp_path / "pack")])
    output = capsys.readouterr().out
    assert output.startswith("* given: whole (") and "chosen  you named it" in output
    assert (tmp_path / "pack" / "scenes").is_dir()


def test_files_that_are_not_liberos_own_are_listed(
    capsys: pytest.CaptureFixture[str], real_assets: Path, tmp_path: Path
) -> None:
    stood_in = tmp_path / "pack/scenes/living_room/visual/living_room_vis.msh"
    shutil.copytree(real_assets, tmp_path / "pack", copy_function=os.symlink)
    stood_in.unlink()
    stood_in.write_bytes(b"another mesh")
    main(["assets", "--path", str(tmp_path / "pack"), "--verify"])
    lines = capsys.readouterr().out.splitlines()
    assert "name    local" in lines and "343 of 344 are LIBERO's own" in lines
    assert lines[-1] == "not LIBERO's own  scenes/living_room/visual/living_room_vis.msh"
    with pytest.raises(SystemExit):
        main(["assets", "--path", "libero"])
    assert "`dlr assets install` fetches them (357 MB)" in capsys.readouterr().err


def test_liberos_own_are_proven(capsys: pytest.CaptureFixture[str], real_assets: Path) -> None:
    main(["assets", "--path", str(real_assets), "--verify"])
    lines = capsys.readouterr().out.splitlines()
    assert "name    libero" in lines and "344 of 344 are LIBERO's own" in lines


def entry(name: str, content: bytes) -> dict[str, object]:
    """A file in the hub's listing of a repository."""
    oid = hashlib.sha1(content, usedforsecurity=False).hexdigest()
    return {"type": "file", "path": name, "size": len(content), "oid": oid}


@pytest.fixture
def hub() -> Iterator[str]:
    """A server on loopback that answers as the Hugging Face hub does for one dataset."""
    files = pack_files() | {"README.md": b"assets of a hub"}
    repository = "lerobot/libero-assets"

    class Hub(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self.answer(body=True)

        def do_HEAD(self) -> None:
            self.answer(body=False)

        def answer(self, body: bool) -> None:
            prefix = f"/datasets/{repository}/resolve/{COMMIT}/"
            headers = {}
            if self.path.startswith(f"/api/datasets/{repository}/revision/main"):
                siblings = [{"rfilename": name} for name in files]
                content = {"id": repository, "sha": COMMIT, "siblings": siblings}
                data = json.dumps(content).encode()
            elif self.path.startswith(f"/api/datasets/{repository}/tree/{COMMIT}"):
                data = json.dumps(
                    [entry(name, content) for name, content in files.items()]
                ).encode()
            elif self.path.startswith(prefix):
                data = files[self.path.removeprefix(prefix)]
                headers = {"ETag": f'"{entry("", data)["oid"]}"', "X-Repo-Commit": COMMIT}
            else:
                self.send_error(404)
                return
            self.send_response(200)
            for name, value in {**headers, "Content-Length": str(len(data))}.items():
                self.send_header(name, value)
            self.end_headers()
            if body:
                self.wfile.write(data)

        def log_message(self, format: str, *arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def download(endpoint: str, cache: Path) -> subprocess.CompletedProcess[str]:
    """Run `dlr assets --download` in a process whose hub is at `endpoint`."""
    environment = {**os.environ, "HF_ENDPOINT": endpoint, "HF_HUB_CACHE": str(cache)}
    environment.pop("HF_HUB_OFFLINE", None)
    return subprocess.run(
        [sys.executable, "-c", "from cli.main import main; main(['assets', '--download'])"],
        capture_output=True,
        text=True,
        env={**environment, "HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_TELEMETRY": "1"},
    )


def test_download_once(hub: str, tmp_path: Path) -> None:
    result = download(hub, tmp_path / "hub")
    assert result.returncode == 0, result.stderr
    assert (
        "* hub's cache (lerobot/libero-assets): whole (" in result.stdout
        and "name    hub\n" in result.stdout
    )
    snapshot = tmp_path / f"hub/datasets--lerobot--libero-assets/snapshots/{COMMIT}"
    assert (snapshot / "README.md").read_bytes() == b"assets of a hub"
    again = download("http://127.0.0.1:1", tmp_path / "hub")
    assert again.returncode == 0
    assert "nothing is downloaded: hub's cache" in again.stdout


def test_without_a_network_one_line_says_what_to_do(tmp_path: Path) -> None:
    result = download("http://127.0.0.1:1", tmp_path / "hub")
    assert result.returncode == 2
    (line,) = [line for line in result.stderr.splitlines() if "dlr: " in line]
    assert result.stderr.rstrip().endswith(line)
    assert line.startswith("dlr: cannot download lerobot/libero-assets (")
    assert "use the embedded pack (no download)" in line and "$DLR_LIBERO_ASSETS" in line
