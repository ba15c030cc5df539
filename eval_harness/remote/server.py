"""Server of a policy over WebSockets, for clients of openpi's and of vla-eval's protocol."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import threading
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.frames import CloseCode
from websockets.http11 import Request, Response

from common.errors import DlrError
from eval_harness.policy import Policy, PolicyError
from eval_harness.remote.batching import Batcher
from eval_harness.remote.session import Session, greeting
from eval_harness.remote.wire import Limits

LOOPBACK = "127.0.0.1"

logger = logging.getLogger(__name__)


class ServeError(DlrError, OSError):
    """A server cannot listen where it was asked to."""


@dataclass(frozen=True)
class ServerConfig:
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
    connections: int = 256
    """Clients at a time, at most."""
    policy_s: float = 600.0
    """Seconds for one answer of the policy; while one takes longer, requests get an error."""
    idle_s: float = 3600.0
    """Seconds after which a silent client is let go."""
    limits: Limits = Limits()
    """Memory that a message may claim."""


class PolicyServer:
    """Serves a policy until it is stopped.

    A malformed message gets one reply that says what is wrong, and the connection goes on; one
    that is too large is refused unread, by closing the connection. `/healthz` answers `OK`, or
    503 while the policy hangs, and `/health` counts requests, batches and clients. Browsers are
    refused, for a page of any site may ask them to connect to the loopback address.

    Args:
        policy: The policy; one thread calls it.
        config: Address and limits.
    """

    def __init__(self, policy: Policy, config: ServerConfig = ServerConfig()) -> None:
        self.config = config
        self.port = config.port
        self._policy = policy
        self._sessions: set[Session] = set()
        self._accepted = 0
        self._batcher: Batcher | None = None

    async def run(self, started: asyncio.Event | None = None) -> None:
        """Serve until cancelled; `started` is set once connections are accepted.

        Raises:
            ServeError: the address cannot be listened on.
        """
        async with self._listening(), asyncio.TaskGroup() as tasks:
            tasks.create_task(self._policy_batches().run())
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
    async def _listening(self) -> AsyncIterator[Server]:
        config = self.config
        most = min(config.batch or self._policy.requirements.batch, config.connections)
        clients = partial(len, self._sessions)
        self._batcher = Batcher(self._policy, most, config.wait_ms / 1000, config.policy_s, clients)
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
                ping_interval=None,
                close_timeout=2,
            )
        except OSError as error:
            raise ServeError(f"cannot listen on {config.host}:{config.port}: {error}") from error
        try:
            self.port = next(iter(server.sockets)).getsockname()[1]
            yield server
        finally:
            server.close()
            await server.wait_closed()
            self._batcher.close()

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
        state = {"status": status.lower(), **counts, "clients": len(self._sessions)}
        return connection.respond(code, json.dumps(state) + "\n")

    async def _connection(self, socket: ServerConnection) -> None:
        if len(self._sessions) >= self.config.connections:
            await socket.close(CloseCode.TRY_AGAIN_LATER, "too many clients")
            return
        self._accepted += 1
        batches = self._policy_batches()
        execute = self.config.execute or self._policy.requirements.chunk
        session = Session(batches, self._accepted, execute, self.config.limits)
        self._sessions.add(session)
        try:
            await self._converse(socket, session)
        except ConnectionClosed as error:
            logger.info("connection %d ended: %s", self._accepted, error)
        except TimeoutError:
            await socket.close(CloseCode.GOING_AWAY, "silent for too long")
        finally:
            self._sessions.discard(session)
            try:
                await session.end()
            except PolicyError as error:
                logger.warning("the policy did not end its episodes: %s", error)

    async def _converse(self, socket: ServerConnection, session: Session) -> None:
        await socket.send(greeting(self._policy))
        while True:
            async with asyncio.timeout(self.config.idle_s):
                data = await socket.recv()
            reply = await session.answer(data)
            if reply is not None:
                async with asyncio.timeout(self.config.idle_s):
                    await socket.send(reply)


async def _stop(task: asyncio.Task[None]) -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
