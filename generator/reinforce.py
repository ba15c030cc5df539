"""Stage 3, reinforce: PPO on the sparse success reward, z uniform and fixed (Eq. 12).

What the theorem of section 4.5 asks for is measured every iteration: leakage between patterns and
KL to the cloned policy, per pattern.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils import clip_grad_norm_
from tqdm import tqdm

from common.errors import CheckpointError
from common.reproducible import reproducible
from common.scalars import ScalarWriter
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
from generator.batch import Batch, advantages_and_returns, make_batch, normalise_per_pattern
from generator.checkpoints import policy_hash, save_policy
from generator.config import EvaluationConfig, ReinforceConfig
from generator.critic import Critic
from generator.discover import PatternEncoder
from generator.policies.policy import Distribution, Exploration, Policy
from generator.reward import Reward, SparseSuccess
from generator.rollout import (
    Environments,
    Rollout,
    evaluate,
    held_out_specs,
    rollout,
    training_specs,
)
from simulation.starts import EVALUATION_SEED


@dataclass(frozen=True)
class Finetuning:
    """What PPO is run with."""

    config: ReinforceConfig = ReinforceConfig()
    """Settings."""
    evaluation: EvaluationConfig = EvaluationConfig()
    """How held-out success is measured."""
    reward: Reward = field(default_factory=SparseSuccess)
    """What is maximised."""
    horizon: int = 300
    """Control steps after which a training episode is a failure."""
    seed: int = 0
    """Of the critic's initialisation, the episodes and the minibatches."""


def reinforce(
    policy: Policy,
    environments: Environments,
    encoder: PatternEncoder | None,
    settings: Finetuning,
    out_dir: Path,
) -> tuple[Policy, dict[str, Any]]:
    """Fine-tune a cloned policy; continue from `out_dir`'s checkpoint if there is one.

    Every random number of an iteration derives from the seed and the iteration's number, so that
    a killed run ends with the same weights as an undisturbed one.

    Args:
        policy: the cloned policy; it is not changed.
        environments: slots of the task.
        encoder: the frozen q(z|s), to measure leakage; None without patterns.
        settings: what PPO is run with.
        out_dir: receives `policy.safetensors` at the end, and TensorBoard's events.

    Returns:
        the policy with the best held-out success, and a report with every iteration's measures.

    Raises:
        ValueError: the episodes of an iteration cannot be shared evenly by the patterns.
        CheckpointError: the checkpoint in `out_dir` continues another policy.
    """
    config = settings.config
    if config.episodes % max(policy.patterns, 1):
        raise ValueError(
            f"{config.episodes} episodes an iteration cannot be shared by {policy.patterns} "
            "patterns: choose a multiple"
        )
    state = out_dir / "training.safetensors"
    with reproducible():
        learner = _Learner(policy, encoder, settings)
        if state.exists():
            learner.load(state)
        writer = ScalarWriter(out_dir / "tensorboard", learner.iteration)
        with tqdm(total=config.iterations, initial=learner.iteration, disable=None) as bar:
            while not learner.finished:
                measures = learner.iterate(environments)
                learner.save(state)
                for name, value in measures.items():
                    writer.add_scalar(name, value, learner.iteration)
                bar.set_description(f"reinforce {measures['success']:.0%}")
                bar.update()
    report = {"best": learner.best_success, "history": learner.history}
    metadata = {
        "config": asdict(config),
        "seed": settings.seed,
        "initial_policy": policy_hash(policy),
    }
    save_policy(out_dir / "policy.safetensors", learner.best, metadata | report)
    state.unlink(missing_ok=True)
    return learner.best, report


