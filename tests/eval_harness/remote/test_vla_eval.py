"""vla-eval's protocol in both directions, with the server, client and runner of the package."""

from __future__ import annotations

import contextlib
import dataclasses
import threading
from collections.abc import Iterator
from typing import Any

import anyio
import numpy as np
import numpy.typing as npt
import pytest
from vla_eval.benchmarks.base import StepBenchmark, StepResult
from vla_eval.connection import Connection
from vla_eval.model_servers.base import SessionContext
from vla_eval.model_servers.predict import PredictModelServer
from vla_eval.model_servers.serve import serve_async
from vla_eval.protocol import Message, MessageType, pack_message, unpack_message
from vla_eval.rotation import quat_to_axisangle
from vla_eval.runners.sync_runner import SyncEpisodeRunner
from vla_eval.specs import GRIPPER_CLOSE_NEG, GRIPPER_CLOSE_POS, POSITION_DELTA, ROTATION_AA
from websockets.asyncio.server import ServerConnection

from eval_harness.plan import make_items
from eval_harness.policies import load_policy
from eval_harness.policy import Observation, PolicyError
from eval_harness.protocols import get_protocol
from eval_harness.remote.connection import ClientConfig
from eval_harness.remote.server import PolicyServer, ServerConfig
from eval_harness.remote.vla_eval import VlaEvalPolicy
from eval_harness.remote.vla_eval_messages import shortest_rotation
from eval_harness.results import EpisodeResult
from eval_harness.runner import RunConfig, run
from simulation.assets.resolve import embedded_pack
from simulation.recordings.trajectories import Episode
from simulation.tasks import SUITES, get_task, list_tasks
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


class Counting(PredictModelServer):
    """A model server of the package: its chunk counts on from the observation it was made of."""

    def __init__(self, params: dict[str, Any], chunk: int | None = 3, batch: int = 1) -> None:
        super().__init__(chunk_size=chunk, max_batch_size=batch, max_wait_time=0.05)
        self.params = params
        self.seen: list[dict[str, Any]] = []
        self.batches: list[int] = []
        self.episodes: list[dict[str, Any]] = []
        self.ended = 0
        self.gripper = GRIPPER_CLOSE_POS

    def predict_batch(
        self, obs_batch: list[dict[str, Any]], ctx_batch: list[SessionContext]
    ) -> list[dict[str, Any]]:
        self.batches.append(len(obs_batch))
        self.seen += obs_batch
        if any(seen["task_description"] == "break" for seen in obs_batch):
            raise KeyError("broken on purpose")
        return [{"actions": self.rows(seen)} for seen in obs_batch]

    def rows(self, seen: dict[str, Any]) -> npt.NDArray[np.float32]:
        rows = np.zeros((5, 7), dtype=np.float32)
        rows[:, 0] = seen["images"]["agentview"][0, 0, 0] / 255
        rows[:, 1] = np.arange(5) / 10
        rows[:, 6] = [-0.2, 0.0, 0.7, 1.0, -1.0]
        return rows

    async def on_episode_start(self, config: dict[str, Any], ctx: SessionContext) -> None:
        self.episodes.append(config["task"])
        await super().on_episode_start(config, ctx)

    async def on_episode_end(self, result: dict[str, Any], ctx: SessionContext) -> None:
        self.ended += 1
        await super().on_episode_end(result, ctx)

    def get_observation_params(self) -> dict[str, Any]:
        return self.params

    def get_action_spec(self) -> dict[str, Any]:
        return {"position": POSITION_DELTA, "rotation": ROTATION_AA, "gripper": self.gripper}

    def get_observation_spec(self) -> dict[str, Any]:
        return {}


@contextlib.contextmanager
def real_server(model: PredictModelServer) -> Iterator[str]:
    """The package's server in a thread; gives its `HOST:PORT`."""
    ports: list[int] = []
    ready, stop = threading.Event(), threading.Event()

    async def run() -> None:
        async with anyio.create_task_group() as tasks:
            ports.append(await tasks.start(serve_async, model, "127.0.0.1", 0))
            ready.set()
            await anyio.to_thread.run_sync(stop.wait)
            tasks.cancel_scope.cancel()

    thread = threading.Thread(target=anyio.run, args=(run,), daemon=True)
    thread.start()
    assert ready.wait(10)
    try:
        yield f"127.0.0.1:{ports[0]}"
    finally:
        stop.set()
        thread.join(10)


