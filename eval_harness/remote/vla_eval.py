"""Client of vla-eval's WebSocket protocol.

The client says `hello` and is answered so; then, for each episode, `episode_start`, an `action`
or `error` for each `observation`, and `episode_end`. A connection is a session, which has one
episode at a time, and a server keeps its chunk of actions: it is asked at every step. Facts:
PyPI's vla-eval, `connection`, `runners.sync_runner` and `model_servers`.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from common.errors import UnknownTaskError
from eval_harness.policy import (
    ACTION_DIM,
    EpisodeKey,
    Observation,
    Policy,
    PolicyError,
    Requirements,
)
from eval_harness.protocols import Protocol
from eval_harness.remote.connection import (
    BackgroundLoop,
    ClientConfig,
    Link,
    gather,
    last_line,
    websocket_url,
)
from eval_harness.remote.description import KEY, FirstGreeting, episode_to_message, new_client
from eval_harness.remote.vla_eval_messages import (
    ACTION_FORMATS,
    HELLO,
    STATES,
    Message,
    shortest_rotation,
    to_payload,
)
from eval_harness.remote.wire import WireError, actions
from simulation.tasks import get_task

_STATE_DIM = 8
_BATCH = 64
_MOST_SESSIONS = 256

logger = logging.getLogger(__name__)


class _Session:
    """A connection and the episode that it has."""

    def __init__(self, link: Link) -> None:
        self.link = link
        self.seq = 0
        self.begun = False
        self.answer: tuple[int, npt.NDArray[np.float64]] | None = None

    def message(self, kind: str, payload: Mapping[Any, Any]) -> Message:
        self.seq += 1
        return Message(kind, payload, self.seq)


class VlaEvalPolicy(Policy):
    """A policy behind a server of vla-eval's protocol.

    The server says which camera and state it wants. Pictures are to be given upright and 256 by
    256 pixels; the state is LIBERO's of 8 numbers, whose axis-angle is shortened to at most pi
    unless the server asks for robosuite's own. An episode whose connection was lost has to be
    reset, for the server has forgotten its chunk; the same step may be asked twice.

    Args:
        url: `vla-eval://HOST:PORT`, `ws://...` or `wss://...`.
        chunk: Actions in each of the server's replies.
        config: Patience and limits.

    Raises:
        PolicyError: no vla-eval server answers there, or it wants what LIBERO's control lacks.
    """

    def __init__(self, url: str, chunk: int = 1, config: ClientConfig = ClientConfig()) -> None:
        self.url = websocket_url(url)
        self._config = config
        self._greeting = FirstGreeting(self.url)
        self._answered = False
        self._reset: set[EpisodeKey] = set()
        self._client = new_client()
        self._sessions: dict[EpisodeKey, _Session] = {}
        self._loop = BackgroundLoop()
        self._idle = [self._session()]
        try:
            self._loop.run(self._idle[0].link.open())
            self.requirements = self._find_requirements(chunk)
        except BaseException:
            self.close()
            raise

    def run_under(self, protocol: Protocol) -> None:
        """Say so where the server executes other parts of its chunks than the protocol does."""
        if (served := self._greeting.described) is not None:
            chunk = served.requirements.chunk
            if (wanted := min(protocol.chunk or chunk, chunk)) != served.execute:
                logger.warning(
                    "%s: the server executes %d actions of each chunk, the protocol %s %d: start "
                    "it with --execute %d", self.url, served.execute, protocol.name, wanted, wanted
                )  # fmt: skip

    def reset(self, keys: Sequence[EpisodeKey]) -> None:
        """Begin these episodes, with their next observation, whatever was begun before."""
        self.end(keys)
        self._reset.update(keys)

    def end(self, keys: Sequence[EpisodeKey]) -> None:
        """End these episodes; their connections serve the next ones."""
        self._reset.difference_update(keys)
        ended = [self._sessions.pop(key) for key in keys if key in self._sessions]
        self._loop.run(gather([self._end(session) for session in ended]))
        self._idle += ended

    def act(self, observations: Sequence[Observation]) -> npt.NDArray[np.float64]:
        """Return a chunk of actions for each observation. Shape: (n, chunk, 7).

        Raises:
            PolicyError: the server gave no usable actions for some of them, or an episode was
                not reset.
        """
        if not observations:
            return np.zeros((0, self.requirements.chunk, ACTION_DIM))
        for observation in observations:
            self._take_session(observation.key)
        return np.stack(self._loop.run(gather([self._ask(o) for o in observations])))

    def identity(self) -> dict[str, Any]:
        """Return what the server says of itself, and its address where it says too little."""
        if (served := self._greeting.described) is not None:
            known = {"policy": dict(served.identity), "execute": served.execute}
            return {"kind": "vla_eval", **known}
        return {"kind": "vla_eval", "url": self.url, "hello": self._greeting.said}

    def close(self) -> None:
        """Close the connections."""
        if not self._loop.closed:
            sessions = [*self._idle, *self._sessions.values()]
            self._loop.run(gather([session.link.close() for session in sessions]))
            self._loop.close()

    def _session(self) -> _Session:
        return _Session(Link(self.url, self._config, self._greet))

    async def _greet(self, link: Link) -> None:
        await link.send(Message("hello", HELLO, 0).packed())
        try:
            reply = Message.from_dict(await link.receive())
            if reply.type != "hello":
                raise PolicyError(f"{self.url} is no vla-eval server: it greets with {reply.type}")
            self._greeting.hear(reply.payload)
        except WireError as error:
            raise PolicyError(f"{self.url} is no vla-eval server: it sent {error}") from error

    def _find_requirements(self, chunk: int) -> Requirements:
        wishes = self._greeting.content.get("observation_params") or {}
        if not isinstance(wishes, dict):
            raise PolicyError(f"{self.url}: the server's observation_params are no map")
        if wishes.get("absolute_action"):
            raise PolicyError(f"{self.url}: the server's actions are absolute, not LIBERO's")
        self._warn_of_formats()
        self._robosuite_rotation = bool(wishes.get("quat_no_antipodal"))
        if (served := self._greeting.described) is not None:
            needs = served.requirements
            return replace(needs, chunk=chunk, batch=_BATCH, stateful=chunk == 1)
        wrist = ("robot0_eye_in_hand",) if wishes.get("send_wrist_image") else ()
        state = ("proprio",) if wishes.get("send_state") else ()
        return Requirements(("agentview", *wrist), state, chunk, _BATCH, stateful=chunk == 1)

    def _warn_of_formats(self) -> None:
        spec = self._greeting.content.get("action_spec") or {}
        for part, ours in ACTION_FORMATS.items() if isinstance(spec, dict) else ():
            theirs = spec.get(part, {})
            found = theirs.get("format", ours) if isinstance(theirs, dict) else theirs
            if found != ours:
                logger.warning("%s: its %s is %s; LIBERO's is %s", self.url, part, found, ours)

    def _take_session(self, key: EpisodeKey) -> None:
        if key in self._sessions:
            self._sessions[key] = self._sessions.pop(key)
        elif key in self._reset:
            if not self._idle and len(self._sessions) >= _MOST_SESSIONS:
                self.end([next(iter(self._sessions))])
            self._reset.discard(key)
            self._sessions[key] = self._idle.pop() if self._idle else self._session()
        else:
            raise PolicyError(
                f"{self.url}: episode {key.episode} of {key.task} has no connection (any more); "
                "reset it and start it again"
            )

    async def _ask(self, observation: Observation) -> npt.NDArray[np.float64]:
        session = self._sessions[observation.key]
        if session.answer is not None and session.answer[0] == observation.step:
            return session.answer[1]
        try:
            chunk = await self._exchange(session, observation)
        except BaseException:
            session.link.drop()
            self._sessions.pop(observation.key, None)
            raise
        session.answer, self._answered = (observation.step, chunk), True
        return chunk

    async def _exchange(
        self, session: _Session, observation: Observation
    ) -> npt.NDArray[np.float64]:
        if session.begun and not session.link.is_open:
            raise PolicyError(f"{self.url}: the connection broke during the episode")
        payload = self._payload(observation)
        await session.link.open()
        if not session.begun:
            start = session.message("episode_start", self._start(observation))
            await session.link.send(start.packed())
            session.begun = True
        request = session.message("observation", payload)
        patience = self._config.reply_s if self._answered else self._config.first_reply_s
        return self._read(await session.link.ask(request.packed(), patience), request.seq)

    def _payload(self, observation: Observation) -> dict[str, Any]:
        payload, name = to_payload(observation, self.requirements), STATES["proprio"]
        if name in payload and self._greeting.described is None:
            if payload[name].shape != (_STATE_DIM,):
                raise PolicyError(
                    f"{self.url}: a vla-eval server takes LIBERO's state of {_STATE_DIM} numbers; "
                    f"this protocol's has {len(payload[name])}"
                )
            if not self._robosuite_rotation:
                payload[name] = shortest_rotation(payload[name])
        return payload

    def _start(self, observation: Observation) -> dict[str, Any]:
        key = observation.key
        index = key.episode if key.init_index < 0 else key.init_index
        task: dict[str, Any] = {"name": observation.instruction, "episode_idx": index}
        try:
            known = get_task(key.task)
            task |= {"suite": known.suite, "task_id": known.index}
        except UnknownTaskError:
            task |= {"suite": key.task.partition("/")[0]}
        if self._greeting.described is None:
            return {"task": task}
        return {"task": task, KEY: episode_to_message(key, 0, True, self._client)}

    def _read(self, message: Mapping[str | bytes, Any], seq: int) -> npt.NDArray[np.float64]:
        try:
            reply = Message.from_dict(message)
            if reply.type == "error":
                reason = last_line(reply.payload.get("error", reply.payload))
                raise PolicyError(f"{self.url}: the server reports an error: {reason}")
            if reply.type != "action" or reply.seq != seq:
                raise WireError(f"{reply.type} {reply.seq} in reply to observation {seq}")
            chunk = actions(reply.payload.get("actions", reply.payload.get("action")))
        except WireError as error:
            raise PolicyError(f"{self.url}: the server sent {error}") from error
        if len(chunk) != self.requirements.chunk:
            raise PolicyError(
                f"{self.url}: a reply of {len(chunk)} actions, not {self.requirements.chunk}; "
                f"add #chunk={len(chunk)} to the policy's name"
            )
        chunk[:, -1] = np.where(chunk[:, -1] < 0, -1.0, 1.0)
        return chunk

    async def _end(self, session: _Session) -> None:
        if session.begun and session.link.is_open:
            try:
                await session.link.send(session.message("episode_end", {}).packed())
            except PolicyError as error:
                logger.warning("an episode's end did not reach the server: %s", error)
                session.link.drop()
        session.begun, session.answer = False, None
