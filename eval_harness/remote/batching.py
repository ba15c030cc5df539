"""Requests of many clients, answered by one policy a batch at a time."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from eval_harness.policy import ACTION_DIM, EpisodeKey, Observation, Policy, PolicyError
from eval_harness.policy_thread import PolicyHungError, PolicyThread
from eval_harness.remote.turns import Turns

logger = logging.getLogger(__name__)

_STOPPING = "the server is stopping"
_LAST_WAIT_S = 2.0
"""Seconds for which a server that stops waits for its policy."""

Answer = npt.NDArray[np.float64] | PolicyError


@dataclass
class _Request:
    observation: Observation
    answer: asyncio.Future[npt.NDArray[np.float64]]

    def shapes(self) -> tuple[Any, ...]:
        """Return the shapes that all observations of a batch share, since policies stack them."""
        images, state = self.observation.images, self.observation.state
        shapes = [(name, images[name].shape) for name in sorted(images)]
        return (*shapes, *((name, state[name].shape) for name in sorted(state)))


class Batcher:
    """Collects requests until as many wait as may, or a few milliseconds have passed.

    The policy is called from one thread. What comes while it computes is its next batch. An
    exception of the policy becomes the answer of the requests that cause it alone. While the
    policy hangs all requests are answered by that, until it returns.

    Args:
        policy: The policy.
        most: Requests in a batch, at most.
        wait_s: Seconds for which a request waits for others, at most.
        patience_s: Seconds for one answer of the policy.
        clients: Gives how many clients there are; none is waited for when all have asked.
    """

    def __init__(
        self,
        policy: Policy,
        most: int,
        wait_s: float,
        patience_s: float,
        clients: Callable[[], int],
    ) -> None:
        self.policy = policy
        self.requests = 0
        self.batches = 0
        self._most = min(most, policy.requirements.batch)
        self._wait_s = wait_s
        self._patience_s = patience_s
        self._clients = clients
        self._waiting: Turns[_Request] = Turns()
        self._computing: list[_Request] = []
        self._stopping = asyncio.Event()
        self._arrival = asyncio.Event()
        self._thread = PolicyThread()
        self._late: asyncio.Future[Any] | None = None

    @property
    def hangs(self) -> bool:
        """Whether the policy is still inside a call that has taken too long."""
        return self._late is not None and not self._late.done()

    async def act(
        self, observation: Observation, owner: Hashable = None
    ) -> npt.NDArray[np.float64]:
        """Return the policy's chunk for an observation. Shape: (chunk, 7).

        Each owner's requests have a like share of the batches while several owners' wait.

        Raises:
            PolicyError: the policy gave none.
        """
        if self._stopping.is_set():
            raise PolicyError(_STOPPING)
        if self.hangs:
            raise PolicyHungError(self._patience_s)
        request = _Request(observation, asyncio.get_running_loop().create_future())
        self._waiting.put(owner, request)
        self._arrival.set()
        return await request.answer

    async def reset(self, keys: Sequence[EpisodeKey]) -> None:
        """Reset the policy's episodes.

        Raises:
            PolicyError: it cannot.
        """
        await self._call(self.policy.reset, keys)

    async def end(self, keys: Sequence[EpisodeKey]) -> None:
        """End the policy's episodes.

        Raises:
            PolicyError: it cannot.
        """
        await self._call(self.policy.end, keys)

    async def run(self) -> None:
        """Answer requests until cancelled; those that are left are then told so."""
        try:
            while True:
                self._computing = await self._next_batch()
                if self._computing:
                    await self._compute(self._computing)
        finally:
            self._stopping.set()
            self._refuse(PolicyError(_STOPPING))

    def close(self) -> None:
        """Let the policy's thread end; what hangs in it is left behind."""
        self._thread.close()

    def _refuse(self, error: PolicyError) -> None:
        """Answer all requests by an error."""
        waiting = [self._waiting.take()[1] for _ in range(len(self._waiting))]
        for request in (*self._computing, *waiting):
            if not request.answer.done():
                request.answer.set_exception(error)

    async def _compute(self, batch: Sequence[_Request]) -> None:
        self.requests += len(batch)
        self.batches += 1
        observations = [request.observation for request in batch]
        try:
            answers = await self._ask(lambda: self._act(observations))
        except PolicyHungError as error:
            logger.error("%s: see whether it can be mended, or start the server again", error)
            self._refuse(error)
            return
        for request, answer in zip(batch, answers, strict=True):
            if request.answer.done():
                continue
            if isinstance(answer, PolicyError):
                request.answer.set_exception(answer)
            else:
                request.answer.set_result(answer)

    async def _call(
        self, method: Callable[[Sequence[EpisodeKey]], None], keys: Sequence[EpisodeKey]
    ) -> None:
        try:
            await self._ask(lambda: method(keys))
        except PolicyHungError:
            raise
        except Exception as error:
            logger.exception("the policy failed at the start or end of an episode")
            raise _policy_error(error) from error

    async def _ask[T](self, call: Callable[[], T]) -> T:
        """Make a call of the policy and return what it returns.

        Raises:
            PolicyHungError: it does not return in time, or an earlier call has not.
            PolicyError: it does not return, and the server is stopping.
        """
        if self.hangs:
            raise PolicyHungError(self._patience_s)
        answer = asyncio.wrap_future(self._thread.submit(call))
        stopping = asyncio.ensure_future(self._stopping.wait())
        try:
            first = asyncio.FIRST_COMPLETED
            await asyncio.wait((answer, stopping), timeout=self._patience_s, return_when=first)
            if stopping.done():
                await asyncio.wait((answer,), timeout=_LAST_WAIT_S)
        finally:
            stopping.cancel()
        if answer.done():
            return answer.result()
        self._late = answer
        if self._stopping.is_set():
            raise PolicyError(f"{_STOPPING}, and the policy does not return")
        raise PolicyHungError(self._patience_s)

    async def _next_batch(self) -> list[_Request]:
        await self._wait_for(1, None)
        await self._wait_for(self._most, self._wait_s)
        shapes: tuple[Any, ...] | None = None
        batch: list[_Request] = []
        others: list[tuple[Hashable, _Request]] = []
        while self._waiting and len(batch) < self._most:
            owner, request = self._waiting.take()
            if request.answer.done():
                continue
            shapes = shapes or request.shapes()
            if request.shapes() == shapes:
                batch.append(request)
                self._waiting.charge(owner, 1)
            else:
                others.append((owner, request))
        for owner, request in reversed(others):
            self._waiting.put(owner, request, first=True)
        return batch

    async def _wait_for(self, most: int, seconds: float | None) -> None:
        try:
            async with asyncio.timeout(seconds):
                while len(self._waiting) < max(1, min(most, self._clients())):
                    self._arrival.clear()
                    await self._arrival.wait()
        except TimeoutError:
            return

    def _act(self, observations: Sequence[Observation]) -> list[Answer]:
        try:
            return list(self._checked(self.policy.act(observations), len(observations)))
        except Exception as error:
            if len(observations) > 1:
                return [answer for one in observations for answer in self._act([one])]
            logger.exception("the policy failed")
            return [_policy_error(error)]

    def _checked(self, chunks: object, count: int) -> npt.NDArray[np.float64]:
        array = np.asarray(chunks, dtype=np.float64)
        shape = (count, self.policy.requirements.chunk, ACTION_DIM)
        if array.shape != shape:
            raise PolicyError(f"the policy gave actions of shape {array.shape}, not {shape}")
        if not np.isfinite(array).all():
            raise PolicyError("the policy gave actions with NaN or infinity")
        return array


def _policy_error(error: Exception) -> PolicyError:
    if isinstance(error, PolicyError):
        return error
    return PolicyError(f"the policy failed: {type(error).__name__}: {error}")