@contextlib.contextmanager
def client(address: str, chunk: int = 1, config: ClientConfig = PATIENT) -> Iterator[VlaEvalPolicy]:
    policy = VlaEvalPolicy(f"vla-eval://{address}", chunk, config)
    try:
        yield policy
    finally:
        policy.close()


def test_the_real_server_is_asked_for_what_it_wants() -> None:
    model = Counting({"send_wrist_image": True, "send_state": True, "quat_no_antipodal": True})
    with real_server(model) as address, client(address) as policy:
        needs = policy.requirements
        assert needs.cameras == ("agentview", "robot0_eye_in_hand")
        assert (needs.state, needs.chunk, needs.stateful) == (("proprio",), 1, True)
        one = observation()
        policy.reset([one.key])
        policy.act([one])
        seen = model.seen[0]
        assert list(seen["images"]) == ["agentview", "wrist"]
        np.testing.assert_array_equal(seen["images"]["agentview"], one.images["agentview"])
        wrist = one.images["robot0_eye_in_hand"]
        np.testing.assert_array_equal(seen["images"]["wrist"], wrist)
        np.testing.assert_array_equal(seen["states"], one.state["proprio"], strict=True)
        assert seen["task_description"] == "open the drawer"
        identity = policy.identity()
        assert identity["url"] == f"ws://{address}"
        assert identity["hello"]["model_server"] == "Counting"
    with real_server(Counting({})) as address, client(address) as policy:
        assert policy.requirements.cameras == ("agentview",)
        assert policy.requirements.state == ()
        policy.reset([one.key])
        policy.act([one])


def test_the_real_server_serves_episodes_side_by_side_from_its_chunks() -> None:
    model = Counting({}, chunk=3, batch=8)
    with real_server(model) as address, client(address) as policy:
        keys = [observation(episode).key for episode in range(6)]
        policy.reset(keys)
        for step in range(7):
            seen = [observation(episode, step) for episode in range(6)]
            actions = policy.act(seen)
            assert actions.shape == (6, 1, 7)
            np.testing.assert_allclose(actions[:, 0, 1], step % 3 / 10, atol=1e-7)
            # Zero closes, as in vla-eval's LIBERO benchmark.
            np.testing.assert_array_equal(actions[:, 0, 6], [-1.0, 1.0, 1.0][step % 3])
            asked = [observation(episode, step - step % 3) for episode in range(6)]
            colours = [o.images["agentview"][0, 0, 0] / 255 for o in asked]
            np.testing.assert_allclose(actions[:, 0, 0], colours, atol=1e-6)
        assert len(model.seen) == 6 * 3
        assert max(model.batches) > 1
        policy.end(keys)
        policy.reset(keys[:1])
        assert policy.act([observation(0)])[0, 0, 1] == 0.0
        assert len(model.episodes) == 7
        assert model.ended == 6
    assert model.ended == 7


def test_a_run_ends_each_episode_and_asks_at_every_step() -> None:
    protocol = dataclasses.replace(
        get_protocol("vla_eval"), render_size=(32, 32), horizons=dict.fromkeys(SUITES, 4)
    )
    model, tasks = Counting({}, chunk=3), list_tasks("libero_spatial")[:1]
    kept: list[Episode] = []

    def sink(result: EpisodeResult, trajectory: Episode | None) -> None:
        assert trajectory is not None
        kept.append(trajectory)

    with real_server(model) as address, client(address) as policy:
        items = make_items(protocol, tasks, 3)
        run(policy, items, protocol, RunConfig(environments=1), sink, embedded_pack())
        assert (len(model.episodes), len(model.seen)) == (3, 6)
        while model.ended < 3:  # the last end is on its way; no connection has closed
            threading.Event().wait(0.01)
    for trajectory in kept:
        # Zero closes, as in vla-eval's LIBERO benchmark.
        np.testing.assert_array_equal(trajectory.actions[:, 6], [-1, 1, 1, -1])


