"""Connections to a policy's server: they time out, take no large reply, and are made again."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidURI, WebSocketException
from websockets.frames import CloseCode

from eval_harness.policy import PolicyError
from eval_harness.remote.wire import MIB, Limits, WireError, unpack

DEFAULT_PORT = 8000
_FIRST_WAIT_S = 0.1
_LONGEST_WAIT_S = 2.0
_REPLY_LIMITS = Limits(message=8 * MIB, decoded=32 * MIB)


@dataclass(frozen=True)
class ClientConfig:
    """How long a client waits for a policy's server, and how much it takes from it."""

    connect_s: float = 10.0
    """Seconds in which a connection must stand; it is tried again and again until then."""
    first_reply_s: float = 300.0
    """Seconds for a client's very first reply, before which a server may compile its model."""
    reply_s: float = 60.0
    """Seconds for every other reply."""
    limits: Limits = _REPLY_LIMITS
    """Memory that a reply may claim."""


def websocket_url(url: str) -> str:
    """Return `ws://HOST:PORT` for `openpi://...`, `vla-eval://...`, `ws://...` or `HOST:PORT`.

    Raises:
        PolicyError: it names no host, or another scheme.
    """
    scheme, found, rest = url.partition("://")
    scheme, rest = (scheme, rest) if found else ("ws", url)
    if scheme in ("openpi", "vla-eval"):
        scheme = "ws"
    try:
        parts = urlsplit(f"{scheme}://{rest}")
        host = parts.hostname
        port = parts.port or (443 if scheme == "wss" else DEFAULT_PORT)
        (host or "").encode("idna")
    except ValueError as error:
        raise PolicyError(f"{url!r} is no address of a server: {error}") from error
    if scheme not in ("ws", "wss") or not host:
        raise PolicyError(f"{url!r} is no address of a server, such as openpi://127.0.0.1:8000")
    if parts.query or parts.fragment:
        raise PolicyError(
            f"{url!r} is no address of a server: only vla-eval's takes an option "
            "(#chunk=5), and none a query"
        )
    host = f"[{host}]" if ":" in host else host
    return f"{scheme}://{host}:{port}{parts.path}"


