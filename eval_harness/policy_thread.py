"""The one thread that calls a policy, so that a call which never returns holds nothing else up."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from queue import SimpleQueue
from typing import Any

from eval_harness.policy import PolicyError


class PolicyHungError(PolicyError):
    """A policy has not answered in time, and its thread is still inside it."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"the policy has not answered for {seconds:g} s")


class PolicyThread:
    """Makes calls one after the other; what hangs in one keeps no process from ending."""

    def __init__(self) -> None:
        self._calls: SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None] = SimpleQueue()
        threading.Thread(target=self._work, name="policy", daemon=True).start()

    def submit[T](self, call: Callable[[], T]) -> Future[T]:
        """Have a call made after those before it; one that is cancelled first is left out."""
        future: Future[T] = Future()
        self._calls.put((future, call))
        return future

    def close(self) -> None:
        """End the thread after the calls that were submitted, without waiting for it."""
        self._calls.put(None)

    def _work(self) -> None:
        while (submitted := self._calls.get()) is not None:
            future, call = submitted
            if not future.set_running_or_notify_cancel():
                continue
            try:
                result = call()
            except BaseException as error:  # noqa: BLE001 (whoever waits for the future raises it)
                future.set_exception(error)
            else:
                future.set_result(result)
