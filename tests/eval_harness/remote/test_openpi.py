"""openpi's protocol in both directions, and servers that die, hang or send nonsense."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
import time
import tracemalloc
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from openpi_client import msgpack_numpy
from openpi_client.websocket_client_policy import WebsocketClientPolicy
from websockets.asyncio.server import ServerConnection

from eval_harness.policy import EpisodeKey, Observation, PolicyError, Requirements
from eval_harness.remote.connection import ClientConfig, websocket_url
from eval_harness.remote.openpi import OpenPiPolicy, to_request
from eval_harness.remote.server import PolicyServer, ServerConfig
from eval_harness.remote.vla_eval import VlaEvalPolicy
from tests.eval_harness.remote.support import (
    CHUNK,
    PATIENT,
    CheckedPolicy,
    anyones,
    expected,
    observation,
    raw_server,
)

FREE = ServerConfig(port=0)


@contextlib.contextmanager
def client(address: str, config: ClientConfig = PATIENT, **options: Any) -> Iterator[OpenPiPolicy]:
    policy = OpenPiPolicy(f"openpi://{address}", config=config, **options)
    try:
        yield policy
    finally:
        policy.close()


class OpenPiServer:
    """A server as openpi's: metadata first, then a chunk for each observation, or a text."""

    def __init__(self, metadata: dict[str, Any] | None = None, rows: int = 10) -> None:
        self.metadata = {} if metadata is None else metadata
        self.rows = rows
        self.requests: list[dict[str, Any]] = []
        self.headers: list[Any] = []

    async def __call__(self, socket: ServerConnection) -> None:
        assert socket.request is not None
        self.headers.append(socket.request.headers)
        await socket.send(msgpack_numpy.packb(self.metadata))
        async for data in socket:
            request = msgpack_numpy.unpackb(data)
            self.requests.append(request)
            if request["prompt"] == "break":
                await socket.send("Traceback:\n  line 1\nKeyError: 'observation/joint'")
                await socket.close(1011, "Internal server error.")
                return
            start = request["observation/state"][0]
            rows = np.tile(np.linspace(start, 1, 7), (self.rows, 1))
            await socket.send(msgpack_numpy.packb({"actions": rows, "policy_timing": {"a": 1.0}}))


def test_the_real_client_is_answered_by_our_server() -> None:
    policy = CheckedPolicy()
    with PolicyServer(policy, FREE).background() as server:
        real = WebsocketClientPolicy("127.0.0.1", server.port)
        assert real.get_server_metadata()["dlr"]["chunk"] == CHUNK
        for step in range(3):
            seen = observation(step=step)
            reply = real.infer(to_request(seen, policy.requirements))
            seen = Observation(policy.seen[-1].key, 0, seen.instruction, seen.images, seen.state)
            np.testing.assert_array_equal(reply["actions"], expected(seen))
            assert reply["server_timing"]["infer_ms"] > 0
        with pytest.raises(RuntimeError, match="observation/wrist_image must be a uint8 picture"):
            real.infer({"observation/image": seen.images["agentview"], "prompt": "x"})
        assert real.infer(to_request(seen, policy.requirements))["actions"].shape == (CHUNK, 7)
        real._ws.close()
    assert [o.step for o in policy.seen] == [0, 1, 2, 3]
    assert len(policy.resets) == 1
    assert policy.ends == policy.resets


