"""The pool of Python workers: on loopback, a process for each worker, and none left behind."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

from apache_beam.portability.api import beam_fn_api_pb2, beam_fn_api_pb2_grpc
from grpc import insecure_channel

from tests.common.test_workers import _until_gone


def test_workers_are_processes_that_end_with_the_pool(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "common.workers.worker_pool", "--port", "0"]
    pool = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert pool.stdout is not None
    address = re.fullmatch(r"workers at (127\.0\.0\.1:\d+)\n", pool.stdout.readline())
    assert address
    with insecure_channel(address[1]) as channel, socket.create_server(("127.0.0.1", 0)) as runner:
        stub = beam_fn_api_pb2_grpc.BeamFnExternalWorkerPoolStub(channel)
        started = []
        for name in ("one", "two"):
            request = beam_fn_api_pb2.StartWorkerRequest(worker_id=name)
            request.control_endpoint.url = f"127.0.0.1:{runner.getsockname()[1]}"
            assert not stub.StartWorker(request).error
            found = re.fullmatch(rf"worker {name}: process (\d+)\n", pool.stdout.readline())
            assert found
            started.append(int(found[1]))
            os.kill(started[-1], 0)
        stub.StopWorker(beam_fn_api_pb2.StopWorkerRequest(worker_id="one"))
        _until_gone(started[0])
        os.kill(started[1], 0)
        pool.send_signal(signal.SIGTERM)
        assert pool.wait(30) == 0
        _until_gone(started[1])
