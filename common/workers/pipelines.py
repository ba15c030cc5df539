"""Work items as a pipeline of Apache Beam: the part that runs on Beam's workers, and its start."""

from __future__ import annotations

import collections
import contextlib
import json
import os
import pickle
import threading
import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from typing import Any

import apache_beam as beam
from apache_beam.io.filesystem import BeamIOError
from apache_beam.io.filesystems import FileSystems
from apache_beam.options.pipeline_options import DirectOptions, PipelineOptions, StandardOptions
from joblib.externals.loky import ProcessPoolExecutor

from common.errors import UnfinishedPipelineError, WorkerError, one_line
from common.machine import cores
from common.workers.processes import ONE_CORE, call_pickled, make_pool

_MOST_TOGETHER, _PIECES = 16, 256
"""Neighbouring items stay together, so many at most, where there are more than so many pieces."""
_AHEAD = 2
"""Items in flight for each process."""
_BEGUN = "begun"
_LOCAL = "FnApiRunner"
_SWITCHING = (None, "DirectRunner", "SwitchingDirectRunner")
"""Names of the runner that first downloads another one, and then falls back to the local one."""


def run_pipeline(
    function: Callable[[Any], Any],
    items: Sequence[Any],
    flags: Sequence[str],
    targets: Sequence[str],
    workers: int | None,
    description: str,
) -> list[Any]:
    """Return `function(item)` for each item, in order; for a process that ends afterwards.

    Args:
        function: as `common.workers.run_items` wants it.
        items: frozen and picklable.
        flags: options of the pipeline.
        targets: folders for what the workers tell, on storage that all reach: one of each try
            that died, whose lines are not this one's, and this try's own. All are removed.
        workers: processes beside each of Beam's workers; None as `Beam` says.
        description: what is done, for errors.

    Raises:
        UnfinishedPipelineError: the pipeline failed after its workers had begun.
        WorkerError: an item failed, or the pipeline before that.
    """
    *stale, target = targets
    for left in stale:
        _remove(left)
    options = _options(flags)
    threading.excepthook = _end_with_worker
    work = _Work(pickle.dumps(function), workers or _processes(options), target)
    try:
        with beam.Pipeline(options=options) as pipeline:
            _ = pipeline | beam.Create(_pieces(items)) | beam.Reshuffle() | beam.ParDo(work)
    except Exception as error:
        kind = UnfinishedPipelineError if _files(target) else WorkerError
        _remove(target)
        raise kind(f"{description} failed on Beam's runner: {one_line(error)}") from error
    results = dict(_lines(target))
    _remove(target)
    for index in range(len(items)):
        _, words = results[index]
        if words is not None:
            raise WorkerError(f"{description} failed on a worker of Beam: {words}")
    return [results[index][0] for index in range(len(items))]


def _end_with_worker(told: threading.ExceptHookArgs) -> None:
    """End this process with a worker of the local runner, for which that would wait for ever."""
    threading.__excepthook__(told)
    if told.thread is not None and told.thread.name == "run_worker":
        os._exit(1)


class _Work(beam.DoFn):
    """Works on pieces of numbered items, in processes beside the worker's.

    Pictures cannot be rendered in a process that may have loaded TensorFlow, and a worker's
    threads share one interpreter: where several unpickle, they import one module at a time and find
    it half made. So the worker itself unpickles neither function nor items. Results are written
    once a bundle is done, a line an item.
    """

    def __init__(self, function: bytes, processes: int, target: str) -> None:
        self._function, self._processes, self._target = function, processes, target
        self._pending: collections.deque[tuple[int, Future[str], ProcessPoolExecutor]] = (
            collections.deque()
        )
        self._done: list[str] = []

    def setup(self) -> None:
        """Tell that a worker has begun."""
        _beside.enter()
        _write(self._target, _BEGUN, "")

    def start_bundle(self) -> None:
        """Forget what a bundle left that failed."""
        self._pending.clear()
        self._done = []

    def process(self, piece: Sequence[tuple[int, bytes]]) -> None:
        """Begin on items, and wait for earlier ones."""
        for index, item in piece:
            future, pool = _beside.submit(self._processes, self._function, item)
            self._pending.append((index, future, pool))
            if len(self._pending) >= _AHEAD * self._processes:
                self._await_one()

    def finish_bundle(self) -> None:
        """Wait for all items, and write their results."""
        while self._pending:
            self._await_one()
        _write(self._target, uuid.uuid4().hex, "".join(self._done))

    def teardown(self) -> None:
        """End the processes, if nobody else in this worker has work for them."""
        _beside.leave()

    def _await_one(self) -> None:
        index, future, pool = self._pending.popleft()
        try:
            told = future.result()
        except BrokenProcessPool as error:
            _beside.discard(pool)
            raise WorkerError("a process beside a worker of Beam died (out of memory?)") from error
        self._done.append(f"[{index}, {told}]\n")


