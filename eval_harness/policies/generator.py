"""A policy of the generator (discover, learn, reinforce), with its pattern, on simulator state."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from eval_harness.policy import EpisodeKey, Observation, Policy, PolicyError, Requirements

if TYPE_CHECKING:
    from generator.policies.policy import Policy as Network

STATE = "simulator_state"
"""What these policies look at: `Environment.policy_state`."""


class GeneratorPolicy(Policy):
    """Acts by the mean of its motion; the gripper, which hesitates otherwise, is sampled.

    Args:
        network: pi(a|s,z).
        policy_hash: hash of its weights.
        pattern: pattern z of all episodes; by default episode k's is k modulo K.

    Raises:
        PolicyError: the policy has no such pattern.
    """

    requirements = Requirements(cameras=(), state=(STATE,), chunk=1)

    def __init__(self, network: Network, policy_hash: str, pattern: int | None = None) -> None:
        if pattern is not None and not 0 <= pattern < network.patterns:
            raise PolicyError(f"the policy has {network.patterns} patterns, but not {pattern}")
        self._network, self._hash, self._pattern = network, policy_hash, pattern

    @classmethod
    def load(cls, spec: str) -> GeneratorPolicy:
        """Load `PATH` or `PATH#pattern`, of a policy.safetensors.

        Raises:
            PolicyError: the pattern is no number, or there is none such.
            CheckpointError: the file is missing or damaged.
        """
        from generator.checkpoints import load_policy

        path, _, pattern = spec.partition("#")
        if pattern and not pattern.isdecimal():
            raise PolicyError(f"a pattern is a number, as in {path}#0, not {pattern!r}")
        network, metadata = load_policy(Path(path))
        return cls(network, metadata["policy_hash"], int(pattern) if pattern else None)

    def act(self, observations: Sequence[Observation]) -> npt.NDArray[np.float64]:
        """Return an action for each observation. Shape: (n, 1, 7).

        Raises:
            PolicyError: the policy is of a task whose state has other numbers.
        """
        from generator.policies.policy import Exploration

        states = [o.state[STATE] for o in observations]
        size = self._network.architecture().get("observation_dim")
        if wrong := [s for s in states if len(s) != size]:
            raise PolicyError(
                f"the policy sees {size} numbers, but the task has {len(wrong[0])}: it was trained "
                "on another task"
            )
        rngs = [np.random.default_rng([o.key.seed, o.step]) for o in observations]
        noise = [self._network.noise(rng, Exploration(scale=0)) for rng in rngs]
        patterns = np.array([self._pattern_of(o.key) for o in observations])
        actions = self._network.act(np.stack(states), patterns, noise).actions
        return actions[:, None].astype(np.float64)

    def identity(self) -> dict[str, Any]:
        """Return the hash of the weights and the pattern."""
        return {"kind": "generator", "policy_hash": self._hash, "pattern": self._pattern}

    def _pattern_of(self, key: EpisodeKey) -> int:
        if self._pattern is not None:
            return self._pattern
        return key.episode % self._network.patterns if self._network.patterns else -1
