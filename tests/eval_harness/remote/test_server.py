"""The server: batches, health, limits, and ten thousand messages of garbage."""

from __future__ import annotations

import contextlib
import http.client
import json
import logging
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from openpi_client import msgpack_numpy
from openpi_client.websocket_client_policy import WebsocketClientPolicy
from vla_eval.protocol import Message, MessageType, pack_message
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Origin

from eval_harness.policy import Requirements
from eval_harness.remote.openpi import OpenPiPolicy, to_request
from eval_harness.remote.server import PolicyServer, ServeError, ServerConfig
from eval_harness.remote.wire import Limits, unpack
from tests.eval_harness.remote.support import (
    CHUNK,
    PATIENT,
    CheckedPolicy,
    expected,
    observation,
)

FREE = ServerConfig(port=0)
NEEDS = Requirements()


def good_request(instruction: str = "open the drawer", **options: Any) -> bytes:
    request = to_request(observation(instruction=instruction, **options), NEEDS)
    packed: bytes = msgpack_numpy.packb(request)
    return packed


def vla_message(kind: str, seq: int = 1, **payload: Any) -> bytes:
    return pack_message(Message(MessageType(kind), payload, seq))


def vla_observation(**changes: Any) -> bytes:
    one = observation()
    images = {"agentview": one.images["agentview"], "wrist": one.images["robot0_eye_in_hand"]}
    payload = {"images": images, "task_description": "x", "states": one.state["proprio"]}
    return vla_message("observation", 5, **{**payload, **changes})


@contextlib.contextmanager
def connection(port: int) -> Iterator[ClientConnection]:
    with connect(f"ws://127.0.0.1:{port}", compression=None, max_size=None, proxy=None) as client:
        read(client)
        yield client


def read(client: ClientConnection) -> dict[str | bytes, Any]:
    """The next message of the server, which is no text."""
    data = client.recv(60)
    assert isinstance(data, bytes)
    return unpack(data)


def answers(port: int) -> bool:
    """Whether a good client of each protocol is answered."""
    with connection(port) as client:
        client.send(good_request())
        assert read(client)["actions"].shape == (CHUNK, 7)
    with connection(port) as client:
        client.send(vla_message("hello"))
        client.send(vla_message("episode_start", 2, task={"name": "x", "episode_idx": 1}))
        client.send(vla_observation())
        reply = read(client)
        assert (reply["type"], reply["seq"]) == ("action", 5)
        assert reply["payload"]["actions"].shape == (7,)
    return True


def health(port: int, path: str) -> tuple[int, str]:
    client = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    client.request("GET", path)
    response = client.getresponse()
    return response.status, response.read().decode()


def test_health() -> None:
    with PolicyServer(CheckedPolicy(), FREE).background() as server:
        assert health(server.port, "/healthz") == (200, "OK\n")
        assert answers(server.port)
        status, text = health(server.port, "/health")
        state = json.loads(text)
        assert (status, state["status"], state["requests"]) == (200, "ok", 2)
        assert health(server.port, "/")[0] == 426
    with pytest.raises(ConnectionRefusedError):
        health(server.port, "/healthz")


def test_it_listens_on_loopback_unless_told() -> None:
    assert ServerConfig().host == "127.0.0.1"
    with PolicyServer(CheckedPolicy(), FREE).background() as server:
        taken = ServerConfig(port=server.port)
        with (
            pytest.raises(ServeError, match=f"cannot listen on 127.0.0.1:{server.port}"),
            PolicyServer(CheckedPolicy(), taken).background(),
        ):
            pass


def test_requests_that_wait_are_answered_in_one_batch() -> None:
    gate = threading.Event()
    policy = CheckedPolicy(batch=8, slow=gate)
    with PolicyServer(policy, FREE).background() as server, contextlib.ExitStack() as stack:
        clients = [stack.enter_context(connection(server.port)) for _ in range(20)]
        for episode, client in enumerate(clients):
            client.send(good_request(episode=episode))
        gate.set()
        for episode, client in enumerate(clients):
            rows = read(client)["actions"]
            # Each gets its own answer: the fifth entry tells the text, the first the picture.
            np.testing.assert_array_equal(rows[:, :5], expected(observation(episode))[:, :5])
    assert sum(policy.batches) == 20
    assert len(policy.batches) <= 5
    assert max(policy.batches) == 8


