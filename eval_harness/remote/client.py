"""A client's connection as the server holds it: read in turns, measured, and let go in time."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Hashable
from typing import Any

from websockets.asyncio.server import ServerConnection
from websockets.frames import CloseCode, Frame, Opcode
from websockets.protocol import CONNECTING, OPEN, SEND_EOF, Event

from eval_harness.remote.crowd import Crowd, owner_of
from eval_harness.remote.turns import Turns

logger = logging.getLogger(__name__)

_SLICE = 1 << 13
"""Bytes that are read at a time; the smallest frames in it take about 10 ms."""
_LARGEST_SLICE = 1 << 16
"""Bytes that are read at a time within a large frame, at most."""
_STRETCH_S = 0.005
"""Seconds for which messages are read before other work of the event loop has its turn."""
_FRAME = 400
"""Bytes that a frame takes besides its content, about."""
_SMALL = 1 << 20
"""Bytes of a connection's messages that are counted once; what is beyond counts three times."""
_MESSAGE_S = 0.0003
"""Seconds that a small message takes, about."""
_FAREWELL_S = 2.0
"""Seconds that a client has to take leave."""
_DATA = (Opcode.TEXT, Opcode.BINARY, Opcode.CONT)


class Reading:
    """Has connections read what has come for them, a slice at a time, each address in its turn.

    Where nobody waits, what has come is read at once, for a few milliseconds of each round of
    the event loop.
    """

    def __init__(self) -> None:
        self._turns: Turns[Client | asyncio.Future[None]] = Turns()
        self._arrival = asyncio.Event()
        self._spare = _STRETCH_S
        self._loop = asyncio.get_running_loop()

    def put(self, client: Client) -> None:
        """Have a connection read what has come, now or when it is its turn."""
        while not self._turns and self._spare > 0:
            if self._spare == _STRETCH_S:
                self._loop.call_soon(self._next_round)
            self._spare -= self._read(client.owner, client)
            if not client.has_unread():
                return
        self._turns.put(client.owner, client)
        self._arrival.set()

    async def turn(self, owner: Hashable) -> None:
        """Wait for the turn of an owner who has sent a message before the last was answered."""
        mine = self._loop.create_future()
        self._turns.put(owner, mine)
        self._arrival.set()
        await mine

    async def run(self) -> None:
        """Give turns until cancelled."""
        while True:
            await self._arrival.wait()
            self._arrival.clear()
            pause = time.perf_counter() + _STRETCH_S
            while self._turns:
                at_once = self._give(*self._turns.take())
                if not at_once or time.perf_counter() > pause:
                    await asyncio.sleep(0)
                    pause = time.perf_counter() + _STRETCH_S

    def _give(self, owner: Hashable, item: Client | asyncio.Future[None]) -> bool:
        """Give a turn; return whether it is over."""
        if isinstance(item, Client):
            self._read(owner, item)
            if item.has_unread():
                self._turns.put(owner, item)
            return True
        if not item.done():
            item.set_result(None)
            self._turns.charge(owner, _MESSAGE_S)
        return False

    def _next_round(self) -> None:
        self._spare = _STRETCH_S

    def _read(self, owner: Hashable, client: Client) -> float:
        """Read a slice and return what it took, s."""
        start = time.thread_time()
        client.read_slice()
        cost = time.thread_time() - start
        self._turns.charge(owner, cost)
        return cost