class BackgroundLoop:
    """An event loop in a thread of its own, so that pings are answered between two calls."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="remote", daemon=True)
        self._thread.start()

    def run[T](self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine to its end and return what it returns."""
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._loop.is_closed()

    def close(self) -> None:
        """Stop the thread; nothing can be run afterwards."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


class Link:
    """One connection, made when it is needed and dropped after any failure.

    Args:
        url: Address, of the scheme ws or wss.
        config: Patience and limits.
        greet: Exchanges the protocol's greetings over a fresh connection.
        headers: Sent with the opening request.
    """

    def __init__(
        self,
        url: str,
        config: ClientConfig,
        greet: Callable[[Link], Awaitable[None]],
        headers: dict[str, str] | None = None,
    ) -> None:
        self.url = url
        self.config = config
        self._greet = greet
        self._headers = headers
        self._socket: ClientConnection | None = None

    @property
    def is_open(self) -> bool:
        """Whether the connection stands, as far as is known."""
        return self._socket is not None and self._socket.state.name == "OPEN"

    async def open(self) -> None:
        """Connect and greet, unless that is done; wait longer between the tries, in bounds.

        Raises:
            PolicyError: no server of this protocol answered in time.
        """
        if self.is_open:
            return
        self.drop()
        wait, failure = _FIRST_WAIT_S, "no answer"
        try:
            async with asyncio.timeout(self.config.connect_s):
                while self._socket is None:
                    try:
                        self._socket = await self._connect()
                    except InvalidURI as error:
                        raise PolicyError(f"{self.url}: {error}") from error
                    except (OSError, WebSocketException) as error:
                        failure = str(error) or type(error).__name__
                        await asyncio.sleep(wait)
                        wait = min(2 * wait, _LONGEST_WAIT_S)
                failure = "it accepts connections and does not greet"
                await self._greet(self)
        except TimeoutError as error:
            self.drop()
            raise PolicyError(
                f"{self.url}: no policy server within {self.config.connect_s:g} s ({failure}); "
                "is it running, and does it speak this protocol?"
            ) from error
        except BaseException:
            self.drop()
            raise

    async def _connect(self) -> ClientConnection:
        # A server that computes answers no pings, and some compute on their event loop.
        return await connect(
            self.url,
            additional_headers=self._headers,
            compression=None,
            max_size=self.config.limits.message,
            open_timeout=None,
            close_timeout=2,
            ping_interval=None,
            proxy=None,
        )

    async def ask(self, message: bytes, timeout: float) -> dict[str | bytes, Any]:
        """Send a message over the open connection and return the reply.

        Raises:
            PolicyError: no usable reply came in time; the connection is then dropped.
        """
        try:
            async with asyncio.timeout(timeout):
                await self.send(message)
                return await self.receive()
        except TimeoutError as error:
            self.drop()
            raise PolicyError(f"{self.url}: no reply within {timeout:g} s") from error
        except BaseException:
            self.drop()
            raise

    async def send(self, message: bytes) -> None:
        """Send a message over the open connection.

        Raises:
            PolicyError: the connection is closed.
        """
        socket = self._open_socket()
        try:
            await socket.send(message)
        except ConnectionClosed as error:
            raise PolicyError(f"{self.url}: {self._ending(error)}") from error

    async def receive(self) -> dict[str | bytes, Any]:
        """Return the next message.

        Raises:
            PolicyError: the server closed the connection, or sent an error, garbage or too much.
        """
        socket = self._open_socket()
        try:
            data = await socket.recv()
        except ConnectionClosed as error:
            raise PolicyError(f"{self.url}: {self._ending(error)}") from error
        if isinstance(data, str):
            raise PolicyError(f"{self.url}: the server reports an error: {last_line(data)}")
        try:
            return unpack(data, self.config.limits)
        except WireError as error:
            raise PolicyError(f"{self.url}: the server sent {error}") from error

    def drop(self) -> None:
        """Cut the connection without waiting for the server's consent."""
        if self._socket is not None:
            self._socket.transport.abort()
        self._socket = None

    async def close(self) -> None:
        """End the connection politely."""
        if self._socket is not None:
            await self._socket.close()
        self._socket = None

    def _open_socket(self) -> ClientConnection:
        if self._socket is None:
            raise PolicyError(f"{self.url}: not connected")
        return self._socket

    def _ending(self, error: ConnectionClosed) -> str:
        if error.sent is not None and error.sent.code == CloseCode.MESSAGE_TOO_BIG:
            return f"the server sent a message of more than {self.config.limits.message} bytes"
        if error.rcvd is None:
            return "the server's connection broke"
        reason = f": {last_line(error.rcvd.reason)}" if error.rcvd.reason else ""
        return f"the server closed the connection (code {error.rcvd.code}{reason})"


def last_line(message: object, longest: int = 300) -> str:
    """Return the last line of a server's error, which ends a traceback, cut to a length."""
    lines = [line.strip() for line in str(message).splitlines() if line.strip()]
    return lines[-1][:longest] if lines else "(no text)"


async def gather[T](work: Iterable[Awaitable[T]]) -> list[T]:
    """Await all, whether or not some fail; return the results in order.

    Raises:
        PolicyError: some failed so; the first says why.
    """
    results = await asyncio.gather(*work, return_exceptions=True)
    failures = [result for result in results if isinstance(result, BaseException)]
    for failure in failures:
        if not isinstance(failure, PolicyError):
            raise failure
    if failures:
        among = f" ({len(failures)} of {len(results)} observations)" if len(results) > 1 else ""
        raise PolicyError(f"{failures[0]}{among}") from failures[0]
    return [result for result in results if not isinstance(result, BaseException)]
