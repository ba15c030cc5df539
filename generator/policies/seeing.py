"""A policy that looks through cameras: an encoder in front of any policy that sees numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import one_hot

from generator.networks import Normalizer
from generator.pixels.encoder import Device, Encoder, choose_device
from generator.pixels.rows import PROPRIO, pack, unpack
from generator.policies.policy import Decision, Distribution, Exploration, Noise, Policy


class SeeingPolicy(Policy):
    """pi(a|pictures, proprioception, z): an encoder and a head, which is a policy of its own.

    What it observes, and keeps of every step, are the encoder's numbers and proprioception while
    the encoder is frozen: each picture is encoded once. Where the encoder is trained they are the
    pictures themselves, as bytes (`generator.pixels.rows`).

    Args:
        cameras: names of the cameras.
        encoder: the encoder's arguments.
        head: kind and architecture of the policy on numbers.
        state_dim: size of the simulator's state, which the critic of fine-tuning sees.
        trains: whether the encoder is trained too.
    """

    observes = "pixels"

    def __init__(
        self,
        cameras: Sequence[str],
        encoder: Mapping[str, Any],
        head: Mapping[str, Any],
        state_dim: int,
        trains: bool = False,
    ) -> None:
        from generator.policies import POLICIES

        super().__init__()
        self.cameras, self.trains, self.state_dim = tuple(cameras), trains, state_dim
        self.encoder = Encoder(**encoder)
        self.head = POLICIES[head["kind"]](**head["architecture"])
        self.states = Normalizer(state_dim)
        """Of the simulator's state, for the critic alone."""
        self.patterns, self.feature_dim = self.head.patterns, self.head.feature_dim
        if trains:
            self.feature_dim = len(self.cameras) * self.size**2 * 3 + 4 * PROPRIO + 1

    @classmethod
    def around(
        cls,
        head: Policy,
        encoder: Encoder,
        cameras: Sequence[str],
        states: np.ndarray,
        trains: bool,
    ) -> Self:
        """Return a policy of a head and an encoder that are there.

        Args:
            head: sees the encoder's numbers and proprioception.
            encoder: the encoder.
            cameras: names of the cameras.
            states: of the simulator (n, P), to normalise them for the critic.
            trains: whether the encoder is to be trained with the head.
        """
        policy = cls(cameras, encoder.arguments, describe(head), states.shape[1], trains)
        policy.encoder.load_state_dict(encoder.state_dict())
        policy.head.load_state_dict(head.state_dict())
        policy.states.fit(states)
        return policy.eval()

    def with_head(self, head: Policy) -> Self:
        """Return the same with another head."""
        return self._remade(head, self.trains)

    def frozen(self) -> Self:
        """Return the same with an encoder that is not trained."""
        return self._remade(self.head, False)

    def _remade(self, head: Policy, trains: bool) -> Self:
        policy = type(self)(
            self.cameras, self.encoder.arguments, describe(head), self.state_dim, trains
        )
        policy.encoder.load_state_dict(self.encoder.state_dict())
        policy.states.load_state_dict(self.states.state_dict())
        policy.head.load_state_dict(head.state_dict())
        return policy.to_device(self.encoder.device).eval()

    def to_device(self, device: torch.device) -> Self:
        """Move the encoder; all else is small, and stays on the CPU."""
        self.encoder.to(device)
        return self

    def architecture(self) -> dict[str, Any]:
        """Return the constructor's arguments, as JSON can hold them."""
        return {
            "cameras": list(self.cameras),
            "encoder": self.encoder.arguments,
            "head": describe(self.head),
            "state_dim": self.state_dim,
            "trains": self.trains,
        }

    @property
    def size(self) -> int:
        """Height and width of the pictures, pixels."""
        return self.encoder.size

    @property
    def critic_dim(self) -> int:
        """Size of what the critic sees."""
        return self.state_dim + self.patterns

    def critic_features(self, states: Tensor, pattern: Tensor) -> Tensor:
        """Return normalised states of the simulator (n, P) and the pattern: (n, P + K)."""
        normal = self.states(states)
        if not self.patterns:
            return normal
        return torch.cat([normal, one_hot(pattern, self.patterns).float()], dim=-1)

    def requires_grad_(self, requires_grad: bool = True) -> Self:
        """Let the head be trained, and the encoder where that is asked for."""
        self.head.requires_grad_(requires_grad)
        self.encoder.requires_grad_(requires_grad and self.trains)
        return self

    def observe(self, pictures: np.ndarray, proprio: np.ndarray) -> np.ndarray:
        """Return what the policy observes: rows of numbers, or of bytes where it trains.

        Args:
            pictures: (n, cameras, H, W, 3) uint8, upright.
            proprio: (n, 8).
        """
        if self.trains:
            return pack(pictures, proprio)
        numbers = self.encoder.encode(pictures)
        return np.concatenate([numbers, proprio.astype(np.float32)], axis=1)

    def noise(self, rng: np.random.Generator, exploration: Exploration) -> Noise:
        """Return one episode's noise: the head's."""
        return self.head.noise(rng, exploration)

    def act(self, observations: np.ndarray, pattern: np.ndarray, noise: Sequence[Any]) -> Decision:
        """Decide for n episodes from rows of `observe`."""
        if self.trains:
            pictures, proprio = unpack(torch.from_numpy(observations), len(self.cameras), self.size)
            numbers = self.encoder.encode(pictures.numpy())
            observations = np.concatenate([numbers, proprio.numpy()], axis=1)
        return self.head.act(observations, pattern, noise)

    def features(self, observations: Tensor, pattern: Tensor) -> Tensor:
        """Return the head's features; where the encoder trains, rows of bytes that end with z."""
        if not self.trains:
            return self.head.features(observations, pattern)
        return torch.cat([observations, pattern[:, None].to(torch.uint8)], dim=1)

    def distribution(self, features: Tensor, trace: Mapping[str, Tensor]) -> Distribution:
        """Return the distribution of recorded decisions under the present weights."""
        if self.trains:
            pictures, proprio = unpack(features[:, :-1], len(self.cameras), self.size)
            numbers = torch.cat([self.encoder(pictures), proprio], dim=1)
            features = self.head.features(numbers, features[:, -1].long())
        return self.head.distribution(features, trace)

    def explore(self, std: float) -> None:
        """Fix the standard deviation that motion is scored with."""
        self.head.explore(std)

    @property
    def std(self) -> Tensor:
        """Standard deviation of the motion actions. Shape: (6,)."""
        return self.head.std

    def constrain(self) -> None:
        """Put parameters back within their bounds, after an optimiser's step."""
        self.head.constrain()


def place[Result](result: Result, device: Device) -> Result:
    """Move the encoder of a policy that has one to where it computes; return what was given.

    Raises:
        SettingError: there is no such device here.
    """
    if isinstance(result, SeeingPolicy):
        result.to_device(choose_device(device))
    return result


def describe(head: Policy) -> dict[str, Any]:
    """Return a policy's kind and architecture, as JSON can hold them."""
    from generator.policies import POLICIES

    kind = next(kind for kind, cls in POLICIES.items() if type(head) is cls)
    return {"kind": kind, "architecture": head.architecture()}
