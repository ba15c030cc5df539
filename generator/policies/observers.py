"""How what a policy observes is had from environments, by its name, and what computing took."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from common.errors import CheckpointError
from generator.policies.policy import Policy
from generator.policies.seeing import SeeingPolicy

if TYPE_CHECKING:
    from generator.rollout import Environments


class Painters(Protocol):
    """What pictures need of `simulation.pictures.pool.PicturePool`."""

    @property
    def digest(self) -> str:
        """What pictures differ by, beside states."""

    def draw(
        self, scenes: Sequence[tuple[np.ndarray, Any]], cameras: Sequence[str], size: int
    ) -> np.ndarray:
        """Return upright pictures of states, uint8 (n, cameras, size, size, 3)."""


@dataclass
class Cost:
    """What computing took, in CPU seconds of this process."""

    simulation: float = 0.0
    """Resets and steps."""
    policy: float = 0.0
    """Observations and actions."""
    update: float = 0.0
    """Learning."""
    rendering: float = 0.0
    """Pictures."""

    def add(self, part: str, since: float) -> float:
        """Count the time from `since` to now towards a part; return now."""
        now = time.process_time()
        setattr(self, part, getattr(self, part) + now - since)
        return now


def see_state(
    policy: Policy, environments: Environments, slots: list[int], cost: Cost
) -> np.ndarray:
    """Return the simulator's states (n, P), float32."""
    since = time.process_time()
    states = np.asarray(environments.policy_state(slots), dtype=np.float32)
    cost.add("policy", since)
    return states


def see_own_state(
    policy: Policy, environments: Environments, slots: list[int], cost: Cost
) -> np.ndarray:
    """Return the simulator's states (n, P), float32, for a policy that acts on them.

    Raises:
        CheckpointError: it was trained on states of another size.
    """
    states = see_state(policy, environments, slots, cost)
    size = policy.architecture()["observation_dim"]
    if states.shape[1] != size:
        raise CheckpointError(
            f"the policy sees {size} numbers, but the task has {states.shape[1]}: it is of another "
            "task or of an earlier version; delete its folder and train it again"
        )
    return states


def see_pixels(
    policy: Policy, environments: Environments, slots: list[int], cost: Cost
) -> np.ndarray:
    """Draw each slot once, and return what a policy with an encoder makes of it."""
    assert isinstance(policy, SeeingPolicy)
    since = time.process_time()
    envs = [environments.envs[slot] for slot in slots]
    scenes = [(env.state(), env.fixtures()) for env in envs]
    pictures = environments.painters.draw(scenes, policy.cameras, policy.size)
    since = cost.add("rendering", since)
    seen = policy.observe(pictures, environments.proprio(slots))
    cost.add("policy", since)
    return seen


OBSERVERS: dict[str, Callable[[Policy, Environments, list[int], Cost], np.ndarray]] = {
    "state": see_own_state,
    "pixels": see_pixels,
}
"""What a policy observes -> how it is had. Returns: (n, ...)."""