def test_a_server_like_openpis_is_asked_as_by_openpis_example() -> None:
    server = OpenPiServer({"reset_pose": np.arange(3.0), "config": "pi05_libero"})
    with raw_server(server) as address, client(address, api_key="secret") as policy:
        assert policy.requirements == Requirements(chunk=10, batch=8)
        assert server.headers[0]["Authorization"] == "Api-Key secret"
        seen = [observation(episode) for episode in range(20)]
        chunks = policy.act(seen)
        for chunk, one in zip(chunks, seen, strict=True):
            np.testing.assert_array_equal(chunk[9], np.linspace(one.state["proprio"][0], 1, 7))
        by_state = {request["observation/state"][0]: request for request in server.requests}
        for one in seen:
            request = by_state[one.state["proprio"][0]]
            assert request.keys() == {
                "observation/image",
                "observation/wrist_image",
                "observation/state",
                "prompt",
            }
            np.testing.assert_array_equal(request["observation/image"], one.images["agentview"])
            wrist = one.images["robot0_eye_in_hand"]
            np.testing.assert_array_equal(request["observation/wrist_image"], wrist)
            assert request["observation/state"].shape == (8,)
            assert request["prompt"] == "open the drawer"
        metadata = {"reset_pose": [0.0, 1.0, 2.0], "config": "pi05_libero"}
        assert policy.identity() == {
            "kind": "openpi",
            "url": f"ws://{address}",
            "metadata": metadata,
        }


def test_a_given_chunk_is_cut_from_a_longer_one() -> None:
    with raw_server(OpenPiServer()) as address:
        with client(address, chunk=5) as policy:
            assert policy.act([observation()]).shape == (1, 5, 7)
        with client(address, chunk=11) as policy, pytest.raises(PolicyError, match="of 10 actions"):
            policy.act([observation()])


def test_our_client_tells_our_server_the_episodes() -> None:
    served = CheckedPolicy(batch=16)
    with PolicyServer(served, FREE).background() as server:
        with client(f"127.0.0.1:{server.port}") as policy:
            assert policy.requirements == served.requirements
            assert policy.identity() == {"kind": "openpi", "policy": served.identity()}
            seen = [observation(episode) for episode in range(40)]
            policy.reset([o.key for o in seen])
            np.testing.assert_array_equal(policy.act(seen), [expected(o) for o in seen])
            later = [observation(episode, step=CHUNK) for episode in range(40)]
            np.testing.assert_array_equal(policy.act(later), [expected(o) for o in later])
            assert policy.act([]).shape == (0, CHUNK, 7)
        assert sorted(map(anyones, served.resets), key=lambda k: k.episode) == [o.key for o in seen]
        asked = {(anyones(o.key), o.step) for o in served.seen}
        assert asked == {(o.key, o.step) for o in seen + later}
        assert max(served.batches) > 4
    assert set(served.ends) == set(served.resets)


def test_clients_that_run_the_same_episode_have_their_own() -> None:
    served = CheckedPolicy()
    with PolicyServer(served, FREE).background() as server:
        address = f"127.0.0.1:{server.port}"
        with client(address) as one, client(address) as other:
            for policy in (one, other):
                policy.reset([observation().key])
                policy.act([observation()])
            first, second = (o.key for o in served.seen)
            assert first != second and anyones(first) == anyones(second) == observation().key
            assert served.resets == [first, second]
    assert set(served.ends) == {first, second}


def replies(reply: Any) -> OpenPiServer:
    """A server whose first reply (to the grey picture) is good and whose others are `reply`."""

    class Odd(OpenPiServer):
        async def __call__(self, socket: ServerConnection) -> None:
            await socket.send(msgpack_numpy.packb({}))
            async for _ in socket:
                good = msgpack_numpy.packb({"actions": np.zeros((10, 7))})
                self.requests.append({})
                await socket.send(good if len(self.requests) == 1 else reply)

    return Odd()


NONSENSE: dict[str, tuple[Any, str]] = {
    "garbage": (b"\xc1garbage", "no MessagePack"),
    "random bytes": (np.random.default_rng(0).bytes(1000), "the server sent"),
    "a list": (msgpack_numpy.packb([1, 2]), "a message is a map"),
    "no actions": (msgpack_numpy.packb({"action": 1}), "actions nothing"),
    "a wrong shape": (msgpack_numpy.packb({"actions": np.zeros((10, 8))}), r"shape \(10, 8\)"),
    "few actions": (msgpack_numpy.packb({"actions": np.zeros((9, 7))}), "a chunk of 9"),
    "NaN": (msgpack_numpy.packb({"actions": np.full((10, 7), np.nan)}), "with NaN"),
    "text": ("Traceback\nValueError: out of memory", "reports an error: ValueError: out of mem"),
    "too much": (bytes((8 << 20) + 1), "more than 8388608 bytes"),
}


