"""Clients that stall, flood and send garbage: a good one is answered, and memory is bounded."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from openpi_client import msgpack_numpy
from openpi_client.websocket_client_policy import WebsocketClientPolicy
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from eval_harness.policy import Requirements
from eval_harness.remote.crowd import Bounds, Crowd, owner_of
from eval_harness.remote.openpi import to_request
from eval_harness.remote.server import PolicyServer, ServerConfig
from eval_harness.remote.turns import FairLock, Turns
from eval_harness.remote.wire import MIB
from tests.eval_harness.remote.support import CHUNK, CheckedPolicy, observation

PROGRAM = Path(__file__).with_name("crowd.py")
NEEDS = Requirements()


def request(size: int = 32, name: str | None = None, episode: int = 0) -> bytes:
    content = to_request(observation(size=size), NEEDS)
    if name is not None:
        where = {"task": name, "episode": episode, "init_index": 0, "seed": 0}
        content["dlr"] = {"client": "a1", "step": 0, **where}
    packed: bytes = msgpack_numpy.packb(content)
    return packed


@contextlib.contextmanager
def connection(port: int, source: str = "127.0.0.1") -> Iterator[ClientConnection]:
    url = f"ws://127.0.0.1:{port}"
    options = {"compression": None, "max_size": None, "proxy": None}
    with connect(url, source_address=(source, 0), ping_interval=None, **options) as client:
        client.recv(60)
        yield client


def is_answered(client: ClientConnection, message: bytes) -> bool:
    client.send(message)
    reply = client.recv(60)
    assert isinstance(reply, bytes), reply
    return bool(msgpack_numpy.unpackb(reply)["actions"].shape == (CHUNK, 7))


# Turns.


def test_who_has_used_least_goes_next() -> None:
    turns: Turns[str] = Turns()
    for owner, item in (("a", "a1"), ("a", "a2"), ("b", "b1"), ("a", "a3"), ("b", "b2")):
        turns.put(owner, item)
    taken = []
    while turns:
        whose, item = turns.take()
        turns.charge(whose, 1)
        taken.append(item)
    assert taken == ["a1", "b1", "a2", "b2", "a3"]
    with pytest.raises(IndexError):
        turns.take()


def test_what_was_used_at_nobodys_cost_is_not_held_against_anyone() -> None:
    turns: Turns[str] = Turns()
    turns.charge("early", 1000)
    turns.put("late", "l")
    turns.put("early", "e1")
    turns.charge(turns.take()[0], 1)
    assert turns.take()[0] == "early"
    turns.put("early", "e2", first=True)
    turns.put("new", "n")  # nor has it a claim on what it did not use before it came
    assert [turns.take()[1] for _ in range(2)] == ["e2", "n"]


def test_many_owners_are_not_remembered() -> None:
    turns: Turns[int] = Turns()
    for owner in range(100_000):
        turns.put(owner, 1)
        turns.charge(turns.take()[0], 1)
    assert len(turns._used) < 3000


def test_a_lock_goes_round_and_is_not_lost_with_a_waiter() -> None:
    order: list[str] = []

    async def work(lock: FairLock, owner: str) -> None:
        async with lock.turn(owner):
            order.append(owner)
            lock.charge(owner, 1)
            await asyncio.sleep(0)

    async def run() -> None:
        lock = FairLock()
        tasks = [asyncio.create_task(work(lock, owner)) for owner in "aaabbac"]
        await asyncio.sleep(0)
        tasks[3].cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        async with asyncio.timeout(5), lock.turn("z"):
            order.append("z")

    asyncio.run(run())
    assert sorted(order) == sorted("aaabacz")
    assert order.index("b") < 3 and order.index("c") < 4 and order[-1] == "z"


# Places and memory, with stand-ins for connections.


class Stub:
    def __init__(self, owner: str, asked: bool = True, since: float = 0.0) -> None:
        self.owner, self.asked, self.since = owner, asked, since
        self.busy, self.last, self.leaving = False, time.monotonic(), False
        self.size, self.reason = 0, ""

    def held(self) -> int:
        return self.size

    def overdue(self, now: float) -> str | None:
        return "late" if now > self.last + 1000 else None

    def let_go(self, reason: str, now: bool = False) -> None:
        self.reason, self.leaving = reason, True


def crowd_of(bounds: Bounds, members: Sequence[Stub]) -> Crowd[Stub]:
    crowd: Crowd[Stub] = Crowd(bounds)
    for member in members:
        assert crowd.enter(member)
        assert crowd.seat(member) is None
    return crowd


def test_an_address_has_its_own_bound() -> None:
    crowd = crowd_of(Bounds(connections_per_address=2), [Stub("a"), Stub("a")])
    assert "of one address; at most 2" in str(crowd.seat(Stub("a")))
    assert crowd.seat(Stub("b")) is None


def test_a_place_goes_to_the_address_with_fewer() -> None:
    many = [Stub("a") for _ in range(3)]
    many[1].last -= 50
    crowd = crowd_of(Bounds(connections=4), [*many, Stub("b")])
    newcomer = Stub("c")
    assert crowd.seat(newcomer) is None
    assert [member.reason != "" for member in many] == [False, True, False]
    assert crowd.seat(Stub("d")) is None
    assert crowd.seat(Stub("e")) == "too many clients; at most 4"  # all have one


def test_the_silent_give_their_places_to_anyone() -> None:
    silent = Stub("a", asked=False, since=time.monotonic() - 6)
    fresh = Stub("a", asked=False, since=time.monotonic())
    crowd = crowd_of(Bounds(connections=2), [silent, fresh])
    assert crowd.seat(Stub("a")) is None
    assert (silent.reason, fresh.reason) == ("another client needs the place", "")


def test_those_who_only_come_in_do_not_keep_others_out() -> None:
    crowd: Crowd[Stub] = Crowd(Bounds(connections=100))
    opening = [Stub("a", since=n) for n in range(160)]
    assert [crowd.enter(member) for member in opening].count(True) == 160
    others = [Stub(str(n)) for n in range(4)]
    assert all(crowd.enter(member) for member in others)
    assert all(crowd.enter(Stub("b")) for _ in range(30))
    assert opening[0].leaving and not opening[-1].leaving
    assert not any(crowd.enter(member) for member in [Stub("a")])


def test_memory_is_taken_from_whoever_holds_most() -> None:
    members = [Stub("a"), Stub("a"), Stub("b"), Stub("c")]
    crowd = crowd_of(Bounds(memory=100 * MIB), members)
    for member, size in zip(members, (30, 40, 29, 2), strict=True):
        member.size = size * MIB
        crowd.weigh(member)
    assert [member.leaving for member in members] == [False, True, False, False]
    crowd.leave(members[1])
    assert crowd.take_peak() == 101 * MIB
    assert crowd.take_peak() == 61 * MIB


def test_an_ipv6_network_is_one_client() -> None:
    assert (
        owner_of("2001:db8:1:2::1") == owner_of("2001:db8:1:2:ffff::9") != owner_of("2001:db8::1")
    )
    assert owner_of("::ffff:10.0.0.1") == owner_of("10.0.0.1") == "10.0.0.1"
    assert owner_of("fe80::1%eth0") == "fe80::/64"
    assert ipaddress.ip_network(owner_of("::1")).prefixlen == 64


# Real connections.


def test_a_slow_answer_is_no_silence() -> None:
    gate = threading.Event()
    config = ServerConfig(port=0, idle_s=0.3, silent_s=0.3, ping_s=0.1, pong_s=0.3)
    with (
        PolicyServer(CheckedPolicy(slow=gate), config).background() as server,
        connection(server.port) as client,
    ):
        client.send(request())
        client.send(request())  # and what came too early does not harm
        threading.Timer(1.5, gate.set).start()
        for _ in range(2):
            assert isinstance(client.recv(60), bytes)
        with pytest.raises(ConnectionClosed, match="silent for too long"):
            client.recv(60)


def test_a_client_that_takes_no_replies_is_let_go() -> None:
    config = ServerConfig(port=0, reply_s=0.3)
    with PolicyServer(CheckedPolicy(), config).background() as server:
        opening = (
            b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        )
        pings = (bytes([0x89, 0x80 | 125]) + bytes(4) + bytes(125)) * 1000
        with (
            socket.create_connection(("127.0.0.1", server.port), timeout=30) as raw,
            pytest.raises(ConnectionError),
        ):
            raw.sendall(opening)
            while True:
                raw.sendall(pings)
        with connection(server.port) as client:
            assert is_answered(client, request())


def test_a_message_that_does_not_end_is_let_go() -> None:
    config = ServerConfig(port=0, message_s=0.3)
    with (
        PolicyServer(CheckedPolicy(), config).background() as server,
        connection(server.port) as client,
    ):
        assert is_answered(client, request())
        client.socket.sendall(bytes([0x82, 0xFE, 0xFF, 0xFF]) + bytes(4) + b"begun")
        with pytest.raises(ConnectionClosed, match="a message takes too long"):
            client.recv(60)


def test_episodes_of_a_connection_are_bounded() -> None:
    policy = CheckedPolicy()
    with (
        PolicyServer(policy, ServerConfig(port=0)).background() as server,
        connection(server.port) as client,
    ):
        client.send(request(8, "x" * 1025))
        assert "more than 1024 characters" in str(client.recv(60))
        for episode in range(200):
            assert is_answered(client, request(8, "x" * 1000, episode))
        kept = 65_536 // 1000
        assert [key.episode for key in policy.ends] == list(range(200 - kept))
    assert len(policy.ends) == 200


def test_too_many_of_one_address_are_told() -> None:
    config = ServerConfig(port=0, connections_per_address=2)
    with (
        PolicyServer(CheckedPolicy(), config).background() as server,
        connection(server.port) as first,
        connection(server.port),
    ):
        with pytest.raises(ConnectionClosed, match="too many clients of one address"):
            connect(f"ws://127.0.0.1:{server.port}", proxy=None).recv(60)
        with connection(server.port, "127.0.0.2") as other:
            assert is_answered(other, request())
        assert is_answered(first, request())


def program(*arguments: object, prefix: Sequence[str] = ()) -> subprocess.Popen[str]:
    """Start `crowd.py`."""
    command = [*prefix, sys.executable, str(PROGRAM), *map(str, arguments)]
    environment = {**os.environ, "PYTHONPATH": os.getcwd()}
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)


def test_a_hundred_that_misbehave_keep_nobody_from_an_answer() -> None:
    config = ServerConfig(port=0, connections=40, connections_per_address=20)
    sources = [f"127.0.1.{n}" for n in range(1, 6)]
    with PolicyServer(CheckedPolicy(), config).background() as server:
        arguments = ("crowd", "127.0.0.1", server.port, 3, 100, *sources)
        with program(*arguments, prefix=("nice", "-n", "19")) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "started\n"
            answered = 0
            lasting = WebsocketClientPolicy("127.0.0.1", server.port)
            while process.poll() is None:
                one = to_request(observation(answered % 7), NEEDS)
                for client in (lasting, WebsocketClientPolicy("127.0.0.1", server.port)):
                    assert client.infer(one)["actions"].shape == (CHUNK, 7)
                    answered += 1
                client._ws.close()
            begun = json.loads(process.stdout.read())
            lasting._ws.close()
        assert process.returncode == 0
        assert len(begun) == 16 and answered >= 2
        assert server._crowd.take_peak() <= config.memory + 3 * config.limits.decoded
    assert server._crowd._held == 0


SECONDS, CLIENTS, ADDRESSES = 120, 1000, 20
SERVER = ("198.18.77.1", "dlrserver")
"""Address, of the network for benchmarks, and namespace of the server."""
CROWD = "dlrcrowd"


@pytest.fixture
def namespaces() -> Iterator[None]:
    """Two network namespaces with a cable between them, and nothing else."""
    if os.geteuid() != 0 or shutil.which("ip") is None:
        pytest.skip("network namespaces need root and iproute2")

    def ip(*words: str, check: bool = True) -> None:
        subprocess.run(["ip", *words], check=check, capture_output=not check)

    names = (SERVER[1], CROWD)
    try:
        for name in names:
            ip("netns", "delete", name, check=False)  # what a killed run left
            ip("netns", "add", name)
            ip("-n", name, "link", "set", "lo", "up")
        cable = ("veth0", "type", "veth", "peer", "name", "veth0", "netns", names[1])
        ip("-n", names[0], "link", "add", *cable)
        ip("-n", names[0], "addr", "add", f"{SERVER[0]}/24", "dev", "veth0")
        for number in range(ADDRESSES + 1):
            ip("-n", names[1], "addr", "add", f"198.18.77.{10 + number}/24", "dev", "veth0")
        for name in names:
            ip("-n", name, "link", "set", "veth0", "up")
        yield
    finally:
        for name in names:
            ip("netns", "delete", name, check=False)


def resident(pid: int) -> float:
    """Memory of a process, MB."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) * 1024 / 1e6


