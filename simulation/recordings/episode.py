"""An episode in memory: what it went through, and where it comes from."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from common.errors import TrajectoryError
from simulation.scene import Fixtures

_ACTION, _PROPRIO, _JOINTS = 7, 8, 7


@dataclass(frozen=True)
class EpisodeInfo:
    """Where an episode comes from."""

    seed: int
    """Seed of the reset, which draws fixture poses (and object poses of a fresh start)."""
    init_index: int = -1
    """Official init state, or -1 for a fresh start."""
    pattern: int = -1
    """Pattern that the policy was conditioned on, or -1."""
    way: str = ""
    """Name of the scripted demonstrator's way, or empty."""
    method: str = ""
    """`human`, `scripted` or the recipe's name."""
    policy_hash: str = ""
    """Hash of the policy's weights, or empty."""
    success: bool = True
    """Whether the task's goal held at the end."""
    attempts: int = 1
    """Attempts that a demonstrator made for it, this one included."""


@dataclass(frozen=True)
class Episode:
    """One episode of T control steps."""

    states: np.ndarray
    """Simulator state before each action: time, qpos, qvel; float64 (T, 1 + nq + nv)."""
    actions: np.ndarray
    """In [-1, 1]: translation, rotation, gripper; float64 (T, 7)."""
    proprio: np.ndarray
    """LIBERO's 8-D state before each action, float64 (T, 8)."""
    joints: np.ndarray
    """Arm joint angles before each action, rad, float64 (T, 7)."""
    final_state: np.ndarray
    """Simulator state after the last action, float64 (1 + nq + nv,)."""
    final_proprio: np.ndarray
    """LIBERO's 8-D state after the last action, float64 (8,)."""
    fixtures: Fixtures
    """Poses of the fixtures, which the states do not hold."""
    info: EpisodeInfo
    """Where the episode comes from."""
    intended: np.ndarray | None = None
    """Actions as they were meant, before a disturbance was added, float64 (T, 7); None where they
    were applied as meant."""

    def __len__(self) -> int:
        """Return the number of control steps."""
        return len(self.actions)

    @property
    def rewards(self) -> np.ndarray:
        """1 at the last step of a success, else 0; float64 (T,)."""
        rewards = np.zeros(len(self))
        rewards[-1] = float(self.info.success)
        return rewards

    @property
    def dones(self) -> np.ndarray:
        """1 at the last step, else 0; uint8 (T,)."""
        dones = np.zeros(len(self), np.uint8)
        dones[-1] = 1
        return dones

    @property
    def labels(self) -> np.ndarray:
        """Actions to learn from, float64 (T, 7): as they were meant, from the states reached.

        Of a disturbed demonstrator these hold no noise (DART, Laskey et al. 2017).
        """
        return self.actions if self.intended is None else self.intended

    @property
    def path(self) -> np.ndarray:
        """Proprioceptive states with the final one, float64 (T + 1, 8)."""
        return np.concatenate((self.proprio, self.final_proprio[None]))

    def with_info(self, **changes: Any) -> Episode:
        """Return the episode with some of its provenance replaced."""
        return replace(self, info=replace(self.info, **changes))

    def check(self) -> None:
        """Check that shapes agree and numbers are finite.

        Raises:
            TrajectoryError: they do not, or there is no step.
        """
        steps, size, fixtures = len(self.actions), self.final_state.size, len(self.fixtures.names)
        wanted = {
            "states": (self.states, (steps, size)),
            "actions": (self.actions, (steps, _ACTION)),
            "intended actions": (self.labels, (steps, _ACTION)),
            "proprio": (self.proprio, (steps, _PROPRIO)),
            "joints": (self.joints, (steps, _JOINTS)),
            "final_state": (self.final_state, (size,)),
            "final_proprio": (self.final_proprio, (_PROPRIO,)),
            "fixtures' positions": (self.fixtures.positions, (fixtures, 3)),
            "fixtures' quaternions": (self.fixtures.quaternions, (fixtures, 4)),
        }
        if not steps:
            raise TrajectoryError("the episode has no step")
        for name, (array, shape) in wanted.items():
            if array.shape != shape:
                raise TrajectoryError(f"{name} have shape {array.shape}, not {shape}")
            if not np.isfinite(array).all():
                raise TrajectoryError(f"{name} contain NaN or infinity")
