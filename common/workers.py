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
import traceback
import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from typing import Any, Protocol

from joblib.externals.loky import ProcessPoolExecutor
from tqdm import tqdm

from common.errors import DlrError, WorkerError, one_line
from common.machine import CORES_VARIABLE, cores

_ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "LP_NUM_THREADS": "1"}
_ALONE = {**_ONE_THREAD, CORES_VARIABLE: "1", "TQDM_DISABLE": "1"}
"""Of a process that works on an item alone: one core, and no progress bar of its own."""
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
    workers = max(1, min(workers or cores(), len(items)))
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


@dataclass(frozen=True)
class Outcome[Result]:
    """What became of a work item."""

    index: int
    """Its place among the items."""
    result: Result | None
    """What the function returned; None if it failed."""
    error: str | None
    """Why it failed, in one line; None if it did not."""
    seconds: float
    """How long it took, without the start of its process."""
    details: str = ""
    """Traceback of an unexpected error."""


class Backend(Protocol):
    """Where work items are run."""

    def run(
        self, function: Callable[[Any], Any], items: Sequence[Any], description: str
    ) -> Iterator[Any]:
        """Yield `function(item)` for each item, in order."""

    def attempt(
        self, function: Callable[[Any], Any], items: Sequence[Any], description: str
    ) -> Iterator[Outcome[Any]]:
        """Yield each item's outcome, in any order."""


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

    def attempt(
        self, function: Callable[[Any], Any], items: Sequence[Any], description: str
    ) -> Iterator[Outcome[Any]]:
        """Yield each item's outcome as it ends, with a progress bar.

        An item has a process of its own, which ends with it: a death is no other item's.
        """
        failed = 0
        with tqdm(total=len(items), desc=description, unit="item") as progress:
            for outcome in _attempts(function, items, self.workers or cores()):
                failed += outcome.error is not None
                progress.set_postfix(failed=failed, refresh=False)
                progress.update()
                yield outcome


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

    def attempt(
        self, function: Callable[[Any], Any], items: Sequence[Any], description: str
    ) -> Iterator[Outcome[Any]]:
        """Yield each item's outcome, in order, once all have ended.

        Raises:
            WorkerError: the pipeline itself failed.
        """
        apart = functools.partial(_attempt_apart, function)
        for index, (result, *others) in enumerate(self.run(apart, items, description)):
            yield Outcome(index, result, *others)


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


def attempt_items[Item, Result](
    function: Callable[[Item], Result],
    items: Sequence[Item],
    backend: Backend,
    description: str = "",
) -> Iterator[Outcome[Result]]:
    """Yield each item's outcome: one that fails, or whose process dies, leaves the others be.

    For items that take seconds to hours, such as a task's demonstrations or a training. Each runs
    in a fresh process, which uses one core. Leaving the iterator ends the items at work.

    Args:
        function: as for `run_items`: called again for an item that is done, it does nothing.
        items: frozen and picklable.
        backend: `Processes()` yields outcomes as items end; `Beam(...)`, for which results must
            be JSON, in order once all have ended.
        description: what is done, for progress and errors.

    Raises:
        WorkerError: Beam's pipeline failed.
    """
    return backend.attempt(function, items, description)


def _attempts(
    function: Callable[[Any], Any], items: Sequence[Any], workers: int
) -> Iterator[Outcome[Any]]:
    """Yield outcomes as items end, of which `workers` are at work at a time."""
    waiting = enumerate(items)
    running: dict[Future[_Attempt], tuple[int, float, ProcessPoolExecutor]] = {}
    try:
        while True:
            for index, item in itertools.islice(waiting, workers - len(running)):
                executor = _executor(1, _ALONE)
                future = executor.submit(_attempt, function, item)
                running[future] = (index, time.monotonic(), executor)
            if not running:
                return
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                index, began, executor = running.pop(future)
                executor.shutdown()
                yield Outcome(index, *_ended(future, began))
    finally:
        for _, _, executor in running.values():
            executor.shutdown(kill_workers=True)


type _Attempt = tuple[Any, str | None, float, str]
"""An outcome without its index."""


def _attempt(function: Callable[[Any], Any], item: Any) -> _Attempt:
    """Work on an item, and tell an error instead of raising it."""
    began, result, error, details = time.monotonic(), None, None, ""
    try:
        result = function(item)
    except DlrError as expected:
        error = str(expected)
    except Exception as unexpected:  # noqa: BLE001 (told by the outcome)
        error = f"{type(unexpected).__name__}: {one_line(unexpected)}"
        details = traceback.format_exc()
    return result, error, time.monotonic() - began, details


def _ended(future: Future[_Attempt], began: float) -> _Attempt:
    """Return what an item's process has said, or how it ended without a word."""
    error = future.exception()
    if error is None:
        return future.result()
    if not isinstance(error, Exception):  # such as an interruption by the user
        raise error
    if isinstance(error, BrokenProcessPool):
        words = "its process died (out of memory?)"
    else:
        words = f"{type(error).__name__}: {one_line(error)}"
    return None, words, time.monotonic() - began, ""


def _attempt_apart(function: Callable[[Any], Any], item: Any) -> _Attempt:
    """Attempt an item in a process that ends with it."""
    (outcome,) = _attempts(function, [item], 1)
    return outcome.result, outcome.error, outcome.seconds, outcome.details


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
