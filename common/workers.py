"""Fresh processes for work that must not share one: TensorFlow here, OpenGL there.

TensorFlow and Mesa's software OpenGL each bring an LLVM and crash in one process. So pictures are
rendered in processes that never load TensorFlow, and `build` and `verify` load TensorFlow in a
process of their own. The standard library's pools will not do: their processes import the
caller's main module, and that of `tfds build` imports TensorFlow. loky's do not.
"""

from __future__ import annotations

import collections
import contextlib
import functools
import itertools
import json
import os
import signal
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from typing import Any, Protocol

from joblib.externals.loky import ProcessPoolExecutor
from tqdm import tqdm

from common.errors import WorkerError

_ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "LP_NUM_THREADS": "1"}
_AHEAD = 2
"""Items in flight for each process: enough to keep it busy, few enough to bound memory."""
_WATCH_INTERVAL_S = 0.5


def map_in_processes[Item, Result](
    function: Callable[[Item], Result],
    items: Sequence[Item],
    workers: int | None = None,
    description: str = "",
) -> Iterator[Result]:
    """Yield `function(item)` for each item, in order, with a progress bar and flat memory.

    Args:
        function: importable by name, or a `functools.partial` of such a function.
        items: what to map over.
        workers: processes; by default one for each core.
        description: label of the progress bar.

    Raises:
        WorkerError: a process was killed.
    """
    workers = max(1, min(workers or len(os.sched_getaffinity(0)), len(items)))
    remaining = iter(items)
    pending: collections.deque[Future[Result]] = collections.deque()
    try:
        with (
            _processes(workers, _ONE_THREAD) as executor,
            tqdm(total=len(items), desc=description, unit="episode") as progress,
        ):
            for item in itertools.islice(remaining, _AHEAD * workers):
                pending.append(executor.submit(function, item))
            while pending:
                result = pending.popleft().result()
                pending.extend(executor.submit(function, i) for i in itertools.islice(remaining, 1))
                progress.update()
                yield result
    except BrokenProcessPool as error:
        raise WorkerError(
            f"a process died while {description} (out of memory?): run again with fewer workers"
        ) from error


class Backend(Protocol):
    """Where work items are run."""

    def run(
        self, function: Callable[[Any], Any], items: Sequence[Any], description: str
    ) -> Iterator[Any]:
        """Yield `function(item)` for each item, in order."""


@dataclass(frozen=True)
class Processes:
    """Processes of this machine."""

    workers: int | None = None
    """How many; by default one for each core."""

    def run(
        self, function: Callable[[Any], Any], items: Sequence[Any], description: str
    ) -> Iterator[Any]:
        """Yield `function(item)` for each item, in order, as they are done."""
        return map_in_processes(function, items, self.workers, description)


@dataclass(frozen=True)
class Beam:
    """Any runner of Apache Beam: workers that may share nothing with this process but a folder."""

    options: tuple[str, ...]
    """The pipeline's, such as `--runner=FlinkRunner`."""
    folder: str
    """Folder, on storage that all workers reach, through which results come back as JSON."""

    def run(
        self, function: Callable[[Any], Any], items: Sequence[Any], description: str
    ) -> Iterator[Any]:
        """Yield `function(item)` for each item, in order, once all are done.

        Raises:
            WorkerError: the pipeline failed; `function` runs again where it is started again.
        """
        import apache_beam as beam
        from apache_beam.io.filesystems import FileSystems
        from apache_beam.options.pipeline_options import PipelineOptions

        target = FileSystems.join(self.folder, f"{uuid.uuid4().hex}-results")
        try:
            with beam.Pipeline(options=PipelineOptions(list(self.options))) as pipeline:
                _ = (
                    pipeline
                    | beam.Create(list(enumerate(items)))
                    | beam.Reshuffle()
                    | beam.Map(functools.partial(_numbered, function))
                    | beam.io.WriteToText(target)
                )
            files = FileSystems.match([f"{target}*"])[0].metadata_list
            lines = [line for file in files for line in _lines(file.path)]
            FileSystems.delete([file.path for file in files])
        except Exception as error:
            words = " ".join(str(error).split())[:300]
            raise WorkerError(f"{description} failed on Beam's runner: {words}") from error
        results = dict(map(json.loads, lines))
        return (results[index] for index in range(len(items)))


def run_items[Item, Result](
    function: Callable[[Item], Result],
    items: Sequence[Item],
    backend: Backend,
    description: str = "",
) -> Iterator[Result]:
    """Yield `function(item)` for each item, in order, wherever the backend runs it.

    Args:
        function: importable by name, or a `functools.partial` of such a function. It keeps what
            it makes by itself, whole or not at all, and does nothing where that is there already.
        items: frozen and picklable.
        backend: `Processes()`, or `Beam(...)`, for which results must be JSON.
        description: what is done, for progress and errors.

    Raises:
        WorkerError: a process was killed, or the pipeline failed.
    """
    return backend.run(function, items, description)


def _numbered(function: Callable[[Any], Any], item: tuple[int, Any]) -> str:
    """Return the number and the result of an item as a line of JSON."""
    return json.dumps([item[0], run_beside(function, item[1])])


def _lines(path: str) -> list[str]:
    from apache_beam.io.filesystems import FileSystems

    with FileSystems.open(path) as file:
        return str(file.read().decode()).splitlines()


def run_in_fresh_process[Result](
    function: Callable[..., Result], *arguments: Any, environment: dict[str, str] | None = None
) -> Result:
    """Return `function(*arguments)`, computed in a process that ends afterwards.

    Args:
        function: importable by name.
        arguments: what it is called with.
        environment: variables that the process has beside this one's.

    Raises:
        WorkerError: the process was killed.
    """
    try:
        with _processes(1, environment) as executor:
            return executor.submit(function, *arguments).result()
    except BrokenProcessPool as error:
        raise WorkerError(
            f"the process of {function.__name__} died (out of memory?): run the command again"
        ) from error


def run_beside[Result](function: Callable[..., Result], *arguments: Any) -> Result:
    """Return `function(*arguments)`, computed in the one process that stays beside this one."""
    return _companion(os.getpid()).submit(function, *arguments).result()


@functools.cache
def _companion(process_id: int) -> ProcessPoolExecutor:
    return _executor(1, _ONE_THREAD)


@contextlib.contextmanager
def _processes(
    workers: int, environment: dict[str, str] | None = None
) -> Iterator[ProcessPoolExecutor]:
    """Yield a pool whose processes end by themselves, or by force after an exception.

    A process that is killed leaves its semaphores to the resource tracker, which complains.
    """
    executor = _executor(workers, environment)
    try:
        yield executor
    except BaseException:
        executor.shutdown(kill_workers=True)
        raise
    executor.shutdown()


def _executor(workers: int, environment: dict[str, str] | None = None) -> ProcessPoolExecutor:
    return ProcessPoolExecutor(
        workers, initializer=_serve, initargs=(os.getpid(), sys.argv), env=environment
    )


def _serve(parent: int, command: Sequence[str]) -> None:
    """Work for a command, and speak for it where someone asks which one is at work here."""
    sys.argv[:] = command
    _die_with_parent(parent)


def _die_with_parent(parent: int) -> None:
    """Kill this process once its parent is gone, so that a killed build leaves nothing running."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(_WATCH_INTERVAL_S)
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=watch, daemon=True).start()
