"""Filtered cloning: a clone's own successes are added to the demonstrations, and cloned again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from common.reproducible import reproducible
from common.tensors import load_tensors, save_tensors, select
from demonstrations.demonstration import Demonstration
from generator.checkpoints import GATHERED, policy_hash, save_policy
from generator.config import GeneratorConfig
from generator.discover import PatternEncoder
from generator.learn import learn
from generator.policies.policy import Exploration, Policy
from generator.policies.seeing import SeeingPolicy
from generator.rollout import Environments, Rollout, rollout, training_specs
from simulation.starts import STARTS_PER_TRAINING_SEED

_FIRST = STARTS_PER_TRAINING_SEED // 2
"""First of a training seed's initial states that are used here; PPO starts at 0."""


def filtered_clone(
    policy: Policy,
    environments: Environments,
    demonstrations: Sequence[Demonstration],
    labels: Sequence[np.ndarray] | None,
    encoder: PatternEncoder | None,
    config: GeneratorConfig,
    horizon: int,
    out_dir: Path,
) -> tuple[Policy, dict[str, Any]]:
    """Roll a clone out, keep its successes, and clone these and the demonstrations anew.

    With an encoder, a success counts for a pattern only if it is recognised as that pattern's.
    Waves of episodes are kept in `out_dir` as they end, so a killed run repeats one at most.

    Args:
        policy: the clone.
        environments: slots of the task.
        demonstrations: what it was cloned from, as it observes them.
        labels: the pattern of each state, an array (T_i,) per demonstration; None without.
        encoder: the frozen q(z|s), or None.
        config: settings and seed.
        horizon: control steps of an episode at most.
        out_dir: receives `policy.safetensors` at the end.

    Returns:
        the new policy and a report: the cloning's, and episodes, successes and steps.
    """
    whole, policy = policy, policy.frozen() if isinstance(policy, SeeingPolicy) else policy
    found = _Gathered(out_dir / GATHERED, policy_hash(policy))
    count = config.filtered.episodes * max(policy.patterns, 1)
    specs = training_specs(
        _FIRST * max(policy.patterns, 1), count, policy.patterns, 0.5, config.seed
    )
    exploration = Exploration(config.noise.std, config.noise.memory)
    with reproducible():
        while found.done < count:
            wave = specs[found.done : found.done + config.filtered.wave]
            episodes = rollout(policy, environments, wave, horizon, exploration=exploration)
            found.add([e for e in episodes if _counts(e, encoder)], episodes)
    together = [*demonstrations, *found.demonstrations()]
    both = None if labels is None else [*labels, *found.labels()]
    clone: Policy
    clone, report = learn(together, both, config.learn, policy.patterns, config.seed, out_dir)
    if isinstance(whole, SeeingPolicy):
        clone = whole.with_head(clone)
        save_policy(out_dir / "policy.safetensors", clone, {"config": asdict(config), **report})
    kept = [found.patterns.count(z) for z in (range(policy.patterns) or (-1,))]
    taken = {"episodes": count, "kept": kept, "environment_steps": found.steps}
    return clone, {**report, "gathered": taken}


def _counts(episode: Rollout, encoder: PatternEncoder | None) -> bool:
    if encoder is None or not episode.success:
        return episode.success
    return encoder.classify_trajectory(episode.proprio) == episode.spec.pattern


class _Gathered:
    """Successes so far, on disk after every wave."""

    def __init__(self, path: Path, digest: str) -> None:
        self.path, self._digest = path, digest
        self.done = self.steps = 0
        self.patterns: list[int] = []
        self._arrays: list[dict[str, np.ndarray]] = []
        if path.exists():
            tensors, content = load_tensors(path, "filter_gathered")
            if content["policy"] == digest:
                self.done, self.steps = content["done"], content["steps"]
                self.patterns = content["patterns"]
                self._arrays = [
                    {name: tensor.numpy() for name, tensor in select(str(i), tensors).items()}
                    for i in range(len(self.patterns))
                ]

    def add(self, successes: Sequence[Rollout], wave: Sequence[Rollout]) -> None:
        """Keep a wave's successes."""
        self.done += len(wave)
        self.steps += sum(len(e) for e in wave)
        for e in successes:
            self.patterns.append(e.spec.pattern)
            seen = {"observations": e.observations, "proprio": e.proprio}
            self._arrays.append({**seen, "actions": np.clip(e.actions, -1, 1)})
        tensors = {
            f"{i}.{name}": torch.from_numpy(np.ascontiguousarray(array))
            for i, arrays in enumerate(self._arrays)
            for name, array in arrays.items()
        }
        progress = {
            "policy": self._digest,
            "done": self.done,
            "steps": self.steps,
            "patterns": self.patterns,
        }
        save_tensors(self.path, "filter_gathered", tensors, progress)

    def demonstrations(self) -> list[Demonstration]:
        """Return the successes as demonstrations."""
        return [
            Demonstration(arrays["observations"], arrays["proprio"], arrays["actions"])
            for arrays in self._arrays
        ]

    def labels(self) -> list[np.ndarray]:
        """Return the pattern of each of their states."""
        pairs = zip(self._arrays, self.patterns, strict=True)
        return [np.full(len(arrays["actions"]), z) for arrays, z in pairs]
