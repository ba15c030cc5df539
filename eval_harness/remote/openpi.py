"""Client of openpi's WebSocket protocol, and how its requests name LIBERO's observations.

A server greets with a map of metadata. Then each request is one observation and each reply a map
with `actions` (chunk, 7); an error comes as text. There are no episodes in it. Facts:
openpi's `serving/websocket_policy_server.py`, `examples/libero/main.py`, and PyPI's openpi-client.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from eval_harness.policy import (
    ACTION_DIM,
    EpisodeKey,
    Observation,
    Policy,
    PolicyError,
    Requirements,
)
from eval_harness.remote.connection import (
    BackgroundLoop,
    ClientConfig,
    Link,
    gather,
    websocket_url,
)
from eval_harness.remote.description import KEY, FirstGreeting, episode_to_message, new_client
from eval_harness.remote.wire import WireError, actions, numbers, pack, picture, text

CAMERAS = {"agentview": "observation/image", "robot0_eye_in_hand": "observation/wrist_image"}
STATES = {"proprio": "observation/state"}
PROMPT = "prompt"

_CONNECTIONS = 8
_MOST_CONNECTIONS = 64
_STATE_DIM = 8


def to_request(observation: Observation, needs: Requirements) -> dict[str, Any]:
    """Return the request that openpi's LIBERO example would send for an observation."""
    request: dict[str, Any] = {PROMPT: observation.instruction}
    for camera in needs.cameras:
        request[_image_name(camera)] = observation.images[camera]
    for name in needs.state:
        request[_state_name(name)] = observation.state[name]
    return request


def from_request(
    request: Mapping[str | bytes, Any], needs: Requirements
) -> tuple[str, dict[str, npt.NDArray[np.uint8]], dict[str, npt.NDArray[np.float64]]]:
    """Return a request's instruction, pictures by camera and numbers by set.

    Raises:
        WireError: it lacks something that the policy needs, or holds something else there.
    """
    pictures = {c: picture(request.get(_image_name(c)), _image_name(c)) for c in needs.cameras}
    values = {s: numbers(request.get(_state_name(s)), _state_name(s)) for s in needs.state}
    return text(request.get(PROMPT), PROMPT), pictures, values


def _image_name(camera: str) -> str:
    return CAMERAS.get(camera, f"observation/{camera}")


def _state_name(name: str) -> str:
    return STATES.get(name, f"observation/{name}")