@pytest.mark.slow
def test_a_thousand_that_misbehave_for_two_minutes(namespaces: None) -> None:
    """On all interfaces: a good client has each answer within a second, in bounded memory.

    The crowd has what the others leave of this machine's time, as if it were on another one.
    """
    inside = ("ip", "netns", "exec")
    served = [*inside, SERVER[1], "nice", "-n", "-20", sys.executable, "-m", "cli.main", "serve"]
    options = ("random:5", "--host", "0.0.0.0", "--port", "8000")
    first, *sources = (f"198.18.77.{10 + number}" for number in range(ADDRESSES + 1))
    with subprocess.Popen([*served, *options], stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            assert "serving" in server.stdout.readline()
            urgent = (*inside, CROWD, "nice", "-n", "-20")
            with program("good", SERVER[0], 8000, 5, prefix=urgent) as alone:
                alone.wait()
            before, most = resident(server.pid), 0.0
            arguments = ("crowd", SERVER[0], 8000, SECONDS + 5, CLIENTS, *sources)
            later = (*inside, CROWD, "nice", "-n", "19")
            with program(*arguments, prefix=later) as crowd:
                assert crowd.stdout is not None
                assert crowd.stdout.readline() == "started\n"
                with program("good", SERVER[0], 8000, SECONDS, prefix=urgent) as asking:
                    while asking.poll() is None:
                        most = max(most, resident(server.pid))
                        time.sleep(0.1)
                    assert asking.stdout is not None
                    waited = json.loads(asking.stdout.read())
                begun = json.loads(crowd.stdout.read())
        finally:
            server.terminate()
        assert server.wait(30) == 0
    longest = {name: max(seconds) for name, seconds in waited.items()}
    print(
        f"{longest} of {len(waited['new'])}; {before:.0f} to {most:.0f} MB; {begun}; from {first}"
    )
    assert len(begun) == 16
    assert max(longest.values()) < 1
    assert most - before < 200
