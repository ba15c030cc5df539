"""Google's storage on loopback: an emulator's handlers, with the faults that a test asks for."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from http.server import HTTPServer
from pathlib import Path
from typing import Any

from gcp_storage_emulator.handlers import buckets
from gcp_storage_emulator.server import RequestHandler
from gcp_storage_emulator.storage import Storage

BUCKET = "bucket"
FAULTS = ("503", "drop", "half")
"""The server refuses; it hangs up and does nothing; it does it, but half of its answer is lost."""

Fault = Callable[[str, str], str | None]
"""From a request's method and path to one of FAULTS, or None."""


class CloudStorage:
    """A server with one bucket, whose faults can be changed while it runs."""

    def __init__(self, folder: Path) -> None:
        storage = Storage(use_memory_fs=False, data_dir=str(folder))
        buckets.create_bucket(BUCKET, storage)
        self.fault: Fault = lambda method, path: None
        self.requests: list[tuple[str, str, str | None]] = []
        """Method, path and fault of each request."""
        self._server = _Server(("127.0.0.1", 0), partial(_Handler, self, storage))
        self.endpoint = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def stop(self) -> None:
        """End it."""
        self._server.shutdown()
        self._server.server_close()

    @contextmanager
    def failing(self, fault: Fault) -> Iterator[None]:
        """Answer with faults inside."""
        self.fault, before = fault, self.fault
        try:
            yield
        finally:
            self.fault = before


class _Server(HTTPServer):
    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of clients that went away."""


class _Handler(RequestHandler):
    rfile: Any
    wfile: Any

    def __init__(self, cloud: CloudStorage, storage: Storage, *arguments: Any) -> None:
        self._cloud = cloud
        super().__init__(storage, *arguments)

    def parse_request(self) -> bool:
        """Take in a request, and give way to a fault."""
        if not super().parse_request():
            return False
        fault = self._cloud.fault(self.command, self.path)
        self._cloud.requests.append((self.command, self.path, fault))
        self.close_connection = True
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length)
        if len(body) < length:  # the client died: a real server then does nothing
            return False
        self.rfile = io.BytesIO(body)
        if fault is None:
            return True
        if fault == "half":
            whole, self.wfile = self.wfile, io.BytesIO()
            getattr(self, f"do_{self.command}")()
            answer = self.wfile.getvalue()
            self.wfile = whole
            whole.write(answer[: len(answer) // 2])
        elif fault == "503":
            self.send_error(503)
        return False


def one_in(count: int) -> Fault:
    """Return a fault for every `count`-th request, another one each time."""
    seen = [0]

    def fault(method: str, path: str) -> str | None:
        seen[0] += 1
        times, rest = divmod(seen[0], count)
        return None if rest else FAULTS[times % len(FAULTS)]

    return fault
