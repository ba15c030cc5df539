"""What a policy is to the harness: observations and instructions in, action chunks out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from common.errors import DlrError

if TYPE_CHECKING:
    from eval_harness.protocols import Protocol

ACTION_DIM = 7
"""Translation (3), rotation (3), gripper (1), each in [-1, 1]; gripper -1 opens, +1 closes."""


class PolicyError(DlrError, RuntimeError):
    """A policy cannot be loaded, or gave no usable actions; its episode is an error, no failure."""


@dataclass(frozen=True)
class Requirements:
    """What a policy needs of the harness."""

    cameras: tuple[str, ...] = ("agentview", "robot0_eye_in_hand")
    """Cameras whose pictures it looks at; none for a policy that works on numbers."""
    state: tuple[str, ...] = ("proprio",)
    """Sets of numbers it looks at, of `simulation.observations.NUMBER_SETS`."""
    chunk: int = 1
    """Actions in each chunk that it returns."""
    batch: int = 64
    """Observations that it takes at a time, at most."""
    stateful: bool = False
    """Whether it looks back, and so must be shown every step of an episode, from 0 on, in order."""
    upright: int = 0
    """Height and width in which it wants pictures drawn, upright and with none of the protocol's
    steps, as a policy of the generator saw them in training; 0 for the protocol's pictures."""


@dataclass(frozen=True)
class EpisodeKey:
    """Names one episode of an evaluation; a policy's randomness depends on no more."""

    task: str
    """Key of the task, such as `libero_spatial/NAME`."""
    episode: int
    """Number of the rollout of that task, from 0."""
    init_index: int
    """Official init state that it starts from, or -1 for another start."""
    seed: int
    """Seed of this episode's own randomness."""
    client: str = ""
    """Who runs it, where a server has several clients that may run the same: what is remembered of
    it is another's, what is drawn is not."""


@dataclass(frozen=True)
class Observation:
    """What a policy sees of one environment at one moment."""

    key: EpisodeKey
    """The episode."""
    step: int
    """Control steps taken since the settle steps."""
    instruction: str
    """The task's language."""
    images: Mapping[str, npt.NDArray[np.uint8]] = field(default_factory=dict)
    """Camera -> picture (H, W, 3), RGB, turned and resized as the protocol says."""
    state: Mapping[str, npt.NDArray[np.float64]] = field(default_factory=dict)
    """Set of numbers -> values; `proprio` is laid out as the protocol says."""


class Policy(ABC):
    """A policy under evaluation. One thread calls it."""

    requirements: Requirements

    @abstractmethod
    def act(self, observations: Sequence[Observation]) -> npt.NDArray[np.floating[Any]]:
        """Return a chunk of actions for each observation. Shape: (n, chunk, 7).

        Which other observations are in the batch must not matter to the answer.

        Raises:
            PolicyError: no actions can be given.
        """

    def run_under(self, protocol: Protocol) -> None:  # noqa: B027
        """Be told under which protocol the episodes from now on are run."""

    def reset(self, keys: Sequence[EpisodeKey]) -> None:  # noqa: B027
        """Forget what is remembered of these episodes; called before the first `act` of each."""

    def end(self, keys: Sequence[EpisodeKey]) -> None:  # noqa: B027
        """Free what is held for these episodes; called after the last `act` of each."""

    def identity(self) -> dict[str, Any]:
        """Return what tells this policy from others, as JSON can hold it: kind, path, hash."""
        return {"kind": type(self).__name__}

    def close(self) -> None:  # noqa: B027
        """Free what is held."""