class Client(ServerConnection):
    """A connection.

    Nothing is read from the network while something that came is not yet read here, while the
    queue of messages is full, or while the client leaves what it was sent unread.

    Args:
        crowd: All connections.
        reading: Gives it its turns.
    """

    def __init__(self, *args: Any, crowd: Crowd[Client], reading: Reading, **options: Any) -> None:
        super().__init__(*args, **options)
        self.owner = ""
        self.since = self.last = self._heard = self._pinged = time.monotonic()
        self.asked = self.busy = False
        self.kept = 0
        self._crowd, self._reading = crowd, reading
        self._unread, self._read, self._slice = b"", 0, _SLICE
        self.leaving = self._waits = self._full = False
        self._queued = 0
        self._begun: float | None = None
        self._stuck: float | None = None
        self._working: asyncio.Task[Any] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Enter, or be cut off at once where too many are being opened."""
        address = transport.get_extra_info("peername")
        self.owner = owner_of(address[0]) if address else ""
        if self._crowd.enter(self):
            super().connection_made(transport)
            self.recv_messages.pause, self.recv_messages.resume = self._pause, self._resume
        else:
            self.leaving = True
            super(ServerConnection, self).connection_made(transport)  # without a task of its own
            self.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Leave."""
        self.leaving, self._unread, self._read = True, b"", 0
        self._crowd.leave(self)
        super().connection_lost(exc)
        self._give_up()

    def data_received(self, data: bytes) -> None:
        """Keep what came until it is this address's turn."""
        if self.leaving:
            return
        self._heard = time.monotonic()
        self._begun = self._begun or self._heard
        self._unread, self._read = self._unread[self._read :] + data, 0
        self._go_on()
        if self._unread:
            self.transport.pause_reading()
            self._crowd.weigh(self)

    def read_slice(self) -> None:
        """Read a slice of what came, in this address's turn."""
        if self.leaving:
            return
        data = self._unread[self._read : self._read + self._slice]
        self._read += len(data)
        if self._read >= len(self._unread):
            self._unread, self._read = b"", 0
        try:
            super().data_received(data)
        except Exception:  # as asyncio itself cuts a connection whose reader fails
            logger.exception("a message of %s cannot be read", self.owner)
            self.let_go("it cannot be read")
            return
        within = len(self.protocol.reader.buffer) > len(data)
        self._slice = min(2 * self._slice, _LARGEST_SLICE) if within else _SLICE
        if not self._partial() and not self._queued:
            self._begun = None
        self._crowd.weigh(self)

    def has_unread(self) -> bool:
        """Return whether it is to have another turn; if not, it listens to the network again."""
        if self._unread and not self._blocked():
            return True
        self._waits = False
        if not self._blocked():
            self.transport.resume_reading()
        return False

    def process_event(self, event: Event) -> None:
        """Count what waits in the queue of messages."""
        if isinstance(event, Frame) and event.opcode in _DATA:
            self._queued += len(event.data)
        super().process_event(event)

    def send_data(self) -> None:
        """Send what is to be sent at once: a slice may hold hundreds of pings."""
        writes = self.protocol.writes
        if len(writes) > 1:
            end = writes[-1:] if writes[-1] == SEND_EOF else []
            self.protocol.writes = [joined, *end] if (joined := b"".join(writes)) else end
        super().send_data()

    def pause_writing(self) -> None:
        """Read nothing from a client that takes nothing."""
        super().pause_writing()
        self._stuck = time.monotonic()
        self.transport.pause_reading()

    def resume_writing(self) -> None:
        """Go on reading."""
        super().resume_writing()
        self._stuck = None
        self._go_on()

    async def next_message(self) -> bytes | str:
        """Return the next message; the client counts as busy until it rests.

        Raises:
            ConnectionClosed: the connection is.
            WebSocketException: the message is in too many pieces.
        """
        if self.recv_messages.frames:
            await self._reading.turn(self.owner)
        data = await self.recv()
        self._queued -= len(data) if isinstance(data, bytes) else len(data.encode())
        self.busy, self.last = True, time.monotonic()
        self._begun = self.last if self._partial() else None
        self.keep(len(data))
        return data

    async def unless_lost[T](self, work: Awaitable[T]) -> T:
        """Return what work for this client gives; give it up once the client is gone.

        Raises:
            ConnectionClosed: the client is gone.
        """
        task = self._working = asyncio.current_task()
        with contextlib.suppress(asyncio.CancelledError):
            return await work
        # The exception, which holds on to what the work held, is forgotten by now.
        if task is None or not self.leaving or task.uncancel():
            raise asyncio.CancelledError
        await asyncio.shield(self.connection_lost_waiter)
        raise self.close_exc

    def rest(self, asked: bool) -> None:
        """Take note that the answer is made, and whether it has asked for anything so far."""
        self.asked, self.busy, self.last = asked, False, time.monotonic()
        self.keep(0)

    def keep(self, size: int) -> None:
        """Take note of the bytes that are kept to answer it."""
        self.kept = size
        self._crowd.weigh(self)

    def held(self) -> int:
        """Return the bytes that are kept for it; large ones are copied as they are read."""
        frames = _FRAME * len(self.recv_messages.frames)
        unsent = self.transport.get_write_buffer_size()
        messages = self._partial() + self._queued + self.kept
        return messages + 2 * max(0, messages - _SMALL) + frames + unsent

    def overdue(self, now: float) -> str | None:
        """Return why it is to be let go, None while it is not; ping it when it is time."""
        bounds = self._crowd.bounds
        if self.leaving or self.state is CONNECTING:
            return None
        if self._stuck is not None and now - self._stuck > bounds.reply_s:
            return "what it was sent is not taken"
        if self.busy or self._full:
            self._heard = now
            return None
        if self._begun is not None and now - self._begun > bounds.message_s:
            return "a message takes too long"
        silence = now - (self.last if self.asked else self.since)
        if silence > (bounds.idle_s if self.asked else min(bounds.silent_s, bounds.idle_s)):
            return "silent for too long"
        if now - self._heard > bounds.pong_s:
            return "no ping is answered"
        self._ping(now)
        return None

    def let_go(self, reason: str, now: bool = False) -> None:
        """Say why, and cut the connection, whether or not the client takes leave."""
        if self.leaving:
            return
        self.leaving, self._unread, self._read = True, b"", 0
        if self.state is OPEN:
            self.protocol.fail(CloseCode.TRY_AGAIN_LATER, reason)
            self.send_data()
        self._give_up()
        if now or self.state is CONNECTING:
            self.transport.abort()
        else:
            self.transport.resume_reading()
            self.loop.call_later(_FAREWELL_S, self.transport.abort)

    def _give_up(self) -> None:
        if self._working is not None:
            self._working.cancel()
            self._working = None

    def _partial(self) -> int:
        return len(self._unread) - self._read + len(self.protocol.reader.buffer) * 9 // 8

    def _ping(self, now: float) -> None:
        if self.state is OPEN and now - self._pinged > self._crowd.bounds.ping_s:
            self._pinged = now
            self.protocol.send_ping(b"")
            self.send_data()

    def _blocked(self) -> bool:
        return self._full or self._stuck is not None or self.leaving

    def _go_on(self) -> None:
        """Have what is unread read, or listen to the network, if nothing is in the way."""
        if not self._waits and self.has_unread():
            self._waits = True
            self._reading.put(self)

    def _pause(self) -> None:
        self._full = True
        self.transport.pause_reading()

    def _resume(self) -> None:
        self._full = False
        self._go_on()
