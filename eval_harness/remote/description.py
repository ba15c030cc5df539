"""What `dlr serve` says of its policy in its greeting, and a client of ours reads there."""

from __future__ import annotations

import json
import logging
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from eval_harness.policy import EpisodeKey, Policy, PolicyError, Requirements
from eval_harness.remote.wire import WireError

KEY = "dlr"
"""Entry of a greeting or a request that the published protocols do not have."""
_MOST = 1 << 20
_MOST_STEPS = 100_000
"""Steps of an episode, at most: a policy that draws noise passes over all that were not asked."""
_CLIENT = re.compile("[0-9a-zA-Z]{1,64}")
_LARGEST = 480
"""Largest pictures that are drawn for a policy, pixels."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Description:
    """A served policy."""

    requirements: Requirements
    """What it needs."""
    identity: Mapping[str, Any]
    """What tells it from others."""
    execute: int = 1
    """Actions of a chunk that clients of vla-eval's protocol are given before it looks again."""

    @classmethod
    def of(cls, policy: Policy, execute: int) -> Description:
        """Describe a policy."""
        return cls(policy.requirements, plain(policy.identity()), execute)

    def to_message(self) -> dict[str, Any]:
        """Return the entry of a greeting."""
        needs = self.requirements
        return {
            "cameras": list(needs.cameras),
            "state": list(needs.state),
            "chunk": needs.chunk,
            "batch": needs.batch,
            "stateful": needs.stateful,
            "upright": needs.upright,
            "execute": self.execute,
            "identity": dict(self.identity),
        }

    @classmethod
    def from_message(cls, entry: object) -> Description:
        """Read the entry of a greeting.

        Raises:
            WireError: it is malformed.
        """
        if not isinstance(entry, dict):
            raise WireError("a greeting whose description of the policy is no map")
        needs = Requirements(
            cameras=_names(entry, "cameras"),
            state=_names(entry, "state"),
            chunk=integer(entry.get("chunk"), "a policy's chunk", least=1, most=_MOST),
            batch=integer(entry.get("batch"), "a policy's batch", least=1, most=_MOST),
            stateful=entry.get("stateful") is True,
            upright=integer(entry.get("upright", 0), "a policy's upright", least=0, most=_LARGEST),
        )
        if not isinstance(identity := entry.get("identity"), dict):
            raise WireError("a greeting without the policy's identity")
        execute = integer(entry.get("execute"), "a server's execute", least=1, most=_MOST)
        return cls(needs, plain(identity), execute)


class FirstGreeting:
    """What a server said of itself when it was connected; later greetings are held against it.

    Args:
        url: The server's address.
    """

    def __init__(self, url: str) -> None:
        self.content: Mapping[str | bytes, Any] = {}
        self.described: Description | None = None
        self._url = url
        self._heard = self._warned = False

    @property
    def said(self) -> Any:
        """Its content as JSON can hold it, the same for the same content."""
        return _said(self.content)

    def hear(self, content: Mapping[str | bytes, Any]) -> None:
        """Take a greeting; one of a server that describes no policy may differ, with a warning.

        Raises:
            WireError: its description of the policy is malformed.
            PolicyError: another policy is described than at first; a result would be of both.
        """
        entry = content.get(KEY)
        described = None if entry is None else Description.from_message(entry)
        if not self._heard:
            self.content, self.described, self._heard = content, described, True
        elif described != self.described:
            raise PolicyError(
                f"{self._url}: another policy is served there than when this one was connected: "
                "serve that one again, or evaluate the other into a folder of its own"
            )
        elif described is None and not self._warned and _said(content) != self.said:
            self._warned = True
            logger.warning(
                "%s: the server greets otherwise than when it was connected: if it serves another "
                "policy now, this result is of both", self._url
            )  # fmt: skip


def new_client() -> str:
    """Return a name that no other client has; a server keeps the episodes of each apart."""
    return secrets.token_hex(16)


def episode_to_message(key: EpisodeKey, step: int, reset: bool, client: str) -> dict[str, Any]:
    """Return the entry of a request that names its episode, for a server of ours alone."""
    return {
        "client": client,
        "task": key.task,
        "episode": key.episode,
        "init_index": key.init_index,
        "seed": key.seed,
        "step": step,
        "reset": reset,
    }


def episode_from_message(entry: object) -> tuple[EpisodeKey, int, bool]:
    """Read the entry of a request that names its episode: key, step, whether it begins.

    Raises:
        WireError: it is malformed.
    """
    if not isinstance(entry, dict) or not isinstance(task := entry.get("task"), str):
        raise WireError("a request whose episode is not described")
    if not isinstance(client := entry.get("client"), str) or not _CLIENT.fullmatch(client):
        raise WireError("a request whose client has no name of 1 to 64 letters and digits")
    init_index = integer(entry.get("init_index"), "an episode's init_index", least=-1)
    episode, seed = (integer(entry.get(n), f"an episode's {n}") for n in ("episode", "seed"))
    step = integer(entry.get("step"), "an episode's step", most=_MOST_STEPS)
    return EpisodeKey(task, episode, init_index, seed, client), step, entry.get("reset") is True


def _names(entry: Mapping[str | bytes, Any], field: str) -> tuple[str, ...]:
    names = entry.get(field)
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise WireError(f"a greeting whose {field} are no list of names")
    return tuple(names)


def integer(value: object, name: str, least: int = 0, most: int = (1 << 64) - 1) -> int:
    """Return a whole number of a message.

    Raises:
        WireError: it is none, or out of bounds.
    """
    if type(value) is not int or not least <= value <= most:
        raise WireError(f"{name} must be a whole number from {least} to {most}")
    return value


def plain(value: Any) -> Any:
    """Return a greeting's content as JSON can hold it, the same for the same content."""
    return json.loads(json.dumps(value, sort_keys=True, default=_to_plain, skipkeys=True))


def _said(content: Mapping[str | bytes, Any]) -> Any:
    return plain({name: value for name, value in content.items() if isinstance(name, str)})


def _to_plain(value: object) -> object:
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else str(value)
