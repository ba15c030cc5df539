"""One client of a policy's server: its messages in, replies out, in the protocol that it speaks.

The greeting is both a map of metadata, which openpi's client waits for before it says anything,
and vla-eval's `hello`, which vla-eval's client waits for after its own. Each later message says by
its form whose it is.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from eval_harness.policy import EpisodeKey, Observation, Policy, PolicyError
from eval_harness.remote import openpi, vla_eval_messages
from eval_harness.remote.batching import Batcher
from eval_harness.remote.description import KEY, Description, episode_from_message, integer
from eval_harness.remote.vla_eval_messages import ACTION_FORMATS, HELLO, Message
from eval_harness.remote.wire import PICTURE_MARK, Limits, WireError, pack, unpack

_FIRST_SEQ = 1
_MOST_EPISODES = 512
"""Episodes that a connection has under way, at most; the one it used longest ago is ended."""
_MOST_NAMES = 1 << 16
"""Characters of these episodes' tasks, at most."""
_LONGEST_NAME = 1 << 10
_LARGE = 1 << 15
_DIMENSIONS = {"position": 3, "rotation": 3, "gripper": 1}

logger = logging.getLogger(__name__)


def greeting(policy: Policy, execute: int) -> bytes:
    """Return the first message of a connection, which both protocols understand."""
    described = {KEY: Description.of(policy, execute).to_message()}
    needs = policy.requirements
    payload = {
        **HELLO,
        "model_server": type(policy).__name__,
        "capabilities": {},
        "observation_params": {
            "send_wrist_image": "robot0_eye_in_hand" in needs.cameras,
            "send_state": "proprio" in needs.state,
            "quat_no_antipodal": True,
        },
        "action_spec": {
            part: {"name": part, "dims": _DIMENSIONS[part], "format": name, "range": [-1, 1]}
            for part, name in ACTION_FORMATS.items()
        },
        **described,
    }
    return pack(Message("hello", payload, _FIRST_SEQ).as_dict() | described, marks="text")


@dataclass(frozen=True)
class Serving:
    """What a session needs of its server."""

    batcher: Batcher
    """Answers observations."""
    execute: int
    """Actions of each chunk that a client of vla-eval's protocol is given."""
    limits: Limits
    """Memory that a message may claim."""
    decode: Callable[[str, bytes], Awaitable[dict[str | bytes, Any]]]
    """Reads an owner's message that is large, or may become so, where it holds up nobody else."""


