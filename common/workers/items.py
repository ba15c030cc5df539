"""Work items: a picklable function over frozen items, on processes of this machine or on Beam."""

from __future__ import annotations

import functools
import itertools
import math
import re
import time
import traceback
import uuid
from collections.abc import Callable, Iterator, Sequence, Set
from concurrent.futures import FIRST_COMPLETED, Future, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from typing import Any, Protocol

from joblib.externals.loky import ProcessPoolExecutor
from tqdm import tqdm

from common.errors import (
    DeadProcessError,
    DlrError,
    SettingError,
    UnfinishedPipelineError,
    one_line,
)
from common.machine import cores
from common.workers.processes import make_pool_of_one, map_in_processes, run_in_fresh_process

_TRIES = 3
"""Starts of a pipeline of which a part has died."""


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
    left_out: bool = False
    """Whether it was not begun, as an item that it comes after has failed."""


@dataclass(frozen=True)
class After:
    """Which items wait for which."""

    items: Sequence[Sequence[int]] = ()
    """For each item, the earlier ones that it comes after; empty where none waits for another."""
    may_fail: Sequence[Set[int]] = ()
    """For each item, those of them that need only have ended, though they have failed."""


class Backend(Protocol):
    """Where work items are run."""

    def run(
        self, function: Callable[[Any], Any], items: Sequence[Any], description: str
    ) -> Iterator[Any]:
        """Yield `function(item)` for each item, in order."""

    def attempt(
        self,
        function: Callable[[Any], Any],
        items: Sequence[Any],
        description: str,
        after: After = After(),
    ) -> Iterator[Outcome[Any]]:
        """Yield each item's outcome, in any order."""


def _check_workers(workers: int | None) -> None:
    """Raise SettingError if there are to be less than one process."""
    if workers is not None and workers < 1:
        raise SettingError(f"workers must be at least 1, not {workers}")


@dataclass(frozen=True)
class Processes:
    """Processes of this machine."""

    workers: int | None = None
    """How many; by default one for each core."""
    bar: bool = True
    """Whether `attempt` shows a progress bar."""
    may_begin: Callable[[Any], bool] | None = None
    """Asked by `attempt` when an item's turn has come; items that never may have no outcome."""
    limit: float = math.inf
    """Seconds after which `attempt` ends an item's process, and the item has failed."""

    def __post_init__(self) -> None:
        """Check the number; raises SettingError."""
        _check_workers(self.workers)

    def run(
        self, function: Callable[[Any], Any], items: Sequence[Any], description: str
    ) -> Iterator[Any]:
        """Yield `function(item)` for each item, in order, as they are done."""
        return map_in_processes(function, items, self.workers, description)

    def attempt(
        self,
        function: Callable[[Any], Any],
        items: Sequence[Any],
        description: str,
        after: After = After(),
    ) -> Iterator[Outcome[Any]]:
        """Yield each item's outcome as it ends, with a progress bar.

        An item has a process of its own, which ends with it: a death is no other item's.
        """
        failed = 0
        with tqdm(
            total=len(items), desc=description, unit="item", disable=not self.bar
        ) as progress:
            workers = self.workers or cores()
            for outcome in _attempts(function, items, workers, after, self.may_begin, self.limit):
                failed += outcome.error is not None
                progress.set_postfix(failed=failed, refresh=False)
                progress.update()
                yield outcome


@dataclass(frozen=True)
class Beam:
    """Any runner of Apache Beam: workers that may share nothing with this process but a folder.

    `DirectRunner` means `FnApiRunner` here, the one of Beam's own runners on this machine that
    needs no download.
    """

    options: tuple[str, ...]
    """The pipeline's, such as `--runner=FlinkRunner`."""
    folder: str
    """Folder, on storage that all workers reach, through which results come back as JSON."""
    workers: int | None = None
    """Processes beside each of Beam's workers; by default one, or all cores where the runner has
    one worker on this machine (FnApiRunner, PrismRunner)."""

    def __post_init__(self) -> None:
        """Check the number; raises SettingError."""
        _check_workers(self.workers)

    def run(
        self, function: Callable[[Any], Any], items: Sequence[Any], description: str
    ) -> Iterator[Any]:
        """Yield `function(item)` for each item, in order, once all are done.

        A pipeline that fails though its workers had begun, such as one of a runner that does not
        replace a worker that died, is started again; what is done is not done again.

        Raises:
            WorkerError: an item failed, or the pipeline, three times or before a worker began.
        """
        targets: list[str] = []
        while True:
            targets.append(f"{self.folder.rstrip('/')}/{uuid.uuid4().hex}-results")
            how = (self.options, tuple(targets), self.workers, description)
            try:
                return iter(run_in_fresh_process(_run_pipeline, function, items, *how))
            except (DeadProcessError, UnfinishedPipelineError):
                if len(targets) == _TRIES:
                    raise

    def attempt(
        self,
        function: Callable[[Any], Any],
        items: Sequence[Any],
        description: str,
        after: After = After(),
    ) -> Iterator[Outcome[Any]]:
        """Yield each item's outcome, in order, once all have ended.

        Items that come after others have a pipeline of their own, once those have ended.

        Raises:
            WorkerError: the pipeline itself failed.
        """
        apart, queue = functools.partial(_attempt_apart, function), _Queue(len(items), after)
        while ready := queue.take(len(items)):
            results = self.run(apart, [items[index] for index in ready], description)
            for index, (result, *others) in zip(ready, results, strict=True):
                outcome = Outcome(index, result, *others)
                yield outcome
                yield from queue.end(outcome)


