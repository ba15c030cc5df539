"""Clients that stall, flood and send garbage, and a good one; each a program of its own.

`python crowd.py crowd HOST PORT SECONDS CLIENTS FROM...` is many that misbehave, over the source
addresses FROM, and prints how often each kind began; `python crowd.py good HOST PORT SECONDS` asks
all the time, over one connection and over a new one each time, and prints how long it waited.
"""

from __future__ import annotations

import asyncio
import base64
import collections
import contextlib
import functools
import io
import json
import os
import random
import sys
import time
from collections.abc import Awaitable, Callable, Sequence

import numpy as np
from openpi_client.websocket_client_policy import WebsocketClientPolicy
from PIL import Image

from eval_harness.remote.wire import pack

MIB = 1 << 20
PAUSE_S = 0.1
"""Seconds between two connections of one client."""


class Wire:
    """A connection of raw bytes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()
        await asyncio.sleep(0)

    async def open(self) -> None:
        """Open a WebSocket and read the greeting, or a part of it."""
        key = base64.b64encode(os.urandom(16)).decode()
        lines = (
            "GET / HTTP/1.1",
            "Host: x",
            "Upgrade: websocket",
            "Connection: Upgrade",
            f"Sec-WebSocket-Key: {key}",
            "Sec-WebSocket-Version: 13",
        )
        await self.send("".join(f"{line}\r\n" for line in (*lines, "")).encode())
        await self.reader.readuntil(b"\r\n\r\n")
        if not await self.reader.read(4096):
            raise ConnectionResetError

    async def until_closed(self) -> None:
        while await self.reader.read(1 << 16):
            pass


def frame(payload: bytes, opcode: int = 2, claimed: int | None = None) -> bytes:
    """A masked frame, of a mask that changes nothing; its length may be a lie."""
    size = len(payload) if claimed is None else claimed
    head = bytes([0x80 | opcode])
    if size < 126:
        head += bytes([0x80 | size])
    elif size < 1 << 16:
        head += bytes([0x80 | 126]) + size.to_bytes(2, "big")
    else:
        head += bytes([0x80 | 127]) + size.to_bytes(8, "big")
    return head + bytes(4) + payload


@functools.cache
def zeros(size: int) -> bytes:
    return bytes(size)


def request(pictures: object, name: str = "a") -> bytes:
    entry = {"client": "a1", "task": name, "episode": 0, "init_index": 0, "seed": 0, "step": 0}
    content = {
        "observation/image": pictures,
        "observation/wrist_image": pictures,
        "observation/state": np.zeros(8),
        "prompt": "x",
        "dlr": entry,
    }
    return pack(content, marks="bytes")


@functools.cache
def bomb() -> bytes:
    """A request whose pictures are small files of many pixels."""
    file = io.BytesIO()
    Image.new("RGB", (1920, 1080)).save(file, "PNG")
    marked = {"__image__": True, "format": "png", "data": file.getvalue()}
    return request(marked)


async def stall(wire: Wire) -> None:
    await wire.until_closed()


async def half_a_handshake(wire: Wire) -> None:
    for byte in b"GET / HTTP/1.1\r\nHost: " + b"x" * 10_000:
        await wire.send(bytes([byte]))
        await asyncio.sleep(0.2)


async def silence(wire: Wire) -> None:
    await wire.open()
    await wire.until_closed()


async def half_a_message(wire: Wire) -> None:
    await wire.open()
    await wire.send(frame(zeros(MIB), claimed=7 * MIB))
    for _ in range(random.randrange(7)):
        await wire.send(zeros(MIB))
    await wire.until_closed()


async def fragments(wire: Wire) -> None:
    await wire.open()
    await wire.send(bytes([2, 0x80]) + bytes(4))
    while True:
        await wire.send((bytes([0, 0xFE]) + (1000).to_bytes(2, "big") + bytes(1004)) * 64)


async def drip(wire: Wire) -> None:
    await wire.open()
    await wire.send(frame(b"", claimed=MIB))
    while True:
        await wire.send(b"x")
        await asyncio.sleep(0.1)


async def requests(wire: Wire) -> None:
    await wire.open()
    asked = frame(request(np.zeros((224, 224, 3), dtype=np.uint8)))
    while True:
        await wire.send(asked)
        await wire.reader.read(1)


async def requests_unread(wire: Wire) -> None:
    await wire.open()
    asked = frame(request(np.zeros((8, 8, 3), dtype=np.uint8)))
    while True:
        await wire.send(asked * 100)


async def large_requests(wire: Wire) -> None:
    await wire.open()
    side = random.randrange(200, 1100)
    asked = frame(request(np.zeros((side, side, 3), dtype=np.uint8)))
    while True:
        await wire.send(asked)
        await wire.reader.read(1)


async def bombs(wire: Wire) -> None:
    await wire.open()
    asked = frame(bomb())
    while True:
        await wire.send(asked)
        await wire.reader.read(1)


async def garbage(wire: Wire) -> None:
    await wire.open()
    while True:
        await wire.send(frame(os.urandom(random.randrange(2000)), random.choice((1, 2))))


async def raw_garbage(wire: Wire) -> None:
    while True:
        await wire.send(os.urandom(10_000))


async def pings(wire: Wire) -> None:
    await wire.open()
    many = frame(bytes(125), 9) * 500
    while True:
        await wire.send(many)


async def smallest_frames(wire: Wire) -> None:
    await wire.open()
    many = frame(b"") * 1000
    while True:
        await wire.send(many)


async def long_names(wire: Wire) -> None:
    await wire.open()
    picture = np.zeros((8, 8, 3), dtype=np.uint8)
    for number in range(100_000):
        name = str(number) + "x" * random.choice((1000, 100_000, MIB - 100))
        await wire.send(frame(request(picture, name)))
        await wire.reader.read(1 << 12)


async def churn(wire: Wire) -> None:
    await wire.open()


KINDS: tuple[Callable[[Wire], Awaitable[None]], ...] = (
    stall,
    half_a_handshake,
    silence,
    half_a_message,
    fragments,
    drip,
    requests,
    requests_unread,
    large_requests,
    bombs,
    garbage,
    raw_garbage,
    pings,
    smallest_frames,
    long_names,
    churn,
)
_GONE = (OSError, EOFError, asyncio.IncompleteReadError, asyncio.LimitOverrunError)


async def misbehave(
    number: int, host: str, port: int, source: str, done: collections.Counter
) -> None:
    """Connect again and again, and misbehave in one way, until cancelled."""
    kind = KINDS[number % len(KINDS)]
    while True:
        with contextlib.suppress(*_GONE):
            streams = await asyncio.open_connection(host, port, local_addr=(source, 0))
            done[kind.__name__] += 1
            try:
                await kind(Wire(*streams))
            finally:
                streams[1].transport.abort()
        await asyncio.sleep(PAUSE_S)


async def crowd(
    host: str, port: int, clients: int, seconds: float, sources: Sequence[str]
) -> dict[str, int]:
    """Misbehave in every way for some time; return how often each was begun."""
    done: collections.Counter[str] = collections.Counter()
    tasks = [
        asyncio.create_task(misbehave(n, host, port, sources[n // 16 % len(sources)], done))
        for n in range(clients)
    ]
    await asyncio.sleep(1)
    print("started", flush=True)
    await asyncio.sleep(seconds)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return dict(done)


def good(host: str, port: int, seconds: float) -> dict[str, list[float]]:
    """Ask as openpi's client does; return the seconds from asking, or connecting, to the answer."""
    picture = np.full((224, 224, 3), 7, dtype=np.uint8)
    names = ("observation/image", "observation/wrist_image")
    content = {**dict.fromkeys(names, picture), "observation/state": np.zeros(8), "prompt": "x"}
    waited: dict[str, list[float]] = {"lasting": [], "new": []}
    lasting, end = WebsocketClientPolicy(host, port), time.monotonic() + seconds
    while time.monotonic() < end:
        start = time.monotonic()
        lasting.infer(content)
        waited["lasting"].append(time.monotonic() - start)
        start = time.monotonic()
        client = WebsocketClientPolicy(host, port)
        client.infer(content)
        waited["new"].append(time.monotonic() - start)
        client._ws.close()
        time.sleep(PAUSE_S)
    return waited


if __name__ == "__main__":
    what, host_, port_, seconds_, *rest = sys.argv[1:]
    if what == "good":
        print(json.dumps(good(host_, int(port_), float(seconds_))))
    else:
        begun = asyncio.run(crowd(host_, int(port_), int(rest[0]), float(seconds_), rest[1:]))
        print(json.dumps(begun))