class _Beside:
    """The processes beside a worker, which all bundles that it has at work share."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._users = 0
        self._pool: ProcessPoolExecutor | None = None

    def enter(self) -> None:
        """Tell that one more will have work."""
        with self._lock:
            self._users += 1

    def leave(self) -> None:
        """Tell that one has none any more; the last one ends the processes."""
        with self._lock:
            self._users -= 1
            if self._pool is not None and not self._users:
                self._pool.shutdown(kill_workers=True)
                self._pool = None

    def submit(
        self, processes: int, function: bytes, item: bytes
    ) -> tuple[Future[str], ProcessPoolExecutor]:
        """Begin on an item, and return its future and the pool that it is in."""
        with self._lock:
            if self._pool is None:
                self._pool = make_pool(processes, ONE_CORE)
            try:
                return self._pool.submit(call_pickled, function, item), self._pool
            except BrokenProcessPool:  # by another bundle, which tells it
                self._pool = make_pool(processes, ONE_CORE)
                return self._pool.submit(call_pickled, function, item), self._pool

    def discard(self, pool: ProcessPoolExecutor) -> None:
        """Have a new pool made, unless that one has been replaced already."""
        with self._lock:
            if self._pool is pool:
                self._pool = None


_beside = _Beside()


def _options(flags: Sequence[str]) -> PipelineOptions:
    options = PipelineOptions(list(flags))
    standard = options.view_as(StandardOptions)
    if standard.runner in _SWITCHING:
        standard.runner = _LOCAL
    return options


def _processes(options: PipelineOptions) -> int:
    """Return how many processes a worker has: all cores where it is the only one, here."""
    runner = str(options.view_as(StandardOptions).runner).rpartition(".")[2]
    if runner == "PrismRunner":
        return cores()
    if runner != _LOCAL:
        return 1
    workers = options.view_as(DirectOptions).direct_num_workers
    return max(1, cores() // workers) if workers else 1


def _pieces(items: Sequence[Any]) -> list[list[tuple[int, bytes]]]:
    """Return numbered, pickled items in pieces: neighbours share what loads long."""
    size = max(1, min(_MOST_TOGETHER, len(items) // _PIECES))
    numbered = [(index, pickle.dumps(item)) for index, item in enumerate(items)]
    return [numbered[start : start + size] for start in range(0, len(items), size)]


def _write(target: str, name: str, text: str) -> None:
    """Write a file of a folder, which appears whole."""
    with contextlib.suppress(OSError):  # another worker has made it
        FileSystems.mkdirs(target)
    temporary = FileSystems.join(target, f"{uuid.uuid4().hex}.tmp")
    with FileSystems.create(temporary) as file:
        file.write(text.encode())
    path = FileSystems.join(target, name)
    if name == _BEGUN and FileSystems.exists(path):
        FileSystems.delete([temporary])
        return
    FileSystems.rename([temporary], [path])


def _files(target: str) -> list[str]:
    matched = FileSystems.match([FileSystems.join(target, "*")])[0].metadata_list
    return [file.path for file in matched]


def _lines(target: str) -> Iterator[Any]:
    """Yield what the workers have written; an item that was done twice has equal results."""
    for path in _files(target):
        if path.endswith((".tmp", _BEGUN)):
            continue
        with FileSystems.open(path) as file:
            yield from map(json.loads, file.read().decode().splitlines())


def _remove(target: str) -> None:
    with contextlib.suppress(BeamIOError):  # there is nothing
        FileSystems.delete([target])