def test_an_episode_begins_with_its_task() -> None:
    task = get_task(
        "libero_spatial/pick_up_the_black_bowl_next_to_the_plate_and_place_it_on_the_plate"
    )
    model = Counting({})
    with real_server(model) as address, client(address) as policy:
        one = observation(3)
        key = type(one.key)(task.key, 53, 3, 0)
        named = Observation(key, 0, task.language, one.images, one.state)
        policy.reset([key])
        policy.act([named])
    assert model.episodes == [
        {
            "name": task.language,
            "suite": "libero_spatial",
            "task_id": task.index,
            "episode_idx": 3,
        }
    ]


def test_the_same_step_may_be_asked_again_and_others_do_not_suffer() -> None:
    model = Counting({}, chunk=3)
    with real_server(model) as address, client(address) as policy:
        good, bad = observation(1), observation(2, instruction="break")
        policy.reset([good.key, bad.key])
        with pytest.raises(PolicyError, match=r"observation_failed: KeyError.*\(1 of 2 obs"):
            policy.act([good, bad])
        assert policy.act([good])[0, 0, 1] == 0.0
        assert policy.act([observation(1, step=1)])[0, 0, 1] == pytest.approx(0.1)
        with pytest.raises(PolicyError, match=r"has no connection.*reset it"):
            policy.act([bad])
        mended = observation(2)
        policy.reset([mended.key])
        assert policy.act([mended])[0, 0, 1] == 0.0


def test_an_episode_that_was_not_reset_or_lost_its_server_is_an_error() -> None:
    model = Counting({})
    with real_server(model) as address:
        policy = VlaEvalPolicy(f"vla-eval://{address}", config=ClientConfig(3, 60, 60))
        with pytest.raises(PolicyError, match="reset it"):
            policy.act([observation()])
        policy.reset([observation().key])
        policy.act([observation()])
    with pytest.raises(PolicyError, match="the connection broke"):
        policy.act([observation(step=1)])
    with pytest.raises(PolicyError, match="reset it"):
        policy.act([observation(step=1)])
    policy.reset([observation().key])
    with pytest.raises(PolicyError, match="no policy server within 3 s"):
        policy.act([observation()])
    policy.close()


def test_whole_chunks_are_taken_when_they_are_said() -> None:
    with real_server(Counting({}, chunk=None)) as address:
        with client(address) as policy:
            policy.reset([observation().key])
            with pytest.raises(PolicyError, match=r"a reply of 5 actions, not 1; add #chunk=5"):
                policy.act([observation()])
        named = load_policy(f"vla-eval://{address}#chunk=5", get_protocol("vla_eval"))
        assert (named.requirements.chunk, named.requirements.stateful) == (5, False)
        named.close()
        for wrong in ("#chunk=0", "#chunk=five", "#chunk="):
            with pytest.raises(PolicyError, match="actions of a reply, 1 or more"):
                load_policy(f"vla-eval://{address}{wrong}", get_protocol("vla_eval"))
        with client(address, chunk=5) as policy:
            assert not policy.requirements.stateful
            policy.reset([observation().key])
            assert policy.act([observation()]).shape == (1, 5, 7)