@pytest.mark.parametrize("name", NONSENSE)
def test_nonsense_is_a_policy_error_and_the_next_call_connects_again(name: str) -> None:
    reply, message = NONSENSE[name]
    server = replies(reply)
    with raw_server(server) as address, client(address, connections=2) as policy:
        with pytest.raises(PolicyError, match=message):
            policy.act([observation()])
        server.requests.clear()
        assert policy.act([observation()]).shape == (1, 10, 7)


def test_an_error_of_one_request_is_told_with_its_reason() -> None:
    with raw_server(OpenPiServer()) as address, client(address) as policy:
        broken = observation(instruction="break")
        with pytest.raises(PolicyError, match=r"KeyError: 'observation/joint' \(1 of 3 obs"):
            policy.act([observation(1), broken, observation(2)])
        assert policy.act([observation(1), observation(2)]).shape == (2, 10, 7)


def test_a_gigabyte_is_refused_at_its_announcement() -> None:
    """The frame claims 1 GiB and goes on for as long as it is read."""
    sent = 0

    async def flood(socket: ServerConnection) -> None:
        nonlocal sent
        await socket.send(msgpack_numpy.packb({}))
        await socket.recv()
        await socket.send(msgpack_numpy.packb({"actions": np.zeros((10, 7))}))
        await socket.recv()
        socket.transport.write(b"\x82\x7f" + (1 << 30).to_bytes(8, "big"))
        while not socket.transport.is_closing() and sent < 1 << 30:
            socket.transport.write(bytes(1 << 16))
            sent += 1 << 16
            await asyncio.sleep(0.001)

    with raw_server(flood) as address, client(address) as policy:
        tracemalloc.start()
        with pytest.raises(PolicyError, match="of more than 8388608 bytes"):
            policy.act([observation()])
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < 32 << 20
    assert sent < 64 << 20


def test_a_server_that_hangs_is_given_up() -> None:
    release = threading.Event()
    slow = CheckedPolicy(slow=release)
    config = ClientConfig(connect_s=60, first_reply_s=3, reply_s=3)
    with (
        PolicyServer(slow, FREE).background() as server,
        client(f"127.0.0.1:{server.port}", config) as policy,
    ):
        with pytest.raises(PolicyError, match="no reply within 3 s"):
            policy.act([observation()])
        release.set()
        late, seen = observation(1), observation(2)
        while slow.batches == []:
            time.sleep(0.01)
        # The late reply went to the connection that was dropped.
        np.testing.assert_array_equal(policy.act([late, seen]), [expected(late), expected(seen)])


def test_a_server_that_dies_is_told_and_found_again() -> None:
    server = PolicyServer(CheckedPolicy(), FREE)
    config = ClientConfig(connect_s=3, first_reply_s=60, reply_s=60)
    with server.background():
        policy = OpenPiPolicy(f"openpi://127.0.0.1:{server.port}", config=config)
        policy.act([observation()])
    with pytest.raises(PolicyError, match="no policy server within 3 s"):
        policy.act([observation()])
    again = PolicyServer(CheckedPolicy(), ServerConfig(port=server.port))
    with again.background():
        np.testing.assert_array_equal(policy.act([observation()]), [expected(observation())])
    policy.close()