class _Learner:
    """Actor, critic, optimisers and progress of one fine-tuning run."""

    def __init__(
        self, policy: Policy, encoder: PatternEncoder | None, settings: Finetuning
    ) -> None:
        self.encoder, self.settings = encoder, settings
        self.config = config = settings.config
        self.initial_hash = policy_hash(policy)
        self.policy = copy.deepcopy(policy).requires_grad_(True)
        self.policy.explore(config.initial_std)
        self.reference = copy.deepcopy(self.policy).requires_grad_(False)
        self.best = copy.deepcopy(self.policy).requires_grad_(False)
        torch.manual_seed(settings.seed)
        self.critic = Critic(policy.feature_dim, config.critic_hidden, settings.reward.bounds)
        self.actor_optimizer = torch.optim.Adam(self.policy.parameters(), config.learning_rate)
        self.critic_optimizer = torch.optim.Adam(
            self.critic.parameters(), config.critic_learning_rate
        )
        self.learning_rate = config.learning_rate
        self.iteration = 0
        self.history: list[dict[str, float]] = []
        self.best_success: list[float] = []
        self.stale = self.saturated = 0

    @property
    def groups(self) -> int:
        """Number of patterns, at least 1."""
        return max(self.policy.patterns, 1)

    @property
    def finished(self) -> bool:
        """Whether the last iteration was the last one."""
        config = self.config
        return (
            self.iteration >= config.iterations
            or self.saturated >= config.saturated_evaluations
            or self.stale >= config.patience
        )

    def iterate(self, environments: Environments) -> dict[str, float]:
        """Roll out, update, evaluate when due; return the iteration's measures."""
        config = self.config
        if self.iteration == 0:
            self._evaluate(environments)
        first = self.iteration * config.episodes
        specs = training_specs(
            first, config.episodes, self.policy.patterns, config.fresh_share, self.settings.seed
        )
        exploration = Exploration(memory=config.noise_memory)
        episodes = rollout(
            self.policy, environments, specs, self.settings.horizon, exploration=exploration
        )
        measures = {**self._outcome(episodes), **self._update(episodes)}
        self.iteration += 1
        if self.iteration % config.evaluate_every == 0 or self.iteration == config.iterations:
            measures |= self._evaluate(environments)
        self.history.append(measures)
        return measures

    def _evaluate(self, environments: Environments) -> dict[str, float]:
        """Evaluate on held-out initial states; keep the policy if none was better."""
        numbers = range(self.config.evaluation_episodes)
        specs = held_out_specs(
            numbers, EVALUATION_SEED, self.policy.patterns, self.settings.evaluation.fresh_share
        )
        exploration = Exploration(self.settings.evaluation.motion_noise)
        success = evaluate(
            self.policy, environments, specs, self.settings.horizon, exploration=exploration
        )
        rates = success.reshape(-1, self.groups).mean(axis=0).tolist()
        better = (min(rates), sum(rates)) >= (
            min(self.best_success, default=-1),
            sum(self.best_success),
        )
        if better:
            self.best_success = rates
            self.best.load_state_dict(self.policy.state_dict())
        self.stale = 0 if better else self.stale + 1
        solved = min(rates) >= self.config.target_success
        self.saturated = self.saturated + 1 if solved else 0
        return {f"held_out_success/{z}": rate for z, rate in enumerate(rates)}

    def _outcome(self, episodes: Sequence[Rollout]) -> dict[str, float]:
        """Return success, length and leakage (Eq. 13) per pattern."""
        measures = {
            "success": float(np.mean([e.success for e in episodes])),
            "length": float(np.mean([len(e) for e in episodes])),
            "environment_steps": float(sum(len(e) for e in episodes)),
        }
        for z in range(self.groups):
            mine = [e for e in episodes if max(e.spec.pattern, 0) == z]
            succeeded = [e for e in mine if e.success]
            measures[f"success/{z}"] = len(succeeded) / len(mine)
            if self.encoder is not None and succeeded:
                found = [self.encoder.classify_trajectory(e.proprio) for e in succeeded]
                measures[f"leakage/{z}"] = float(np.mean([f != z for f in found]))
        return measures

    def _update(self, episodes: Sequence[Rollout]) -> dict[str, float]:
        """Improve critic and, after its warm-up, actor."""
        config = self.config
        batch = make_batch(self.policy, episodes, self.settings.reward, self.settings.horizon)
        with torch.no_grad():
            old = self.policy.distribution(batch.features, batch.trace)
            reference = self.reference.distribution(batch.features, batch.trace)
            values = self.critic.values(batch.features, batch.time).numpy()
        advantages, returns = advantages_and_returns(
            values, batch.rewards, batch.lengths, config.gamma, config.gae_lambda
        )
        normal = normalise_per_pattern(
            torch.from_numpy(advantages), batch.patterns, config.advantage_floor
        )
        target = torch.from_numpy(returns)
        warm_up = self.iteration < config.critic_warmup
        measures = {
            "explained_variance": float(1 - advantages.var() / max(returns.var(), 1e-8)),
            "learning_rate": self.learning_rate,
            "std": self.policy.std.mean().item(),
        }
        rng = torch.Generator().manual_seed(self.settings.seed * 1_000_003 + self.iteration)
        for _ in range(config.critic_warmup_epochs if warm_up else config.epochs):
            for index in torch.randperm(len(normal), generator=rng).chunk(config.minibatches):
                self._critic_step(batch, target, index)
                if not warm_up:
                    self._actor_step(batch, normal, old, reference, index)
            if not warm_up and float(self._kl_from(old, batch).mean()) > config.maximum_kl:
                break
        return measures | self._update_measures(batch, old, reference)

    def _critic_step(self, batch: Batch, target: Tensor, index: Tensor) -> None:
        loss = self.critic.loss(batch.features[index], batch.time[index], target[index])
        _descend(loss, self.critic_optimizer, self.config.gradient_norm)

    def _actor_step(
        self,
        batch: Batch,
        advantages: Tensor,
        old: Distribution,
        reference: Distribution,
        index: Tensor,
    ) -> None:
        config = self.config
        before, trace = old[index], {name: part[index] for name, part in batch.trace.items()}
        now = self.policy.distribution(batch.features[index], trace)
        with torch.no_grad():
            self._adapt_learning_rate(float(before.kl(now).mean()))
        ratio = torch.exp(now.log_prob(trace) - before.log_prob(trace))
        clipped = ratio.clamp(1 - config.clip, 1 + config.clip)
        surrogate = torch.minimum(ratio * advantages[index], clipped * advantages[index]).mean()
        closeness = now.kl(reference[index]).mean()
        loss = -surrogate + config.initial_kl_coefficient * closeness
        loss = loss - config.entropy_coefficient * now.entropy().mean()
        _descend(loss, self.actor_optimizer, config.gradient_norm)
        self.policy.constrain()

    def _adapt_learning_rate(self, kl: float) -> None:
        """Follow `desired_kl` by rsl_rl's rule."""
        highest = self.config.maximum_learning_rate
        if kl > 2 * self.config.desired_kl:
            self.learning_rate = max(self.learning_rate / 1.5, highest / 100)
        elif 0 < kl < self.config.desired_kl / 2:
            self.learning_rate = min(self.learning_rate * 1.5, highest)
        for group in self.actor_optimizer.param_groups:
            group["lr"] = self.learning_rate

    @torch.no_grad()
    def _kl_from(self, other: Distribution, batch: Batch) -> Tensor:
        return other.kl(self.policy.distribution(batch.features, batch.trace))

    @torch.no_grad()
    def _update_measures(
        self, batch: Batch, old: Distribution, reference: Distribution
    ) -> dict[str, float]:
        now = self.policy.distribution(batch.features, batch.trace)
        ratio = torch.exp(now.log_prob(batch.trace) - old.log_prob(batch.trace))
        to_initial = now.kl(reference)
        measures = {
            "kl": float(old.kl(now).mean()),
            "clip_fraction": float(((ratio - 1).abs() > self.config.clip).float().mean()),
            "entropy": float(now.entropy().mean()),
        }
        for z in range(self.groups):
            measures[f"kl_to_initial/{z}"] = float(to_initial[batch.patterns == z].mean())
        return measures

    def save(self, path: Path) -> None:
        """Write all that `load` needs to continue."""
        tensors = {
            **prefixed("policy", self.policy.state_dict()),
            **prefixed("best", self.best.state_dict()),
            **prefixed("critic", self.critic.state_dict()),
            **optimizer_tensors("actor_optimizer", self.actor_optimizer),
            **optimizer_tensors("critic_optimizer", self.critic_optimizer),
        }
        progress = {name: getattr(self, name) for name in _PROGRESS}
        save_tensors(path, "reinforce_training", tensors, progress)

    def load(self, path: Path) -> None:
        """Continue from `save`."""
        tensors, progress = load_tensors(path, "reinforce_training")
        if progress.get("initial_hash") != self.initial_hash:
            raise CheckpointError(f"{path} continues another cloned policy: delete it")
        for name, module in (("policy", self.policy), ("best", self.best), ("critic", self.critic)):
            load_module(module, select(name, tensors), path)
        with fitting(path):
            load_optimizer("actor_optimizer", self.actor_optimizer, tensors)
            load_optimizer("critic_optimizer", self.critic_optimizer, tensors)
            for name in _PROGRESS:
                setattr(self, name, progress[name])


_PROGRESS = (
    "initial_hash", "iteration", "learning_rate", "history", "best_success", "stale", "saturated",
)  # fmt: skip


def _descend(loss: Tensor, optimizer: torch.optim.Optimizer, gradient_norm: float) -> None:
    optimizer.zero_grad()
    loss.backward()
    clip_grad_norm_([p for g in optimizer.param_groups for p in g["params"]], gradient_norm)
    optimizer.step()
