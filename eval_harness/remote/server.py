"""Server of a policy over WebSockets, for clients of openpi's and of vla-eval's protocol."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import socket
import threading
import time
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from typing import Any, cast

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed, WebSocketException
from websockets.frames import CloseCode
from websockets.http11 import Request, Response

from common.errors import DlrError
from common.machine import return_freed_memory, return_large_blocks
from eval_harness.policy import Policy, PolicyError
from eval_harness.remote.batching import Batcher
from eval_harness.remote.client import Client, Reading
from eval_harness.remote.crowd import Bounds, Crowd
from eval_harness.remote.session import Serving, Session, greeting
from eval_harness.remote.turns import FairLock
from eval_harness.remote.wire import MIB, PICTURE_MARK, Limits, unpack

LOOPBACK = "127.0.0.1"
_LONG_S = 0.01
"""Seconds of reading a message after which the other threads have as many, twice."""
_SWEEP_S = 0.25
"""Seconds between two looks for clients that are overdue, at most."""
_MUCH = 16 * MIB
"""Bytes held by clients after which what they leave is given back to the system."""
_LARGE_BLOCK = 1 << 18
"""Bytes of a block that is given back at once, after clients have taken too much."""
_BACKLOG = 512
"""Connections that may wait to be accepted."""
_ACCEPTED = 31
"""Connections that are accepted in a round of the event loop, less one."""

logger = logging.getLogger(__name__)


class ServeError(DlrError, OSError):
    """A server cannot listen where it was asked to."""


@dataclass(frozen=True)
class ServerConfig(Bounds):
    """Where a server listens and how much it takes from its clients."""

    host: str = LOOPBACK
    """Address to listen on; who reaches it can use the policy."""
    port: int = 8000
    """Port; 0 for any that is free."""
    wait_ms: float = 5.0
    """Milliseconds for which a request waits for others to make a batch with, at most."""
    batch: int | None = None
    """Requests answered together, at most; by default what the policy takes."""
    execute: int | None = None
    """Actions of a chunk that vla-eval's clients are given before the policy looks; None: all."""
    policy_s: float = 600.0
    """Seconds for one answer of the policy; while one takes longer, requests get an error."""
    limits: Limits = Limits(message=8 * MIB, decoded=32 * MIB)
    """Memory that a message may claim."""


