"""What `dlr serve` says of its policy in its greeting, and a client of ours reads there."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from eval_harness.policy import EpisodeKey, Policy, Requirements
from eval_harness.remote.wire import WireError

KEY = "dlr"
"""Entry of a greeting or a request that the published protocols do not have."""
_MOST = 1 << 20
_LARGEST = 480
"""Largest pictures that are drawn for a policy, pixels."""


@dataclass(frozen=True)
class Description:
    """A served policy."""

    requirements: Requirements
    """What it needs."""
    identity: Mapping[str, Any]
    """What tells it from others."""

    @classmethod
    def of(cls, policy: Policy) -> Description:
        """Describe a policy."""
        return cls(policy.requirements, plain(policy.identity()))

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
        return cls(needs, plain(identity))


def episode_to_message(key: EpisodeKey, step: int, reset: bool) -> dict[str, Any]:
    """Return the entry of a request that names its episode, for a server of ours alone."""
    return {
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
    init_index = integer(entry.get("init_index"), "an episode's init_index", least=-1)
    names = ("episode", "seed", "step")
    episode, seed, step = (integer(entry.get(n), f"an episode's {n}") for n in names)
    return EpisodeKey(task, episode, init_index, seed), step, entry.get("reset") is True


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


def _to_plain(value: object) -> object:
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else str(value)