def beam_options(text: str) -> tuple[str, ...]:
    """Return Beam's options of `runner=FlinkRunner,parallelism=2`: each with its dashes.

    A comma within an option's value, as JSON has, is none between two options if no name and `=`
    come after it.
    """
    parts = re.split(r",(?=-{0,2}[a-z_]+(?:=|,|$))", text.strip())
    return tuple(f"--{part.strip().lstrip('-')}" for part in parts if part.strip())


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
    after: After = After(),
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
        after: which items wait for which; one that waits for an item that has failed is left
            out, and its outcome says so.

    Raises:
        WorkerError: Beam's pipeline failed.
    """
    return backend.attempt(function, items, description, after)


class _Queue:
    """Which items may begin: the first ones, in order, of those that wait for no other."""

    def __init__(self, count: int, after: After) -> None:
        self._missing = {
            index: set(after.items[index]) if after.items else set[int]() for index in range(count)
        }
        self._may_fail = after.may_fail or [frozenset[int]()] * count

    def take(self, count: int, may_begin: Callable[[int], bool] = lambda _: True) -> list[int]:
        """Remove and return up to `count` items that may begin."""
        waiting = self._missing.items()
        free = (index for index, missing in waiting if not missing and may_begin(index))
        taken = list(itertools.islice(free, count))
        for index in taken:
            del self._missing[index]
        return taken

    def end(self, outcome: Outcome[Any]) -> list[Outcome[Any]]:
        """Let go on what came after an item; if it failed, return what is left out for that."""
        lost: list[int] = []
        ended = [outcome.index]
        for index, missing in list(self._missing.items()):  # which come after earlier ones alone
            if missing.isdisjoint(ended):
                continue
            if outcome.error is None or missing.intersection(ended) <= self._may_fail[index]:
                missing.difference_update(ended)
            else:
                del self._missing[index]
                lost.append(index)
                ended.append(index)
        words = f"left out: {outcome.error}"
        return [Outcome(index, None, words, 0.0, left_out=True) for index in lost]


def _attempts(
    function: Callable[[Any], Any],
    items: Sequence[Any],
    workers: int,
    after: After = After(),
    may_begin: Callable[[Any], bool] | None = None,
    limit: float = math.inf,
) -> Iterator[Outcome[Any]]:
    """Yield outcomes as items end, of which `workers` are at work at a time."""
    queue = _Queue(len(items), after)
    running: _Running = {}
    allowed = (lambda index: may_begin(items[index])) if may_begin else lambda _: True
    try:
        while True:
            for index in queue.take(workers - len(running), allowed):
                executor = make_pool_of_one()
                future = executor.submit(_attempt, function, items[index])
                running[future] = (index, time.monotonic(), executor)
            if not running:
                return
            for outcome in _end_some(running, limit):
                yield outcome
                yield from queue.end(outcome)
    finally:
        for _, _, executor in running.values():
            executor.shutdown(kill_workers=True)


type _Attempt = tuple[Any, str | None, float, str]
"""An outcome without its index."""
type _Running = dict[Future[_Attempt], tuple[int, float, ProcessPoolExecutor]]
"""Items at work: place, when it began, its process."""


def _end_some(running: _Running, limit: float) -> Iterator[Outcome[Any]]:
    """Wait until items have ended or are over the limit; take them out and yield what they gave."""
    first = min(began for _, began, _ in running.values())
    left = None if math.isinf(limit) else max(0.0, first + limit - time.monotonic())
    for future in wait(running, left, FIRST_COMPLETED).done:
        index, began, executor = running.pop(future)
        executor.shutdown()
        yield Outcome(index, *_ended(future, began))
    for future, (index, began, executor) in list(running.items()):
        took = time.monotonic() - began
        if took >= limit:
            del running[future]
            executor.shutdown(kill_workers=True)
            yield Outcome(index, None, f"it took longer than {limit / 60:.3g} minutes", took)


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


def _run_pipeline(*arguments: Any) -> list[Any]:
    """Run a pipeline here: gRPC's threads, beside which a process must not fork, end with it."""
    from common.workers.pipelines import run_pipeline

    return run_pipeline(*arguments)
