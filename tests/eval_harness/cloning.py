"""A small picture policy, cloned from demonstrations, and the faults that are planted in it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from eval_harness.conformance.frames import MARGIN, Frame
from eval_harness.policy import Observation, Policy, Requirements

CAMERAS = ("agentview", "robot0_eye_in_hand")
CHUNK = 4
NEEDS = Requirements(cameras=CAMERAS, state=("proprio",), chunk=CHUNK, batch=32)
StateLayout = Callable[[np.ndarray], np.ndarray]


class Network(nn.Module):
    """Convolutions over both pictures; position, state and task beside them."""

    def __init__(self, state: int, tasks: int) -> None:
        super().__init__()
        self.convolutions = nn.Sequential(
            nn.Conv2d(6, 16, 5, 2, 2), nn.ReLU(), nn.Conv2d(16, 32, 3, 2, 1), nn.ReLU(),
            nn.Conv2d(32, 32, 3, 2, 1), nn.ReLU(), nn.Flatten(), nn.LazyLinear(64), nn.ReLU(),
        )  # fmt: skip
        self.head = nn.Sequential(
            nn.Linear(64 + state + tasks, 128), nn.ReLU(), nn.Linear(128, CHUNK * 7)
        )

    def forward(
        self, pictures: torch.Tensor, state: torch.Tensor, task: torch.Tensor
    ) -> torch.Tensor:
        seen = self.convolutions(pictures)
        return self.head(torch.cat((seen, state, task), dim=1)).reshape(-1, CHUNK, 7)


class ClonedPolicy(Policy):
    """Behaviour cloning by least squares."""

    requirements = NEEDS

    def __init__(self, frames: Sequence[Frame], steps: int, layout: StateLayout = np.copy) -> None:
        observations = [frame.looks[0] for frame in frames]
        self._layout = layout
        self._tasks = sorted({o.instruction for o in observations})
        states = np.stack([layout(o.state["proprio"]) for o in observations])
        self._mean, self._deviation = states.mean(axis=0), states.std(axis=0) + 1e-3
        recorded = np.stack([f.actions[MARGIN : MARGIN + CHUNK] for f in frames])
        valid = torch.tensor(np.isfinite(recorded))
        actions = torch.tensor(np.nan_to_num(recorded), dtype=torch.float32)
        torch.manual_seed(0)
        self._network = Network(states.shape[1], len(self._tasks))
        inputs = self._tensors(observations)
        self._network(*(value[:2] for value in inputs))  # gives the lazy layer its size
        optimiser = torch.optim.AdamW(self._network.parameters(), lr=2e-3, weight_decay=1e-2)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 4e-3, total_steps=steps)
        for _ in range(steps):
            rows = torch.randint(len(frames), (64,))
            pictures, *numbers = (value[rows] for value in inputs)
            predicted = self._network(_shaken(pictures), *numbers)
            error = ((predicted - actions[rows]) ** 2)[valid[rows]].mean()
            optimiser.zero_grad()
            error.backward()
            optimiser.step()
            schedule.step()

    def act(self, observations: Sequence[Observation]) -> np.ndarray:
        with torch.no_grad():
            return self._network(*self._tensors(observations)).numpy().astype(np.float64)

    def _tensors(self, observations: Sequence[Observation]) -> tuple[torch.Tensor, ...]:
        pictures = np.stack(
            [np.concatenate([o.images[c] for c in CAMERAS], axis=-1) for o in observations]
        )
        states = np.stack([self._layout(o.state["proprio"]) for o in observations])
        states = (states - self._mean) / self._deviation
        tasks = [[float(o.instruction == t) for t in self._tasks] for o in observations]
        return (
            torch.tensor(pictures, dtype=torch.float32).permute(0, 3, 1, 2) / 255 - 0.5,
            torch.tensor(states, dtype=torch.float32),
            torch.tensor(tasks),
        )


def _shaken(pictures: torch.Tensor) -> torch.Tensor:
    """Shift pictures by up to 2 pixels."""
    padded = functional.pad(pictures, (2, 2, 2, 2), mode="replicate")
    down, right = torch.randint(5, (2,)).tolist()
    height, width = pictures.shape[2:]
    return padded[..., down : down + height, right : right + width]


class Faulty(Policy):
    """A policy with something between it and the harness.

    Args:
        sound: the policy.
        see: what is done to each observation.
        do: what is done to its actions, (n, chunk, 7).
    """

    def __init__(
        self,
        sound: Policy,
        see: Callable[[Observation], Observation] = lambda o: o,
        do: Callable[[np.ndarray], np.ndarray] = lambda a: a,
    ) -> None:
        self.requirements = sound.requirements
        self._sound, self._see, self._do = sound, see, do

    def act(self, observations: Sequence[Observation]) -> np.ndarray:
        return self._do(self._sound.act([self._see(o) for o in observations]))


def with_pictures(
    function: Callable[[np.ndarray], np.ndarray], cameras: Sequence[str] = CAMERAS
) -> Callable[[Observation], Observation]:
    """Return what changes the pictures of some cameras."""
    return lambda o: replace(
        o, images={**o.images, **{c: np.ascontiguousarray(function(o.images[c])) for c in cameras}}
    )


def with_state(function: StateLayout) -> Callable[[Observation], Observation]:
    """Return what changes the state."""
    return lambda o: replace(o, state={**o.state, "proprio": function(o.state["proprio"])})
