"""A small policy whose answers are checked, its observations, and servers that misbehave."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
from websockets.asyncio.server import ServerConnection, serve

from eval_harness.policy import EpisodeKey, Observation, Policy, Requirements
from eval_harness.remote.connection import ClientConfig

CHUNK = 4


def anyones(key: EpisodeKey) -> EpisodeKey:
    """The key of an episode, whichever client runs it."""
    return replace(key, client="")


PATIENT = ClientConfig(connect_s=60, first_reply_s=60, reply_s=60)


def expected(observation: Observation, chunk: int = CHUNK) -> npt.NDArray[np.float64]:
    """Actions that tell every part of the observation apart, (chunk, 7), in [-1, 1]."""
    front, wrist = (observation.images[c] for c in Requirements().cameras)
    state, key = observation.state["proprio"], observation.key
    parts = (
        front[0, 1, 2] / 255,
        wrist[1, 0, 0] / 255,
        state[0] / 10,
        state[7] / 10,
        len(observation.instruction) / 100,
        (key.episode + 7 * key.seed) % 1000 / 1000,
    )
    row = np.array([*parts, 1.0])
    return np.array([row * (1 - step / 100) for step in range(chunk)])


class CheckedPolicy(Policy):
    """Answers by `expected`, remembers what it was asked, and says when it is asked at all."""

    def __init__(
        self, batch: int = 8, slow: threading.Event | None = None, patience_s: float = 10
    ) -> None:
        self.requirements = Requirements(chunk=CHUNK, batch=batch)
        self.batches: list[int] = []
        self.seen: list[Observation] = []
        self.resets: list[EpisodeKey] = []
        self.ends: list[EpisodeKey] = []
        self.asked = threading.Event()
        self._gate, self._patience_s = slow, patience_s

    def act(self, observations: Sequence[Observation]) -> npt.NDArray[np.float64]:
        self.asked.set()
        if self._gate is not None:
            self._gate.wait(self._patience_s)
        self.batches.append(len(observations))
        self.seen += observations
        if any(observation.instruction == "break" for observation in observations):
            raise RuntimeError("broken on purpose")
        chunks = np.stack([expected(observation) for observation in observations])
        chunks[[observation.instruction == "nan" for observation in observations]] = np.nan
        return chunks

    def reset(self, keys: Sequence[EpisodeKey]) -> None:
        self.resets += keys

    def end(self, keys: Sequence[EpisodeKey]) -> None:
        self.ends += keys

    def identity(self) -> dict[str, object]:
        return {"kind": "checked", "hash": "abc"}


def observation(
    episode: int = 0, step: int = 0, instruction: str = "open the drawer", size: int = 32
) -> Observation:
    """An observation of random content that depends on its episode and step alone.

    Every fourth episode starts from no official init state.
    """
    random = np.random.default_rng([episode, step])
    images = {
        camera: random.integers(0, 256, (size, size, 3), dtype=np.uint8)
        for camera in Requirements().cameras
    }
    init_index = -1 if episode % 4 == 3 else episode % 50
    key = EpisodeKey("libero_spatial/task", episode, init_index, 11)
    return Observation(key, step, instruction, images, {"proprio": random.normal(size=8)})


@contextlib.contextmanager
def raw_server(handler: Callable[[ServerConnection], Awaitable[None]]) -> Iterator[str]:
    """A WebSocket server with any behaviour, in a thread; gives its `HOST:PORT`."""
    started: list[str] = []
    ready, loop = threading.Event(), asyncio.new_event_loop()
    stop = asyncio.Event()

    async def run() -> None:
        async with serve(handler, "127.0.0.1", 0, compression=None, close_timeout=1) as server:
            started.append(f"127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}")
            ready.set()
            await stop.wait()

    thread = threading.Thread(target=loop.run_until_complete, args=(run(),), daemon=True)
    thread.start()
    assert ready.wait(10)
    try:
        yield started[0]
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(10)