class PolicyServer:
    """Serves a policy until it is stopped.

    A malformed message gets one reply that says what is wrong, and the connection goes on; one
    that is too large is refused unread, by closing the connection. `/healthz` answers `OK`, or
    503 while the policy hangs, and `/health` counts requests, batches and clients. Browsers are
    refused, for a page of any site may ask them to connect to the loopback address. What clients
    hold is bounded, and each address has its turn at all that is scarce: places, the event loop,
    the reading of pictures, and the policy.

    Args:
        policy: The policy; one thread calls it.
        config: Address and limits.
    """

    def __init__(self, policy: Policy, config: ServerConfig = ServerConfig()) -> None:
        self.config = config
        self.port = config.port
        self._policy = policy
        self._crowd: Crowd[Client] = Crowd(config)
        self._accepted = 0
        self._decoding = {files: FairLock() for files in (False, True)}
        self._batcher: Batcher | None = None

    async def run(self, started: asyncio.Event | None = None) -> None:
        """Serve until cancelled; `started` is set once connections are accepted.

        Raises:
            ServeError: the address cannot be listened on.
        """
        reading = Reading()
        async with self._listening(reading), asyncio.TaskGroup() as tasks:
            tasks.create_task(self._policy_batches().run())
            tasks.create_task(reading.run())
            tasks.create_task(self._sweep())
            if started is not None:
                started.set()

    @contextlib.contextmanager
    def background(self) -> Iterator[PolicyServer]:
        """Serve from a thread of its own while the block runs; `port` is the port in use.

        Raises:
            ServeError: the address cannot be listened on.
        """
        loop = asyncio.new_event_loop()
        thread = threading.Thread(target=loop.run_forever, name="server", daemon=True)
        thread.start()
        try:
            task = asyncio.run_coroutine_threadsafe(self._start(), loop).result()
            try:
                yield self
            finally:
                asyncio.run_coroutine_threadsafe(_stop(task), loop).result()
        finally:
            loop.call_soon_threadsafe(loop.stop)
            thread.join()
            loop.close()

    async def _start(self) -> asyncio.Task[None]:
        started = asyncio.Event()
        task = asyncio.create_task(self.run(started))
        waiting = asyncio.create_task(started.wait())
        await asyncio.wait((task, waiting), return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        if task.done():
            await task
        return task

    @contextlib.asynccontextmanager
    async def _listening(self, reading: Reading) -> AsyncIterator[Server]:
        config = self.config
        most = min(config.batch or self._policy.requirements.batch, config.connections)
        clients = partial(len, self._crowd.seated)
        self._batcher = Batcher(self._policy, most, config.wait_ms / 1000, config.policy_s, clients)
        self._pools = {files: ThreadPoolExecutor(1, "decode") for files in (False, True)}
        connect = partial(Client, crowd=self._crowd, reading=reading)
        try:
            server = await serve(
                self._connection,
                config.host,
                config.port,
                process_request=self._health,
                compression=None,
                max_size=config.limits.message,
                max_queue=1,
                origins=[None],
                open_timeout=config.handshake_s,
                ping_interval=None,
                close_timeout=2,
                create_connection=cast(type[ServerConnection], connect),
                backlog=_ACCEPTED,
            )
        except OSError as error:
            raise ServeError(f"cannot listen on {config.host}:{config.port}: {error}") from error
        try:
            for listening in server.sockets:
                _let_wait(listening.fileno(), _BACKLOG)
            self.port = next(iter(server.sockets)).getsockname()[1]
            yield server
        finally:
            server.close()
            await server.wait_closed()
            self._batcher.close()
            for pool in self._pools.values():
                pool.shutdown(wait=False)

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(min(_SWEEP_S, self.config.silent_s / 2, self.config.idle_s / 2))
            self._crowd.sweep()
            if self._crowd.was_full:
                return_large_blocks(_LARGE_BLOCK)
            if self._crowd.take_peak() > _MUCH:
                return_freed_memory()

    async def _decode(self, owner: str, data: bytes) -> dict[str | bytes, Any]:
        """Read a message in a thread, each owner in its turn.

        Those with pictures as files, which take a hundred times as long, hold up none without.
        """
        files = PICTURE_MARK in data
        async with self._decoding[files].turn(owner):
            work = asyncio.get_running_loop().run_in_executor
            message, seconds = await work(self._pools[files], self._timed_unpack, data)
            self._decoding[files].charge(owner, seconds)
            return message

    def _timed_unpack(self, data: bytes) -> tuple[dict[str | bytes, Any], float]:
        start = time.thread_time()
        try:
            message = unpack(data, self.config.limits)
        finally:
            seconds = time.thread_time() - start
            if seconds > _LONG_S:  # Pillow keeps all other threads from running meanwhile
                time.sleep(2 * seconds)
        return message, seconds

    def _policy_batches(self) -> Batcher:
        if self._batcher is None:
            raise RuntimeError("the server is not running")
        return self._batcher

    def _health(self, connection: ServerConnection, request: Request) -> Response | None:
        path = request.path.partition("?")[0]
        if path not in ("/healthz", "/health"):
            return None
        batches = self._policy_batches()
        code = HTTPStatus.SERVICE_UNAVAILABLE if batches.hangs else HTTPStatus.OK
        status = "the policy hangs" if batches.hangs else "OK"
        if path == "/healthz":
            return connection.respond(code, f"{status}\n")
        counts = {"requests": batches.requests, "batches": batches.batches}
        state = {"status": status.lower(), **counts, "clients": len(self._crowd.seated)}
        return connection.respond(code, json.dumps(state) + "\n")

    async def _connection(self, connection: ServerConnection) -> None:
        client = cast(Client, connection)
        if refusal := self._crowd.seat(client):
            await client.close(CloseCode.TRY_AGAIN_LATER, refusal)
            return
        self._accepted += 1
        number = self._accepted
        execute = self.config.execute or self._policy.requirements.chunk
        serving = Serving(self._policy_batches(), execute, self.config.limits, self._decode)
        session = Session(serving, number, client.owner, client.keep)
        try:
            await client.send(greeting(self._policy, execute))
            await self._converse(client, session)
        except ConnectionClosed as error:
            logger.info("connection %d ended: %s", number, error)
        except WebSocketException as error:
            await client.close(CloseCode.MESSAGE_TOO_BIG, str(error))
        finally:
            self._crowd.rise(client)
            try:
                await session.end()
            except PolicyError as error:
                logger.warning("the policy did not end its episodes: %s", error)

    async def _converse(self, client: Client, session: Session) -> None:
        while True:
            reply = await client.unless_lost(session.answer(await client.next_message()))
            client.rest(session.asked)
            if reply is not None:
                await client.send(reply)


def _let_wait(descriptor: int, connections: int) -> None:
    """Let connections wait to be accepted; asyncio lets as many wait as it accepts at a time."""
    with socket.socket(fileno=os.dup(descriptor)) as same:
        same.listen(connections)


async def _stop(task: asyncio.Task[None]) -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
