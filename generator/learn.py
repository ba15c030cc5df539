"""Stage 2, learn: clone labelled demonstrations into pi(a|s,z) by maximum likelihood (Eq. 11)."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm import trange

from common.errors import DemonstrationError
from common.reproducible import reproducible
from common.tensors import (
    fitting,
    load_module,
    load_optimizer,
    load_tensors,
    optimizer_tensors,
    prefixed,
    save_tensors,
    select,
)
from demonstrations.demonstration import Demonstration
from generator.checkpoints import save_policy
from generator.config import LearnConfig
from generator.policies.gaussian import GaussianPolicy


def learn(
    demonstrations: Sequence[Demonstration],
    labels: Sequence[np.ndarray] | None,
    config: LearnConfig,
    patterns: int,
    seed: int,
    out_dir: Path,
) -> tuple[GaussianPolicy, dict[str, Any]]:
    """Train a policy by behaviour cloning; continue from `out_dir`'s checkpoint if there is one.

    Batches and noise of a step derive from the seed and the step's number alone, so that a
    killed run ends with the same weights as an undisturbed one.

    Args:
        demonstrations: what to imitate.
        labels: the pattern of each state, an array (T_i,) per demonstration; None without.
        config: settings.
        patterns: K; 0 without labels.
        seed: of initialisation, split, minibatches and noise.
        out_dir: receives `policy.safetensors` at the end.

    Returns:
        the policy and a report with losses on training and validation trajectories; where too
        few are given to hold any out (`held_out` is 0), both are those of all.

    Raises:
        DemonstrationError: there is nothing to learn from.
    """
    _check(demonstrations)
    with reproducible():
        training, validation = _split(demonstrations, labels, config, seed)
        trainer = _Trainer(training, config, patterns, seed)
        state = out_dir / "training.safetensors"
        if state.exists():
            trainer.load(state)
        for step in trange(
            trainer.step,
            config.steps,
            initial=trainer.step,
            total=config.steps,
            desc="learn",
            disable=None,
        ):
            trainer.train_step(step)
            if (step + 1) % config.checkpoint_every == 0:
                trainer.save(state)
        policy = trainer.result()
        report = {
            "trajectories": len(demonstrations),
            "held_out": _held_out(len(demonstrations), config),
            "states": sum(len(d.actions) for d in demonstrations),
            "training": _losses(policy, training),
            "validation": _losses(policy, validation),
            "std": policy.std.tolist(),
        }
    save_policy(
        out_dir / "policy.safetensors", policy, {"config": asdict(config), "seed": seed, **report}
    )
    state.unlink(missing_ok=True)
    return policy, report


def _check(demonstrations: Sequence[Demonstration]) -> None:
    if not demonstrations:
        raise DemonstrationError("there are no demonstrations to learn from")
    for i, d in enumerate(demonstrations):
        if not len(d.observations) == len(d.proprio) == len(d.actions) > 0:
            raise DemonstrationError(f"demonstration {i}: lengths differ or are zero")
        if not (np.isfinite(d.observations).all() and np.isfinite(d.actions).all()):
            raise DemonstrationError(f"demonstration {i} contains NaN or infinity")


@dataclass(frozen=True)
class _Data:
    observations: Tensor
    patterns: Tensor
    actions: Tensor


def _held_out(trajectories: int, config: LearnConfig) -> int:
    """Return how many trajectories are kept from training."""
    return int(trajectories * config.validation_share)


def _split(
    demonstrations: Sequence[Demonstration],
    labels: Sequence[np.ndarray] | None,
    config: LearnConfig,
    seed: int,
) -> tuple[_Data, _Data]:
    """Return training and validation data, split by trajectory; both all if none is held out."""
    if labels is None:
        labels = [np.zeros(len(d.actions), dtype=np.int64) for d in demonstrations]
    order = np.random.default_rng([seed, 0]).permutation(len(demonstrations))
    held_out = _held_out(len(order), config)
    parts = []
    for part in (order[held_out:], order[:held_out] if held_out else order):
        parts.append(
            _Data(
                _tensor([demonstrations[i].observations for i in part]),
                torch.from_numpy(np.concatenate([labels[i] for i in part]).astype(np.int64)),
                _tensor([demonstrations[i].actions for i in part]),
            )
        )
    return parts[0], parts[1]


def _tensor(arrays: list[np.ndarray]) -> Tensor:
    return torch.from_numpy(np.concatenate(arrays).astype(np.float32))


class _Trainer:
    """Weights, their moving average and the optimiser."""

    def __init__(self, data: _Data, config: LearnConfig, patterns: int, seed: int) -> None:
        self.data, self.config, self.seed, self.step = data, config, seed, 0
        torch.manual_seed(seed)
        self.policy = GaussianPolicy(data.observations.shape[1], patterns, config.hidden)
        self.policy.normalizer.fit(data.observations.numpy())
        self.average = copy.deepcopy(self.policy).requires_grad_(False)
        self.optimizer = torch.optim.AdamW(
            self.policy.parameters(), config.learning_rate, weight_decay=config.weight_decay
        )

    def train_step(self, step: int) -> None:
        """Take gradient step number `step`."""
        config = self.config
        for group in self.optimizer.param_groups:
            group["lr"] = config.learning_rate * 0.5 * (1 + np.cos(np.pi * step / config.steps))
        rng = torch.Generator().manual_seed(self.seed * 1_000_003 + step)
        batch = torch.randint(len(self.data.actions), (config.batch_size,), generator=rng)
        features = self.policy.features(self.data.observations[batch], self.data.patterns[batch])
        noise = torch.randn((config.batch_size, self.policy.observation_dim), generator=rng)
        features[:, : self.policy.observation_dim] += config.observation_noise * noise
        loss = (
            -self.policy.distribution(features)
            .log_prob({"chosen": self.data.actions[batch]})
            .mean()
        )
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        self.policy.constrain()
        self._average(step)
        self.step = step + 1

    @torch.no_grad()
    def _average(self, step: int) -> None:
        decay = min(self.config.ema_decay, (step + 1) / (step + 10))
        average: list[Tensor] = list(self.average.parameters())
        current: list[Tensor] = list(self.policy.parameters())
        torch._foreach_lerp_(average, current, 1 - decay if self.config.ema_decay else 1.0)

    def result(self) -> GaussianPolicy:
        """Return the averaged weights as a policy that can be trained further."""
        return self.average.requires_grad_(True).eval()

    def save(self, path: Path) -> None:
        """Write all that `load` needs to continue."""
        tensors = {
            **prefixed("policy", self.policy.state_dict()),
            **prefixed("average", self.average.state_dict()),
            **optimizer_tensors("optimizer", self.optimizer),
        }
        save_tensors(path, "learn_training", tensors, {"step": self.step})

    def load(self, path: Path) -> None:
        """Continue from `save`."""
        tensors, content = load_tensors(path, "learn_training")
        load_module(self.policy, select("policy", tensors), path)
        load_module(self.average, select("average", tensors), path)
        with fitting(path):
            load_optimizer("optimizer", self.optimizer, tensors)
            self.step = content["step"]


@torch.no_grad()
def _losses(policy: GaussianPolicy, data: _Data) -> dict[str, float]:
    distribution = policy(data.observations, data.patterns)
    mode = distribution.mode()
    return {
        "negative_log_likelihood": float(-distribution.log_prob({"chosen": data.actions}).mean()),
        "motion_error": float((mode - data.actions)[:, :6].abs().mean()),
        "gripper_accuracy": float((mode[:, 6] * data.actions[:, 6] > 0).float().mean()),
    }