class OpenPiPolicy(Policy):
    """A policy behind a server of openpi's protocol.

    Its answers are the server's: a server that draws noise of its own, as openpi's does, gives
    other answers when it is asked again. Only `dlr serve` is told which episode a request is of.

    Args:
        url: `openpi://HOST:PORT`, `ws://...` or `wss://...`.
        chunk: Actions to take of each reply; by default what the server describes, else the
            length of its reply to one grey picture.
        connections: Requests under way at a time; by default what the server takes as a batch,
            else 8.
        image_size: Side of that grey picture.
        api_key: Sent as openpi's client sends it.
        config: Patience and limits.

    Raises:
        PolicyError: no openpi server answers there.
    """

    def __init__(
        self,
        url: str,
        chunk: int | None = None,
        connections: int | None = None,
        image_size: int = 224,
        api_key: str | None = None,
        config: ClientConfig = ClientConfig(),
    ) -> None:
        self.url = websocket_url(url)
        self._config = config
        self._headers = {"Authorization": f"Api-Key {api_key}"} if api_key else None
        self._greeting = FirstGreeting(self.url)
        self._begun: set[EpisodeKey] = set()
        self._client = new_client()
        self._answered = False
        self._loop = BackgroundLoop()
        self._links = [self._link()]
        try:
            self._loop.run(self._links[0].open())
            self.requirements = self._find_requirements(chunk, connections, image_size)
        except BaseException:
            self.close()
            raise
        self._links += [self._link() for _ in range(self.requirements.batch - 1)]

    def reset(self, keys: Sequence[EpisodeKey]) -> None:
        """Tell a server of ours, with the next requests; openpi's protocol has no word for it."""
        self._begun.update(keys)

    def act(self, observations: Sequence[Observation]) -> npt.NDArray[np.float64]:
        """Return a chunk of actions for each observation. Shape: (n, chunk, 7).

        Raises:
            PolicyError: the server gave no usable actions for some of them.
        """
        if not observations:
            return np.zeros((0, self.requirements.chunk, ACTION_DIM))
        requests = [pack(self._request(o), marks="bytes") for o in observations]
        chunks = self._loop.run(self._ask_all(requests))
        self._begun.difference_update(observation.key for observation in observations)
        return np.stack([self._cut(chunk) for chunk in chunks])

    def identity(self) -> dict[str, Any]:
        """Return what the server says of its policy, and its address where it says too little."""
        if (served := self._greeting.described) is not None:
            return {"kind": "openpi", "policy": dict(served.identity)}
        return {"kind": "openpi", "url": self.url, "metadata": self._greeting.said}

    def close(self) -> None:
        """Close the connections."""
        if not self._loop.closed:
            self._loop.run(gather([link.close() for link in self._links]))
            self._loop.close()

    def _link(self) -> Link:
        return Link(self.url, self._config, self._greet, self._headers)

    async def _greet(self, link: Link) -> None:
        metadata = await link.receive()
        try:
            self._greeting.hear(metadata)
        except WireError as error:
            raise PolicyError(f"{self.url}: the server sent {error}") from error

    def _find_requirements(
        self, chunk: int | None, connections: int | None, image_size: int
    ) -> Requirements:
        served = self._greeting.described
        needs = served.requirements if served else Requirements()
        batch = connections or (needs.batch if served else _CONNECTIONS)
        if chunk is None:
            chunk = needs.chunk if served else self._probe(image_size)
        return replace(needs, chunk=chunk, batch=min(batch, _MOST_CONNECTIONS))

    def _probe(self, image_size: int) -> int:
        grey = np.full((image_size, image_size, 3), 128, dtype=np.uint8)
        needs = Requirements()
        images = dict.fromkeys(needs.cameras, grey)
        state = {"proprio": np.zeros(_STATE_DIM)}
        key = EpisodeKey("probe", 0, 0, 0)
        request = to_request(Observation(key, 0, "do nothing", images, state), needs)
        return len(self._loop.run(self._ask(self._links[0], [pack(request, marks="bytes")]))[0])

    def _request(self, observation: Observation) -> dict[str, Any]:
        request = to_request(observation, self.requirements)
        if self._greeting.described is not None:
            key = observation.key
            begins = key in self._begun
            request[KEY] = episode_to_message(key, observation.step, begins, self._client)
        return request

    async def _ask_all(self, requests: Sequence[bytes]) -> list[npt.NDArray[np.float64]]:
        # Link i takes requests i, i + n, ...: each has at most one under way.
        used = self._links[: len(requests)]
        count = len(used)
        lanes = (self._ask(link, requests[i::count]) for i, link in enumerate(used))
        answers = await gather(lanes)
        return [answers[i % count][i // count] for i in range(len(requests))]

    async def _ask(self, link: Link, requests: Sequence[bytes]) -> list[npt.NDArray[np.float64]]:
        await link.open()
        return [self._read(await link.ask(request, self._patience())) for request in requests]

    def _patience(self) -> float:
        return self._config.reply_s if self._answered else self._config.first_reply_s

    def _read(self, reply: Mapping[str | bytes, Any]) -> npt.NDArray[np.float64]:
        try:
            chunk = actions(reply.get("actions"))
        except WireError as error:
            raise PolicyError(f"{self.url}: the server sent {error}") from error
        self._answered = True
        return chunk

    def _cut(self, chunk: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        wanted = self.requirements.chunk
        if len(chunk) < wanted:
            raise PolicyError(f"{self.url}: a chunk of {len(chunk)} actions, not of {wanted}")
        return chunk[:wanted]
