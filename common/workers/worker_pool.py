"""A pool of Python workers for a runner of Apache Beam elsewhere: `--environment_type=EXTERNAL`.

`python -m common.workers.worker_pool --port 50000` listens on loopback unless told otherwise. Each
worker that a runner asks for is a process of its own. Beam's `worker_pool_main` does the same on
all of a machine's addresses, with whichever `python` comes first on PATH.
"""

from __future__ import annotations

import argparse
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
from apache_beam.portability.api import beam_fn_api_pb2, beam_fn_api_pb2_grpc

HOST, PORT = "127.0.0.1", 50000
_WORKER = """
import sys
from apache_beam.runners.worker.sdk_worker import SdkHarness
SdkHarness(sys.argv[1], worker_id=sys.argv[2]).run()
"""
_PATIENCE_S = 10.0
"""How long a worker that is to stop may take."""


class WorkerPool(beam_fn_api_pb2_grpc.BeamFnExternalWorkerPoolServicer):
    """Starts and stops workers, each a process of its own, when a runner asks."""

    def __init__(self) -> None:
        self._workers: dict[str, subprocess.Popen[bytes]] = {}
        self._lock = threading.Lock()

    def StartWorker(self, request: Any, context: Any) -> Any:
        """Start a worker that listens to the runner that asks."""
        command = [sys.executable, "-c", _WORKER, request.control_endpoint.url, request.worker_id]
        try:
            worker = subprocess.Popen(command, stdin=subprocess.DEVNULL)
        except OSError as error:
            return beam_fn_api_pb2.StartWorkerResponse(error=str(error))
        with self._lock:
            self._workers[request.worker_id] = worker
        print(f"worker {request.worker_id}: process {worker.pid}", flush=True)
        return beam_fn_api_pb2.StartWorkerResponse()

    def StopWorker(self, request: Any, context: Any) -> Any:
        """Stop a worker, if it is there."""
        with self._lock:
            worker = self._workers.pop(request.worker_id, None)
        if worker is not None:
            _stop(worker)
        return beam_fn_api_pb2.StopWorkerResponse()

    def stop(self) -> None:
        """Stop all workers."""
        with self._lock:
            workers, self._workers = list(self._workers.values()), {}
        for worker in workers:
            _stop(worker)


def serve(host: str, port: int) -> tuple[grpc.Server, WorkerPool, int]:
    """Return a server that has started, its pool, and the port; port 0 takes a free one.

    Raises:
        RuntimeError: the port is taken.
    """
    pool, server = WorkerPool(), grpc.server(ThreadPoolExecutor(4))
    beam_fn_api_pb2_grpc.add_BeamFnExternalWorkerPoolServicer_to_server(pool, server)
    port = server.add_insecure_port(f"{host}:{port}")
    server.start()
    return server, pool, port


def main(arguments: Sequence[str] | None = None) -> None:
    """Serve until a signal ends it, and end the workers then."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--host", default=HOST, help=f"address to listen on (default: {HOST})")
    parser.add_argument("--port", type=int, default=PORT, help=f"port (default: {PORT})")
    chosen = parser.parse_args(arguments)
    server, pool, port = serve(chosen.host, chosen.port)
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    print(f"workers at {chosen.host}:{port}", flush=True)
    ended.wait()
    server.stop(None)
    pool.stop()


def _stop(worker: subprocess.Popen[bytes]) -> None:
    worker.terminate()
    try:
        worker.wait(_PATIENCE_S)
    except subprocess.TimeoutExpired:
        worker.kill()
        worker.wait()


if __name__ == "__main__":
    main()