def test_what_libero_lacks_is_refused_and_other_conventions_are_told(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with (
        real_server(Counting({"absolute_action": True})) as address,
        pytest.raises(PolicyError, match="absolute"),
    ):
        VlaEvalPolicy(f"vla-eval://{address}", config=PATIENT)
    model = Counting({"send_state": True})
    model.gripper = GRIPPER_CLOSE_NEG
    with real_server(model) as address, client(address) as policy:
        assert "its gripper is binary_close_negative" in caplog.text
        one = observation()
        joints = Observation(one.key, 0, "x", one.images, {"proprio": np.zeros(9)})
        policy.reset([one.key])
        with pytest.raises(PolicyError, match="8 numbers; this protocol's has 9"):
            policy.act([joints])


def test_the_axis_angle_is_shortened_as_vla_eval_does() -> None:
    random = np.random.default_rng(0)
    model = Counting({"send_state": True})
    long = 0
    for _ in range(200):
        quaternion = random.normal(size=4)
        quaternion /= np.linalg.norm(quaternion)
        half = np.arccos(quaternion[3])
        upstream = quaternion[:3] / np.sin(half) * 2 * half
        long += bool(np.linalg.norm(upstream) > np.pi)
        state = np.concatenate([np.ones(3), upstream, np.ones(2)])
        shortened = shortest_rotation(state)
        np.testing.assert_allclose(shortened[3:6], quat_to_axisangle(quaternion), atol=1e-5)
        np.testing.assert_array_equal(np.delete(shortened, [3, 4, 5]), np.ones(5))
    assert 50 < long < 150
    with real_server(model) as address, client(address) as policy:
        one = observation()
        policy.reset([one.key])
        policy.act([Observation(one.key, 0, "x", one.images, {"proprio": state})])
    np.testing.assert_array_equal(model.seen[0]["states"], shortened)


class Steps(StepBenchmark):
    """A benchmark of the package whose observations are ours and which keeps the actions."""

    def __init__(self) -> None:
        super().__init__()
        self.actions: list[Any] = []
        self.index = 0

    def get_tasks(self) -> list[dict[str, Any]]:
        return [{"name": "open the drawer", "suite": "libero_90", "task_id": 0}]

    def reset(self, task: dict[str, Any]) -> Any:
        self.index = 0
        return observation()

    def step(self, action: dict[str, Any]) -> StepResult:
        self.actions.append(action["actions"])
        self.index += 1
        return StepResult(observation(step=self.index), 0.0, self.index == 10, {})

    def make_obs(self, raw_obs: Any, task: dict[str, Any]) -> dict[str, Any]:
        images = {"agentview": raw_obs.images["agentview"]}
        images["wrist"] = raw_obs.images["robot0_eye_in_hand"]
        states = raw_obs.state["proprio"]
        return {"images": images, "task_description": task["name"], "states": states}

    def get_step_result(self, step_result: StepResult) -> dict[str, Any]:
        return {"success": step_result.done}


def test_the_real_runner_runs_episodes_on_our_server() -> None:
    served, benchmark = CheckedPolicy(), Steps()

    async def episodes(url: str) -> dict[str, Any]:
        async with Connection(url, timeout=5) as connection:
            for index in range(2):
                task = {**benchmark.get_tasks()[0], "episode_idx": 40 + index}
                runner = SyncEpisodeRunner()
                result = await runner.run_episode(benchmark, task, connection, max_steps=20)
                assert result["metrics"] == {"success": True}
            return connection.server_info

    with PolicyServer(served, FREE).background() as server:
        hello = anyio.run(episodes, f"ws://127.0.0.1:{server.port}")
    assert hello["model_server"] == "CheckedPolicy"
    assert hello["observation_params"] == {
        "send_wrist_image": True,
        "send_state": True,
        "quat_no_antipodal": True,
    }
    assert [(o.key.episode, o.step) for o in served.seen] == [
        (40 + episode, step) for episode in range(2) for step in (0, 4, 8)
    ]
    assert served.seen[0].key.task == "libero_90/open the drawer"
    assert [key.episode for key in served.resets] == [40, 41]
    assert served.ends == served.resets
    for step, action in enumerate(benchmark.actions[:10]):
        asked = served.seen[step // CHUNK]
        np.testing.assert_allclose(action, expected(asked)[step % CHUNK], atol=1e-6)
        assert action.shape == (7,)
        picture = observation(step=asked.step).images["agentview"]
        np.testing.assert_array_equal(asked.images["agentview"], picture)


def test_fewer_actions_of_a_chunk_can_be_executed(caplog: pytest.LogCaptureFixture) -> None:
    served = CheckedPolicy()
    with (
        PolicyServer(served, ServerConfig(port=0, execute=2)).background() as server,
        client(f"127.0.0.1:{server.port}") as policy,
    ):
        policy.reset([observation().key])
        for step in range(4):
            policy.act([observation(step=step)])
        assert policy.identity()["execute"] == 2
        policy.run_under(dataclasses.replace(get_protocol("vla_eval"), chunk=2))
        assert not caplog.messages
        policy.run_under(dataclasses.replace(get_protocol("vla_eval"), chunk=None))
    assert f"vla_eval {CHUNK}: start it with --execute {CHUNK}" in caplog.messages[-1]
    assert [o.step for o in served.seen] == [0, 2]


def test_our_client_on_our_server() -> None:
    served = CheckedPolicy()
    with (
        PolicyServer(served, FREE).background() as server,
        client(f"127.0.0.1:{server.port}") as policy,
    ):
        known = {"policy": served.identity(), "execute": CHUNK}
        assert policy.identity() == {"kind": "vla_eval", **known}
        first = [observation(episode) for episode in range(5)]
        policy.reset([o.key for o in first])
        for step in range(5):
            seen = [observation(episode, step) for episode in range(5)]
            if step % CHUNK == 0:
                asked = seen
            rows = np.array([expected(o)[step % CHUNK] for o in asked])
            rows[:, 6] = 1.0
            np.testing.assert_allclose(policy.act(seen)[:, 0], rows, atol=1e-6)
    assert {anyones(o.key) for o in served.seen} == {o.key for o in first}


def scripted(*replies: Any) -> Any:
    """A server that says hello and then gives these replies; a callable is made of the request."""

    async def handler(socket: ServerConnection) -> None:
        hello = unpack_message(await socket.recv())
        await socket.send(pack_message(Message(MessageType.HELLO, {}, hello.seq)))
        await socket.recv()
        for reply in replies:
            request = unpack_message(await socket.recv())
            await socket.send(reply(request) if callable(reply) else reply)
        await socket.wait_closed()

    return handler


def action(**payload: Any) -> Any:
    return lambda request: pack_message(Message(MessageType.ACTION, payload, request.seq))


NONSENSE: dict[str, tuple[Any, str]] = {
    "garbage": (b"\xc1", "no MessagePack"),
    "another protocol": (lambda request: b"\x81\xa7actions\x90", "a message of type 'None'"),
    "NaN": (action(actions=np.full(7, np.nan)), "actions with NaN"),
    "a wrong shape": (action(actions=np.zeros(6)), r"shape \(6,\)"),
    "no action": (action(success=True), "actions nothing"),
    "another reply": (
        lambda request: pack_message(Message(MessageType.ACTION, {"actions": [0.0] * 7}, 0)),
        "in reply to observation",
    ),
    "an error": (
        lambda request: pack_message(Message(MessageType.ERROR, {"error": "out of memory"}, 1)),
        "reports an error: out of memory",
    ),
    "too much": (bytes((8 << 20) + 1), "of more than 8388608 bytes"),
}


@pytest.mark.parametrize("name", NONSENSE)
def test_nonsense_is_a_policy_error(name: str) -> None:
    reply, message = NONSENSE[name]
    with raw_server(scripted(reply)) as address, client(address) as policy:
        policy.reset([observation().key])
        with pytest.raises(PolicyError, match=message):
            policy.act([observation()])


def test_a_server_that_hangs_is_given_up() -> None:
    config = ClientConfig(connect_s=60, first_reply_s=0.2, reply_s=0.2)
    with raw_server(scripted()) as address, client(address, config=config) as policy:
        policy.reset([observation().key])
        with pytest.raises(PolicyError, match=r"no reply within 0.2 s"):
            policy.act([observation()])


def test_another_protocols_server_is_told() -> None:
    async def openpi(socket: ServerConnection) -> None:
        await socket.send(b"\x80")
        await socket.recv()

    with raw_server(openpi) as address, pytest.raises(PolicyError, match="is no vla-eval server"):
        VlaEvalPolicy(f"vla-eval://{address}", config=PATIENT)
