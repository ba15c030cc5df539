"""Messages of vla-eval's WebSocket protocol, and how they name LIBERO's observations.

Every message is a map of type, payload, sequence number and time. Facts: PyPI's vla-eval,
`protocol.messages`, `connection` and `benchmarks.libero`.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from eval_harness.policy import Observation, Requirements
from eval_harness.remote.description import integer
from eval_harness.remote.wire import WireError, numbers, pack, picture, text

PROTOCOL_VERSION = 1
HARNESS_VERSION = "0.8.0"
"""Release of vla-eval whose protocol this is."""
TYPES = ("hello", "observation", "action", "episode_start", "episode_end", "error")
CAMERAS = {"agentview": "agentview", "robot0_eye_in_hand": "wrist"}
STATES = {"proprio": "states"}
ACTION_FORMATS = {
    "position": "delta_xyz",
    "rotation": "axis_angle",
    "gripper": "binary_close_positive",
}
"""Part of LIBERO's action -> vla-eval's name of its convention."""
HELLO = {"harness_version": HARNESS_VERSION, "protocol_version": PROTOCOL_VERSION}
"""What every `hello` says."""


@dataclass(frozen=True)
class Message:
    """A message of the protocol."""

    type: str
    """One of `TYPES`."""
    payload: Mapping[Any, Any]
    """Content."""
    seq: int
    """Number of the request, which its reply repeats."""

    def as_dict(self) -> dict[str, Any]:
        """Return it as the map that is sent."""
        return {
            "type": self.type,
            "payload": dict(self.payload),
            "seq": self.seq,
            "timestamp": time.time(),
        }

    def packed(self) -> bytes:
        """Return it as it is sent."""
        return pack(self.as_dict(), marks="text")

    @classmethod
    def from_dict(cls, message: Mapping[str | bytes, Any]) -> Message:
        """Read a message.

        Raises:
            WireError: it is none of this protocol.
        """
        kind, payload = message.get("type"), message.get("payload")
        if not isinstance(kind, str) or kind not in TYPES:
            raise WireError(f"a message of type {str(kind)[:40]!r}; known are {', '.join(TYPES)}")
        if not isinstance(payload, dict):
            raise WireError("a message whose payload is no map")
        return cls(kind, payload, integer(message.get("seq"), "a message's seq"))


def to_payload(observation: Observation, needs: Requirements) -> dict[str, Any]:
    """Return the observation as vla-eval's LIBERO benchmark would send it."""
    images = {CAMERAS.get(camera, camera): observation.images[camera] for camera in needs.cameras}
    payload: dict[str, Any] = {"images": images, "task_description": observation.instruction}
    return payload | {STATES.get(name, name): observation.state[name] for name in needs.state}


def from_payload(
    payload: Mapping[str | bytes, Any], needs: Requirements
) -> tuple[str, dict[str, npt.NDArray[np.uint8]], dict[str, npt.NDArray[np.float64]]]:
    """Return an observation's instruction, pictures by camera and numbers by set.

    Raises:
        WireError: it lacks something that the policy needs, or holds something else there.
    """
    images, pictures, values = payload.get("images", {}), {}, {}
    if not isinstance(images, dict):
        raise WireError("an observation whose images are no map")
    for camera in needs.cameras:
        name = CAMERAS.get(camera, camera)
        pictures[camera] = picture(images.get(name), f"images[{name}]")
    for state in needs.state:
        name = STATES.get(state, state)
        other = payload.get("state") if state == "proprio" else None
        values[state] = numbers(payload.get(name, other), name)
    return text(payload.get("task_description"), "task_description"), pictures, values


def shortest_rotation(state: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return LIBERO's state with its axis-angle of at most pi, as vla-eval makes it; (8,)."""
    turned, angle = state.copy(), float(np.linalg.norm(state[3:6]))
    if angle > np.pi:
        turned[3:6] *= (angle - 2 * np.pi) / angle
    return turned
