"""Fresh processes for work that must not share one: TensorFlow here, OpenGL there.

TensorFlow and Mesa's software OpenGL each bring an LLVM and crash in one process. So pictures are
rendered in processes that never load TensorFlow, and `build` and `verify` load TensorFlow in a
process of their own. The standard library's pools will not do: their processes import the
caller's main module, and that of `tfds build` imports TensorFlow. loky's do not.
"""

from __future__ import annotations

import collections
import contextlib
import itertools
import json
import os
import pickle
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from typing import Any

from joblib.externals.loky import ProcessPoolExecutor, process_executor
from tqdm import tqdm

from common.errors import DeadProcessError, DlrError, WorkerError, one_line
from common.machine import CORES_VARIABLE, cores, instruction_sets

ONE_CORE = {
    "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "LP_NUM_THREADS": "1",
    **instruction_sets(),
}  # fmt: skip
"""Environment in which numerical libraries and OpenGL use one core, and the same instructions on
every processor, so that episodes that are rolled out here are those of `dlr collect`."""
_AHEAD = 2
"""Items in flight for each process: enough to keep it busy, few enough to bound memory."""
_GROWTH = 2_000_000_000
"""Bytes by which a process may grow before it is replaced. loky takes 300 MB for a leak, which a
second scene's meshes and textures are, and each replacement compiles and uploads them again."""
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
            _processes(workers, ONE_CORE) as executor,
            tqdm(total=len(items), desc=description, unit="item") as progress,
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


def make_pool_of_one() -> ProcessPoolExecutor:
    """Return a pool whose one process works on an item alone.

    It uses one core, shows no progress bar, and its libraries use the instructions that every
    recent x86-64 processor has; see `common.machine.instruction_sets`.
    """
    alone = {CORES_VARIABLE: "1", "TQDM_DISABLE": "1"}
    return make_pool(1, {**ONE_CORE, **alone})


def run_in_fresh_process[Result](
    function: Callable[..., Result], *arguments: Any, environment: dict[str, str] | None = None
) -> Result:
    """Return `function(*arguments)`, computed in a process that ends afterwards.

    Args:
        function: importable by name.
        arguments: what it is called with.
        environment: variables that the process has beside this one's.

    Raises:
        DeadProcessError: the process was killed.
    """
    try:
        with _processes(1, environment) as executor:
            return executor.submit(function, *arguments).result()
    except BrokenProcessPool as error:
        raise DeadProcessError(
            f"the process of {function.__name__} died (out of memory?): run the command again"
        ) from error


def call_pickled(function: bytes, item: bytes) -> str:
    """Return as JSON what a pickled function makes of a pickled item, and None or why it failed."""
    try:
        return json.dumps([pickle.loads(function)(pickle.loads(item)), None])
    except DlrError as expected:
        words = str(expected)
    except Exception as unexpected:  # noqa: BLE001 (told by the caller)
        words = f"{type(unexpected).__name__}: {one_line(unexpected)}"
    return json.dumps([None, words])


@contextlib.contextmanager
def _processes(
    workers: int, environment: dict[str, str] | None = None
) -> Iterator[ProcessPoolExecutor]:
    """Yield a pool whose processes end by themselves, or by force after an exception.

    A process that is killed leaves its semaphores to the resource tracker, which complains.
    """
    executor = make_pool(workers, environment)
    try:
        yield executor
    except BaseException:
        executor.shutdown(kill_workers=True)
        raise
    executor.shutdown()


def make_pool(workers: int, environment: dict[str, str] | None = None) -> ProcessPoolExecutor:
    """Return a pool of fresh processes, which end with this one, however it ends."""
    return ProcessPoolExecutor(
        workers, initializer=_serve, initargs=(os.getpid(), sys.argv), env=environment
    )


def _serve(parent: int, command: Sequence[str]) -> None:
    """Work for a command, and speak for it where someone asks which one is at work here."""
    sys.argv[:] = command
    process_executor._MAX_MEMORY_LEAK_SIZE = _GROWTH
    _die_with_parent(parent)


def _die_with_parent(parent: int) -> None:
    """Kill this process once its parent is gone, so that a killed build leaves nothing running."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(_WATCH_INTERVAL_S)
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=watch, daemon=True).start()