def test_the_real_clients_share_batches_and_get_their_own_answers() -> None:
    policy = CheckedPolicy(batch=4)

    def ask(number: int) -> None:
        client = WebsocketClientPolicy("127.0.0.1", server.port)
        for step in range(10):
            one = observation(number, step)
            rows = client.infer(to_request(one, NEEDS))["actions"]
            np.testing.assert_array_equal(rows[:, :5], expected(one)[:, :5])
        client._ws.close()

    with PolicyServer(policy, FREE).background() as server, ThreadPoolExecutor(6) as threads:
        list(threads.map(ask, range(6)))
    assert sum(policy.batches) == 60
    assert len(policy.batches) < 50
    assert max(policy.batches) <= 4


@pytest.mark.parametrize("fault", ["break", "nan", "another size"])
def test_one_clients_fault_is_no_other_clients(fault: str) -> None:
    gate = threading.Event()
    policy = CheckedPolicy(slow=gate)
    bad = good_request(size=16) if fault == "another size" else good_request(fault)
    with (
        PolicyServer(policy, FREE).background() as server,
        connection(server.port) as good,
        connection(server.port) as other,
        connection(server.port) as third,
    ):
        for client, request in (
            (third, good_request()),
            (other, bad),
            (good, good_request()),
        ):
            client.send(request)
        gate.set()
        assert read(good)["actions"].shape == (CHUNK, 7)
        assert read(third)["actions"].shape == (CHUNK, 7)
        reply = other.recv(60)
    if fault == "another size":
        assert isinstance(reply, bytes)
        assert unpack(reply)["actions"].shape == (CHUNK, 7)
    else:
        wanted = {"break": "RuntimeError: broken on purpose", "nan": "with NaN"}[fault]
        assert isinstance(reply, str)
        assert wanted in reply


def test_bad_requests_are_told_what_is_wrong() -> None:
    one = to_request(observation(), NEEDS)
    named = {"task": "a", "client": "a1", "episode": 0, "init_index": 0, "seed": 0, "step": 0}
    wrong: dict[str, tuple[dict[str, Any], str]] = {
        "no picture": ({k: v for k, v in one.items() if k != "observation/image"}, "nothing"),
        "floats": (one | {"observation/image": np.zeros((8, 8, 3))}, "float64 (8, 8, 3)"),
        "channels first": (one | {"observation/image": np.zeros((3, 8, 8), np.uint8)}, "(3, 8, 8)"),
        "NaN": (one | {"observation/state": np.full(8, np.nan)}, "NaN or infinity"),
        "no prompt": (one | {"prompt": 3}, "prompt must be text"),
        "an episode": (one | {"dlr": {"task": 1}}, "episode is not described"),
        "no client": (one | {"dlr": {"task": "a"}}, "client has no name"),
        "another's": (one | {"dlr": {"task": "a", "client": "connection 1"}}, "no name"),
        "its number": (one | {"dlr": named | {"episode": -1}}, "whole number"),
        "its step": (one | {"dlr": named | {"step": 1 << 62}}, "from 0 to 100000"),
    }
    with PolicyServer(CheckedPolicy(), FREE).background() as server:
        with connection(server.port) as client:
            for request, message in wrong.values():
                client.send(msgpack_numpy.packb(request))
                reply = client.recv(60)
                assert isinstance(reply, str)
                assert reply.startswith("WireError: ")
                assert message in reply
            client.send("text")
            assert "MessagePack" in str(client.recv(60))
            client.send(good_request())
            assert read(client)["actions"].shape == (CHUNK, 7)
        with connection(server.port) as client:
            for bad in (
                vla_observation(states=None),
                vla_observation(images=3),
                vla_message("action", 5),
                pack_message(Message(MessageType.HELLO, {}, 5)).replace(b"hello", b"hullo"),
                vla_message("episode_start", 5, task={"name": "x", "episode_idx": -3}),
                msgpack_numpy.packb({"type": np.zeros(2), "payload": {}, "seq": 0}),
            ):
                client.send(bad)
                answer = read(client)
                assert answer["type"] == "error"
                assert answer["seq"] in (5, 0)
            client.send(vla_observation())
            assert read(client)["type"] == "action"