class Session:
    """A client's connection: its protocol, its episodes, and what is left of its chunk.

    Args:
        serving: What the server offers.
        number: Number of the connection, which tells nameless episodes apart.
        owner: Whose the connection is.
        keep: Is told the bytes that are kept to answer a message.
    """

    def __init__(
        self, serving: Serving, number: int, owner: str, keep: Callable[[int], None]
    ) -> None:
        self.keys: dict[EpisodeKey, None] = {}
        self.asked = False
        self._batcher = serving.batcher
        self._serving = serving
        self._number = number
        self._client = f"connection {number}"
        self._owner = owner
        self._keep = keep
        self._names = 0
        self._speaks_vla_eval = False
        self._said_hello = False
        self._key: EpisodeKey | None = None
        self._step = 0
        self._chunk: deque[npt.NDArray[np.float64]] = deque()

    async def answer(self, data: bytes | str) -> bytes | str | None:
        """Return the reply to a message, None where there is none; errors are replies too."""
        seq = 0
        try:
            if isinstance(data, str):
                raise WireError("a text; messages are MessagePack")
            message = await self._unpack(data)
            del data
            if "type" not in message or "payload" not in message:
                self._speaks_vla_eval = False
                return await self._openpi(message)
            self._speaks_vla_eval = True
            read = Message.from_dict(message)
            seq = read.seq
            return await self._vla_eval(read)
        except (WireError, PolicyError) as error:
            level = logging.WARNING if isinstance(error, PolicyError) else logging.INFO
            logger.log(level, "connection %d: %s", self._number, error)
            if self._speaks_vla_eval:
                return Message("error", {"error": str(error)}, seq).packed()
            return f"{type(error).__name__}: {error}"

    async def end(self) -> None:
        """End what episodes the client has begun."""
        keys, self.keys, self._names = list(self.keys), {}, 0
        if keys:
            await self._batcher.end(keys)

    async def _unpack(self, data: bytes) -> dict[str | bytes, Any]:
        if len(data) < _LARGE and PICTURE_MARK not in data:
            return unpack(data, self._serving.limits)
        return await self._serving.decode(self._owner, data)

    async def _openpi(self, request: dict[str | bytes, Any]) -> bytes:
        start = time.perf_counter()
        if KEY in request:
            key, step, reset = episode_from_message(request[KEY])
        else:
            key, step, reset = self._nameless(), self._step, self._key is None
        observed = Observation(
            key, step, *openpi.from_request(request, self._batcher.policy.requirements)
        )
        request.clear()  # what the policy does not look at
        if reset or not self._knows(key):
            await self._begin(key, reset)
        chunk = await self._act(observed)
        self._key, self._step = key, step + 1
        timing = {"infer_ms": 1000 * (time.perf_counter() - start)}
        return pack({"actions": chunk, "server_timing": timing}, marks="bytes")

    async def _vla_eval(self, message: Message) -> bytes | None:
        if message.type == "hello":
            # The greeting was the reply to the first.
            repeated, self._said_hello = self._said_hello, True
            serving = self._serving
            return greeting(serving.batcher.policy, serving.execute) if repeated else None
        if message.type == "observation":
            action = await self._next_action(dict(message.payload))
            return Message("action", {"actions": action}, message.seq).packed()
        if message.type == "episode_start":
            self._chunk.clear()
            self._key, self._step = self._named(message.payload), 0
            await self._begin(self._key, reset=True)
        elif message.type == "episode_end":
            await self.end()
            self._key = None
            self._chunk.clear()
        elif message.type == "error":
            logger.warning("connection %d: its error %.300s", self._number, message.payload)
        else:
            raise WireError(f"a message of type {message.type!r} from a client")
        return None

    async def _next_action(self, payload: dict[Any, Any]) -> npt.NDArray[np.float64]:
        needs = self._batcher.policy.requirements
        if not self._chunk:
            content = vla_eval_messages.from_payload(payload, needs)
            if self._key is None:
                self._key, self._step = self._nameless(), 0
                await self._begin(self._key, reset=True)
            payload.clear()  # what the policy does not look at
            chunk = await self._act(Observation(self._key, self._step, *content))
            self._chunk.extend(chunk[: self._serving.execute])
        self._step += 1
        return self._chunk.popleft()

    async def _act(self, observation: Observation) -> npt.NDArray[np.float64]:
        numbers = sum(values.nbytes for values in observation.state.values())
        pictures = sum(picture.nbytes for picture in observation.images.values())
        self._keep(len(observation.instruction) + numbers + pictures)
        chunk = await self._batcher.act(observation, self._owner)
        self.asked = True
        return chunk

    def _knows(self, key: EpisodeKey) -> bool:
        """Return whether an episode is under way; it is then the last to be ended."""
        if key not in self.keys:
            return False
        self.keys[key] = self.keys.pop(key)
        return True

    async def _begin(self, key: EpisodeKey, reset: bool) -> None:
        if len(key.task) > _LONGEST_NAME:
            raise WireError(f"an episode whose task has more than {_LONGEST_NAME} characters")
        if not self._knows(key):
            self.keys[key] = None
            self._names += len(key.task)
        if reset:
            await self._batcher.reset([key])
        while len(self.keys) > _MOST_EPISODES or self._names > _MOST_NAMES:
            oldest = next(iter(self.keys))
            del self.keys[oldest]
            self._names -= len(oldest.task)
            await self._batcher.end([oldest])

    def _nameless(self) -> EpisodeKey:
        return EpisodeKey("remote", self._number, 0, self._number, self._client)

    def _named(self, payload: Mapping[Any, Any]) -> EpisodeKey:
        if KEY in payload:
            return episode_from_message(payload[KEY])[0]
        task = payload.get("task")
        if not isinstance(task, dict) or not isinstance(name := task.get("name"), str):
            return self._nameless()
        suite = task.get("suite") if isinstance(task.get("suite"), str) else "remote"
        episode = integer(task.get("episode_idx", 0), "an episode's episode_idx")
        return EpisodeKey(f"{suite}/{name}", episode, episode, episode, self._client)
