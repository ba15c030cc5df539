"""A server on loopback that answers as the Hugging Face hub does for large files of one dataset."""

from __future__ import annotations

import hashlib
import json
import threading
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class LoopbackHub(ThreadingHTTPServer):
    """The server; what it does wrong is set from outside.

    Args:
        repository: owner and name of the dataset.
        revision: its only commit.
        files: path -> content.
    """

    def __init__(self, repository: str, revision: str, files: dict[str, bytes]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.repository, self.revision, self.files = repository, revision, files
        self.cuts: list[int] = []
        """Bytes after which the next answers break off, one answer each."""
        self.wrong: set[str] = set()
        """Files of which other bytes are sent."""
        self.ranges: list[str] = []
        """The `Range` of each request for content, empty where all is asked for."""

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def listed(self, path: str) -> dict[str, object]:
        """What the hub says of a file."""
        content = self.files[path]
        lfs = {"oid": hashlib.sha256(content).hexdigest(), "size": len(content), "pointerSize": 134}
        return {"type": "file", "path": path, "size": len(content), "oid": "0" * 40, "lfs": lfs}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: LoopbackHub

    def do_POST(self) -> None:
        hub = self.server
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        if self.path != f"/api/datasets/{hub.repository}/paths-info/{hub.revision}":
            self.send_error(404)
            return
        paths = urllib.parse.parse_qs(body)["paths"]
        self._send(json.dumps([hub.listed(path) for path in paths if path in hub.files]).encode())

    def do_GET(self) -> None:
        """Redirect to where the content is, as the hub does, and send it from there."""
        hub, prefix = self.server, f"/datasets/{self.server.repository}/resolve/"
        path = self.path.removeprefix(f"{prefix}{hub.revision}/").removeprefix("/content/")
        if path not in hub.files:
            self.send_error(404)
        elif self.path.startswith(prefix):
            self._send(b"", 302, Location=f"{hub.endpoint}/content/{path}")
        else:
            content = hub.files[path]
            self._send_content(content[::-1] if path in hub.wrong else content)

    def _send_content(self, content: bytes) -> None:
        asked = self.headers.get("Range", "")
        self.server.ranges.append(asked)
        start = int(asked.removeprefix("bytes=").split("-")[0]) if asked else 0
        headers = {"Content-Range": f"bytes {start}-{len(content) - 1}/{len(content)}"}
        cut = self.server.cuts.pop(0) if self.server.cuts else None
        rest = content[start:]
        self._send(rest, 206 if asked else 200, cut, **(headers if asked else {}))

    def _send(self, body: bytes, status: int = 200, cut: int | None = None, **headers: str) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body if cut is None else body[:cut])
        self.close_connection = cut is not None

    def log_message(self, format: str, *arguments: object) -> None:
        pass


@contextmanager
def loopback_hub(repository: str, revision: str, files: dict[str, bytes]) -> Iterator[LoopbackHub]:
    """Serve files until the end of the block."""
    hub = LoopbackHub(repository, revision, files)
    thread = threading.Thread(target=hub.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield hub
    finally:
        hub.shutdown()
        thread.join()
        hub.server_close()
