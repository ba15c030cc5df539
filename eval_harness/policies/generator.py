"""A policy of the generator (discover, learn, reinforce), with its pattern, on what it observes."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from eval_harness.policy import EpisodeKey, Observation, Policy, PolicyError, Requirements

if TYPE_CHECKING:
    from generator.policies.policy import Noise
    from generator.policies.policy import Policy as Network

STATE = "simulator_state"
"""What policies look at that see no pictures: `Environment.policy_state`."""
PROPRIO = "simulator_proprio"
"""What others look at beside pictures: `Environment.proprio`."""


class GeneratorPolicy(Policy):
    """Acts with the noise of the evaluation that `dlr train` reports.

    An episode's noise is drawn from its seed and pattern as a rollout's is, one draw a step. The
    gripper, which hesitates otherwise, is always sampled from the policy.

    Args:
        network: pi(a|s,z).
        policy_hash: hash of its weights.
        pattern: pattern z of all episodes; by default episode k's is k modulo K.
        noise: std of the motion's noise; 0 acts by the mean. By default the reported one.

    Raises:
        PolicyError: the policy has no such pattern.
    """

    def __init__(
        self,
        network: Network,
        policy_hash: str,
        pattern: int | None = None,
        noise: float | None = None,
    ) -> None:
        from generator.config import NoiseConfig
        from generator.policies.policy import Exploration

        if pattern is not None and not 0 <= pattern < network.patterns:
            raise PolicyError(f"the policy has {network.patterns} patterns, but not {pattern}")
        self._network, self._hash, self._pattern = network, policy_hash, pattern
        self.requirements = _requirements(network)
        usual = NoiseConfig()
        self._exploration = Exploration(usual.std if noise is None else noise, usual.memory)
        self._streams: dict[EpisodeKey, tuple[int, Noise]] = {}

    @classmethod
    def load(cls, spec: str) -> GeneratorPolicy:
        """Load `PATH`, `PATH#pattern`, `PATH#noise=x` or `PATH#pattern,noise=x`.

        PATH is a checkpoint, a stage's folder, or a finished recipe's: its last stage's then.

        Raises:
            PolicyError: pattern or noise is no number, or there is no such pattern.
            CheckpointError: the file is missing or damaged.
        """
        from generator.checkpoints import load_policy
        from generator.recipes import find_policy

        path, _, options = spec.partition("#")
        pattern, noise = _options(path, options)
        network, metadata = load_policy(find_policy(Path(path)))
        return cls(network, metadata["policy_hash"], pattern, noise)

    def act(self, observations: Sequence[Observation]) -> npt.NDArray[np.float64]:
        """Return an action for each observation. Shape: (n, 1, 7).

        Raises:
            PolicyError: the policy is of a task whose state has other numbers, or sees pictures
                of another size.
        """
        seen = self._seen(observations)
        noise = [self._noise(o.key, o.step) for o in observations]
        patterns = np.array([self._pattern_of(o.key) for o in observations])
        actions = self._network.act(seen, patterns, noise).actions
        return actions[:, None].astype(np.float64)

    def _seen(self, observations: Sequence[Observation]) -> npt.NDArray[Any]:
        """Return what the network observes. Shape: (n, ...)."""
        from generator.policies.seeing import SeeingPolicy

        if isinstance(network := self._network, SeeingPolicy):
            wanted = (network.size, network.size, 3)
            drawn = [[o.images[camera] for camera in network.cameras] for o in observations]
            if wrong := [p.shape for pictures in drawn for p in pictures if p.shape != wanted]:
                raise PolicyError(f"the policy sees pictures of {wanted}, not of {wrong[0]}")
            proprio = np.stack([o.state[PROPRIO] for o in observations])
            return network.observe(np.stack([np.stack(pictures) for pictures in drawn]), proprio)
        states = [o.state[STATE] for o in observations]
        size = network.architecture().get("observation_dim")
        if wrong := [s.shape for s in states if len(s) != size]:
            raise PolicyError(
                f"the policy sees {size} numbers, but the task has {wrong[0][0]}: it was trained "
                "on another task, or by an earlier version"
            )
        return np.stack(states)

    def reset(self, keys: Sequence[EpisodeKey]) -> None:
        """Draw these episodes' noise from its beginning."""
        self.end(keys)

    def end(self, keys: Sequence[EpisodeKey]) -> None:
        """Forget how far these episodes' noise was drawn."""
        for key in keys:
            self._streams.pop(key, None)

    def _noise(self, key: EpisodeKey, step: int) -> Noise:
        """Return the noise as it is at a step, whichever steps were asked for before."""
        from generator.rollout import EpisodeSpec

        drawn, noise = self._streams.get(key, (0, None))
        if noise is None or drawn > step:
            rng = EpisodeSpec(key.seed, None, self._pattern_of(key)).noise()
            drawn, noise = 0, self._network.noise(rng, self._exploration)
        noise.skip(step - drawn)
        self._streams[key] = (step + 1, noise)
        return noise

    def identity(self) -> dict[str, Any]:
        """Return the hash of the weights, the pattern and the noise's std."""
        return {
            "kind": "generator",
            "policy_hash": self._hash,
            "pattern": self._pattern,
            "noise": self._exploration.std,
        }

    def _pattern_of(self, key: EpisodeKey) -> int:
        if self._pattern is not None:
            return self._pattern
        return key.episode % self._network.patterns if self._network.patterns else -1


def _requirements(network: Network) -> Requirements:
    from generator.policies.seeing import SeeingPolicy

    if isinstance(network, SeeingPolicy):
        return Requirements(network.cameras, (PROPRIO,), chunk=1, upright=network.size)
    return Requirements(cameras=(), state=(STATE,), chunk=1)


def _options(path: str, text: str) -> tuple[int | None, float | None]:
    """Return pattern and noise of `pattern,noise=x`, either of which may be left out."""
    pattern = noise = None
    for option in filter(None, text.split(",")):
        name, named, value = option.rpartition("=")
        if named and name != "noise":
            raise PolicyError(f"{name} is no option of a generator's policy; noise is")
        if not named and not value.isdecimal():
            raise PolicyError(f"a pattern is a number, as in {path}#0, not {value!r}")
        if not named:
            pattern = int(value)
        elif re.fullmatch(r"[0-9]*[.]?[0-9]+", value):
            noise = float(value)
        else:
            raise PolicyError(f"noise is a number from 0 on, as in {path}#noise=0, not {value!r}")
    return pattern, noise