def test_a_message_over_the_limit_closes_its_connection_alone() -> None:
    config = ServerConfig(port=0, limits=Limits(message=1 << 20))
    with (
        PolicyServer(CheckedPolicy(), config).background() as server,
        connection(server.port) as good,
    ):
        with connection(server.port) as client, pytest.raises(ConnectionClosed) as caught:
            client.send(bytes((1 << 20) + 1))
            client.recv(60)
        assert caught.value.rcvd is not None
        assert caught.value.rcvd.code == 1009
        good.send(good_request())
        assert read(good)["actions"].shape == (CHUNK, 7)


def test_too_many_and_silent_clients_are_let_go() -> None:
    config = ServerConfig(port=0, connections=1, idle_s=0.2)
    with PolicyServer(CheckedPolicy(), config).background() as server:
        with connection(server.port) as first:
            with (
                connect(f"ws://127.0.0.1:{server.port}", proxy=None) as second,
                pytest.raises(ConnectionClosed, match="too many clients"),
            ):
                second.recv(60)
            with pytest.raises(ConnectionClosed, match="silent for too long"):
                first.recv(60)
        with connection(server.port) as client:
            client.send(good_request())
            assert read(client)["actions"].shape == (CHUNK, 7)


def test_browsers_are_refused() -> None:
    with PolicyServer(CheckedPolicy(), FREE).background() as server:
        with pytest.raises(InvalidStatus) as caught:
            connect(
                f"ws://127.0.0.1:{server.port}", origin=Origin("http://evil.example"), proxy=None
            )
        assert caught.value.response.status_code == 403


def test_it_stops_while_clients_wait() -> None:
    gate = threading.Event()
    policy = CheckedPolicy(slow=gate)
    with contextlib.ExitStack() as stack:
        pool = stack.enter_context(ThreadPoolExecutor(1))
        with PolicyServer(policy, FREE).background() as server:
            client = stack.enter_context(connection(server.port))
            client.send(good_request())
            assert policy.asked.wait(60)
            waiting = pool.submit(client.recv, 60)
            waiting.add_done_callback(lambda _: gate.set())
        reply = waiting.result()
        assert isinstance(reply, str)
        assert "the server is stopping" in reply


def test_a_policy_that_hangs_is_said_to_and_may_return() -> None:
    gate = threading.Event()
    policy = CheckedPolicy(slow=gate, patience_s=600)
    config = ServerConfig(port=0, policy_s=0.3)
    with PolicyServer(policy, config).background() as server:
        with connection(server.port) as first, connection(server.port) as second:
            first.send(good_request())
            reply = first.recv(60)
            assert isinstance(reply, str) and "has not answered for 0.3 s" in reply
            assert health(server.port, "/healthz") == (503, "the policy hangs\n")
            second.send(good_request())
            reply = second.recv(60)
            assert isinstance(reply, str) and "has not answered" in reply
        gate.set()
        while health(server.port, "/healthz")[0] != 200:
            threading.Event().wait(0.01)
        assert answers(server.port)


HANGING = """
import asyncio, signal, sys, threading
from eval_harness.policy import Policy, Requirements
from eval_harness.remote.server import PolicyServer, ServerConfig

class Hanging(Policy):
    requirements = Requirements(cameras=(), state=())
    def act(self, observations):
        print("hangs", flush=True)
        threading.Event().wait()

async def serve():
    server, started = PolicyServer(Hanging(), ServerConfig(port=0)), asyncio.Event()
    task = asyncio.create_task(server.run(started))
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    await started.wait()
    print(server.port, flush=True)
    await asyncio.wait([task])

asyncio.run(serve())
"""


def test_a_server_whose_policy_hangs_ends_when_it_is_told() -> None:
    process = subprocess.Popen([sys.executable, "-c", HANGING], stdout=subprocess.PIPE, text=True)
    with process:
        assert process.stdout is not None
        port = int(process.stdout.readline())
        with connection(port) as client:
            client.send(vla_message("episode_start", 1, task={"name": "x", "episode_idx": 1}))
            client.send(vla_message("observation", 2, images={}, task_description="x"))
            assert process.stdout.readline() == "hangs\n"
            process.terminate()
            assert process.wait(120) == 0


def test_raw_bytes_in_place_of_websockets_do_no_harm() -> None:
    random = np.random.default_rng(0)
    with PolicyServer(CheckedPolicy(), FREE).background() as server:
        for size in (0, 1, 100, 100_000):
            with (
                socket.create_connection(("127.0.0.1", server.port), timeout=10) as raw,
                contextlib.suppress(ConnectionError),
            ):
                raw.sendall(random.bytes(size))
                raw.shutdown(socket.SHUT_WR)
                while raw.recv(1 << 16):
                    pass
        assert answers(server.port)


