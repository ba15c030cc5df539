"""Reading a published dataset from an emulator of Google's storage, beside the same files here."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.measure import (
    BenchmarkError,
    Result,
    Setting,
    Target,
    benchmark,
    in_fresh_process,
    summarise,
)
from benchmarks.memory import resident_mb
from benchmarks.reader import build_random, rate_of_ours

_BUCKET = "benchmark"
_EPOCHS = 10
_PATIENCE_S = 60


@benchmark
def cloud(setting: Setting) -> list[Result]:
    """Decoded pictures a second with a warm cache, and memory over ten epochs.

    Each side has a process of its own on one core, and begins with an epoch that is not counted;
    it fills the cache of blocks. Memory is the process's resident size.
    """
    with (
        tempfile.TemporaryDirectory(prefix="dlr-benchmark-") as name,
        _emulator(Path(name) / "cloud") as endpoint,
    ):
        dataset = build_random(Path(name), setting)
        address = f"gs://{_BUCKET}/libero_rl/dlr/1.0.0"
        told = {"STORAGE_EMULATOR_HOST": endpoint, "XDG_CACHE_HOME": str(Path(name) / "cache")}
        in_fresh_process(_publish, told, dataset, address)
        rates = [
            (in_fresh_process(_rate, told, address), in_fresh_process(_rate, told, str(dataset)))
            for _ in range(setting.repetitions(4))
        ]
        sizes = in_fresh_process(_sizes, told, address)
    return [
        summarise("reading from gs://, warm cache / from disk", "frames/s", rates, Target(0.5)),
        summarise(
            f"memory of reading from gs:// after {_EPOCHS} epochs / after the first",
            "MB",
            [(sizes[-1], sizes[0])],
            Target(1.05, at_most=True),
        ),
    ]


@contextmanager
def _emulator(folder: Path) -> Iterator[str]:
    """Run the emulator in a process of its own and yield its address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    options = ["--host=127.0.0.1", f"--port={port}", f"--default-bucket={_BUCKET}"]
    command = [sys.executable, "-m", "gcp_storage_emulator", f"--data-dir={folder}", "start", "-q"]
    process = subprocess.Popen([*command, *options], stderr=subprocess.DEVNULL)
    try:
        until = time.monotonic() + _PATIENCE_S
        while not _answers(port):
            if process.poll() is not None or time.monotonic() > until:
                raise BenchmarkError(
                    "the emulator of Google's storage does not start: pip install "
                    "gcp-storage-emulator"
                )
            time.sleep(0.1)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _publish(environment: dict[str, str], dataset: Path, address: str) -> None:
    os.environ.update(environment)
    from dataset_builders.cloud.publish import PublishConfig, publish
    from vla_adapters.publishing import reader_files

    publish(PublishConfig(dataset, address), reader_files(dataset))


def _rate(environment: dict[str, str], address: str) -> float:
    os.environ.update(environment)
    return rate_of_ours(address)


def _sizes(environment: dict[str, str], address: str) -> list[float]:
    """Return the megabytes of a process after each epoch."""
    os.environ.update(environment)
    from benchmarks.reader import stack
    from vla_adapters.reader import Reader, ReaderConfig

    reader, sizes = Reader([address], ReaderConfig(workers=0), stack), []
    for _ in range(_EPOCHS):
        for _batch in reader:
            pass
        sizes.append(resident_mb(os.getpid()))
    return sizes