@pytest.mark.parametrize("kind", [OpenPiPolicy, VlaEvalPolicy])
def test_another_policy_at_the_address_is_told(kind: type[OpenPiPolicy | VlaEvalPolicy]) -> None:
    server = PolicyServer(CheckedPolicy(), FREE)
    with server.background():
        policy = kind(f"ws://127.0.0.1:{server.port}", config=PATIENT)
        policy.reset([observation().key])
        policy.act([observation()])
        known = policy.identity()
    other = CheckedPolicy()
    other.identity = lambda: {"kind": "checked", "hash": "def"}  # type: ignore[method-assign]
    with PolicyServer(other, ServerConfig(port=server.port)).background():
        with contextlib.suppress(PolicyError):  # (a connection that broke is told first)
            policy.act([observation(step=1)])
        for step in range(2):
            policy.reset([observation().key])
            with pytest.raises(PolicyError, match="another policy is served there"):
                policy.act([observation(step=step)])
    assert policy.identity() == known and not other.seen
    policy.close()


def test_a_server_that_greets_otherwise_later_is_told_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It does not describe its policy, so that the greeting may have changed for other reasons."""
    server = OpenPiServer({"checkpoint": "a"})
    with raw_server(server) as address, client(address, connections=3) as policy:
        policy.act([observation(), observation(1)])
        assert not caplog.text
        server.metadata = {"checkpoint": "b"}
        for prompt in ("break", "go on", "break", "go on"):
            with contextlib.suppress(PolicyError):
                policy.act([observation(instruction=prompt)])
        assert policy.identity()["metadata"] == {"checkpoint": "a"}
    assert len(server.headers) > 3
    assert caplog.text.count("greets otherwise than when it was connected") == 1


def test_a_server_that_dies_while_it_computes_is_told_at_once() -> None:
    async def die(socket: ServerConnection) -> None:
        await socket.send(msgpack_numpy.packb({}))
        await socket.recv()
        socket.transport.abort()

    with (
        raw_server(die) as address,
        pytest.raises(PolicyError, match="the server's connection broke"),
    ):
        OpenPiPolicy(f"openpi://{address}", config=PATIENT)


def test_what_is_no_openpi_server_is_told() -> None:
    async def silent(socket: ServerConnection) -> None:
        await socket.recv()

    quick = ClientConfig(connect_s=0.3)
    with raw_server(silent) as address, pytest.raises(PolicyError, match="does not greet"):
        OpenPiPolicy(f"openpi://{address}", config=quick)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        with pytest.raises(PolicyError, match=r"within 0\.3 s"):
            OpenPiPolicy(f"openpi://127.0.0.1:{port}", config=quick)
    with pytest.raises(PolicyError, match="no policy server within"):
        OpenPiPolicy(f"openpi://127.0.0.1:{port}", config=quick)


@pytest.mark.parametrize(
    ("url", "found"),
    [
        ("openpi://10.0.0.1:9000", "ws://10.0.0.1:9000"),
        ("openpi:10.0.0.1:9000", None),
        ("vla-eval://server", "ws://server:8000"),
        ("server:81", "ws://server:81"),
        ("wss://server/path", "wss://server:443/path"),
        ("ws://[::1]:80", "ws://[::1]:80"),
        ("http://server", None),
        ("openpi://", None),
        ("openpi://a..b:8000", None),
        ("openpi://server:port", None),
        ("openpi://server:81#chunk=5", None),
        ("ws://server:81/path?chunk=5", None),
    ],
)
def test_addresses(url: str, found: str | None) -> None:
    if found is None:
        with pytest.raises(PolicyError, match="no address of a server"):
            websocket_url(url)
    else:
        assert websocket_url(url) == found


def test_a_key_that_was_not_reset_is_still_answered() -> None:
    """openpi's protocol has no episodes: what is asked is answered."""
    with raw_server(OpenPiServer()) as address, client(address) as policy:
        other = EpisodeKey("never/reset", 3, 3, 3)
        seen = observation()
        asked = Observation(other, 17, seen.instruction, seen.images, seen.state)
        np.testing.assert_array_equal(policy.act([asked]), policy.act([seen]))