def mutations(random: np.random.Generator) -> Callable[[], bytes | str]:
    """Give garbage: mutations of valid messages, and random bytes."""
    valid = [
        good_request(size=4),
        msgpack_numpy.packb(
            to_request(observation(size=4), NEEDS)
            | {"dlr": {"task": "a", "episode": 1, "init_index": 1, "seed": 1, "step": 0}}
        ),
        vla_message("hello"),
        vla_message("episode_start", 2, task={"name": "x", "suite": "y", "episode_idx": 1}),
        vla_observation(),
        vla_message("episode_end", 3, success=True),
        vla_message("error", 4, error="mine"),
    ]

    def next_message() -> bytes | str:
        kind = random.integers(8)
        if kind == 0:
            return random.bytes(int(random.integers(0, 2000)))
        data = bytearray(valid[random.integers(len(valid))])
        if kind == 1:
            return bytes(data[: random.integers(len(data))])
        if kind == 2:
            return bytes(data) + random.bytes(int(random.integers(1, 50)))
        if kind == 3:
            start = int(random.integers(len(data)))
            del data[start : start + int(random.integers(1, 30))]
            return bytes(data)
        if kind == 4:
            start = int(random.integers(len(data)))
            data[start:start] = random.bytes(int(random.integers(1, 30)))
            return bytes(data)
        if kind == 5:
            other = valid[random.integers(len(valid))]
            return bytes(data[: random.integers(len(data))]) + other[random.integers(len(other)) :]
        if kind == 6:
            return data.decode("latin-1")[:1000]
        # Most of all the first bytes, which say what the rest is.
        for _ in range(random.integers(1, 6)):
            end = len(data) if random.integers(2) else min(len(data), 120)
            data[random.integers(end)] = random.integers(256)
        return bytes(data)

    return next_message


MARK = "x" * 77


def fuzz(port: int, count: int, seed: int) -> int:
    """Send garbage over some connections, most of which are then asked in earnest; count it."""
    random = np.random.default_rng(seed)
    next_message, sent = mutations(random), 0
    address = f"ws://127.0.0.1:{port}"
    options: dict[str, Any] = {"compression": None, "proxy": None}
    while sent < count:
        with connect(address, max_queue=None, close_timeout=1, **options) as client:
            for _ in range(min(count - sent, int(random.integers(1, 200)))):
                client.send(next_message())
                sent += 1
            if random.integers(4) == 0:
                client.socket.shutdown(socket.SHUT_RDWR)
                continue
            client.send(good_request(MARK))
            while not is_marked(client.recv(60)):
                pass
    return sent


def is_marked(reply: bytes | str) -> bool:
    """Whether this is the answer to the request whose instruction is `MARK`."""
    chunk = unpack(reply).get("actions") if isinstance(reply, bytes) else None
    return chunk is not None and chunk[0, 4] == len(MARK) / 100


def check_fuzzed(count: int, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    with PolicyServer(CheckedPolicy(), FREE).background() as server:
        client = OpenPiPolicy(f"openpi://127.0.0.1:{server.port}", config=PATIENT)
        with ThreadPoolExecutor(2) as threads:
            fuzzers = [threads.submit(fuzz, server.port, count // 2, seed) for seed in (1, 2)]
            asked = 0
            while asked < 5 or not all(fuzzer.done() for fuzzer in fuzzers):
                one = observation(asked % 7)
                np.testing.assert_array_equal(client.act([one]), [expected(one)])
                asked += 1
        assert sum(fuzzer.result() for fuzzer in fuzzers) == count
        client.close()
        assert answers(server.port)
        assert health(server.port, "/healthz") == (200, "OK\n")
    unforeseen = [r for r in caplog.records if r.name == "websockets.server" and r.exc_info]
    assert [r.getMessage() for r in unforeseen] == []
    assert "WireError" not in caplog.text  # it is answered, never raised
    assert len([r for r in caplog.records if r.name.endswith("session")]) > count / 2


def test_ten_thousand_messages_of_garbage_do_not_bring_it_down(
    caplog: pytest.LogCaptureFixture,
) -> None:
    check_fuzzed(10_000, caplog)
