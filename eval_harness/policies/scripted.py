"""The generator's scripted skill as a policy: it plays each episode ahead, then replays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from common.errors import DlrError
from eval_harness.perturbations.table import scene_of
from eval_harness.plan import Start, make_item
from eval_harness.policies.replay import CHUNK, RecordedActions
from eval_harness.policy import EpisodeKey, Observation, Policy, PolicyError, Requirements
from eval_harness.protocols import Protocol
from simulation.assets.resolve import AssetPack
from simulation.environment import Environment
from simulation.scene import load_scene
from simulation.tasks import get_task


class ScriptedPolicy(Policy):
    """Demonstrates each episode in an environment of its own and gives the actions found.

    It knows the simulator's state, so it is an oracle: the ceiling of a comparison, and a check
    of the harness. Episode k takes the skill's way k, by turns.

    Args:
        protocol: the protocol under which it is run.
        seed: the evaluation's seed.
        assets: asset pack; by default the first that `resolve_assets` finds.
    """

    requirements = Requirements(cameras=(), state=(), chunk=CHUNK)

    def __init__(self, protocol: Protocol, seed: int = 0, assets: AssetPack | None = None) -> None:
        self._protocol, self._seed, self._assets = protocol, seed, assets
        self._env: Environment | None = None
        self._recordings: dict[EpisodeKey, RecordedActions] = {}

    def run_under(self, protocol: Protocol) -> None:
        """Demonstrate episodes of this protocol from now on."""
        self._protocol, self._env = protocol, None
        self._recordings.clear()

    def reset(self, keys: Sequence[EpisodeKey]) -> None:
        """Forget what was found for these episodes."""
        for key in keys:
            self._recordings.pop(key, None)

    def act(self, observations: Sequence[Observation]) -> npt.NDArray[np.float64]:
        """Return the actions from each observation's step on. Shape: (n, 10, 7).

        Raises:
            PolicyError: there is no skill for a task.
        """
        chunks = []
        for o in observations:
            if o.key not in self._recordings:
                self._recordings[o.key] = self._demonstrate(o.key)
            chunks.append(self._recordings[o.key].chunk(o.step, CHUNK))
        return np.stack(chunks)

    def identity(self) -> dict[str, Any]:
        """Return the kind."""
        return {"kind": "scripted"}

    def _demonstrate(self, key: EpisodeKey) -> RecordedActions:
        from demonstrations.config import Style
        from demonstrations.scripted import Scripted

        task = get_task(key.task)
        try:
            demonstrator = Scripted(task)
        except DlrError as error:
            raise PolicyError(f"no script for {key.task}: {error}") from error
        if self._env is None or self._env.task != task:
            scene = scene_of(load_scene(task, self._assets), self._protocol.perturbations)
            self._env = Environment(task, self._assets, scene)
        make_item(self._protocol, task, key.episode, self._seed).begin(self._env, self._protocol)
        way = demonstrator.ways[key.episode % len(demonstrator.ways)]
        rng = np.random.default_rng(key.seed)
        episode = demonstrator.demonstrate(self._env, way, rng, Style())
        return RecordedActions(Start(), episode.actions)
