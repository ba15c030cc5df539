"""Requests of many clients, answered by one policy a batch at a time."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from eval_harness.policy import ACTION_DIM, EpisodeKey, Observation, Policy, PolicyError

logger = logging.getLogger(__name__)

_STOPPING = "the server is stopping"

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
    exception of the policy becomes the answer of the requests that cause it alone.

    Args:
        policy: The policy.
        most: Requests in a batch, at most.
        wait_s: Seconds for which a request waits for others, at most.
        clients: Gives how many clients there are; none is waited for when all have asked.
    """

    def __init__(
        self, policy: Policy, most: int, wait_s: float, clients: Callable[[], int]
    ) -> None:
        self.policy = policy
        self.requests = 0
        self.batches = 0
        self._most = min(most, policy.requirements.batch)
        self._wait_s = wait_s
        self._clients = clients
        self._waiting: deque[_Request] = deque()
        self._computing: list[_Request] = []
        self._stopped = False
        self._arrival = asyncio.Event()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="policy")

    async def act(self, observation: Observation) -> npt.NDArray[np.float64]:
        """Return the policy's chunk for an observation. Shape: (chunk, 7).

        Raises:
            PolicyError: the policy gave none.
        """
        if self._stopped:
            raise PolicyError(_STOPPING)
        request = _Request(observation, asyncio.get_running_loop().create_future())
        self._waiting.append(request)
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
            self._stopped = True
            for request in (*self._computing, *self._waiting):
                if not request.answer.done():
                    request.answer.set_exception(PolicyError(_STOPPING))

    def close(self) -> None:
        """Start nothing more in the policy's thread."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def _compute(self, batch: Sequence[_Request]) -> None:
        self.requests += len(batch)
        self.batches += 1
        observations = [request.observation for request in batch]
        loop = asyncio.get_running_loop()
        answers = await loop.run_in_executor(self._thread, self._act, observations)
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
            await asyncio.get_running_loop().run_in_executor(self._thread, method, keys)
        except Exception as error:
            logger.exception("the policy failed at the start or end of an episode")
            raise _policy_error(error) from error

    async def _next_batch(self) -> list[_Request]:
        await self._wait_for(1, None)
        await self._wait_for(self._most, self._wait_s)
        shapes: tuple[Any, ...] | None = None
        batch: list[_Request] = []
        others: list[_Request] = []
        while self._waiting and len(batch) < self._most:
            request = self._waiting.popleft()
            if request.answer.done():
                continue
            shapes = shapes or request.shapes()
            (batch if request.shapes() == shapes else others).append(request)
        self._waiting.extendleft(reversed(others))
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
