"""Stage 3, reinforce: PPO on the sparse success reward, z uniform and fixed (Eq. 12).

What the theorem of section 4.5 asks for is measured every iteration: leakage between patterns and
KL to the cloned policy, per pattern.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits
from torch.nn.utils import clip_grad_norm_
from tqdm import tqdm

from common.errors import CheckpointError
from common.reproducible import reproducible
from common.scalars import scalar_writer
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
from generator.checkpoints import policy_hash, save_policy
from generator.config import ReinforceConfig
from generator.discover import PatternEncoder
from generator.policies.gaussian import MOTION, ActionDistribution, Critic, GaussianPolicy
from generator.rollout import (
    Environments,
    Rollout,
    evaluate,
    held_out_specs,
    rollout,
    training_specs,
)
from simulation.starts import EVALUATION_SEED


def reinforce(
    policy: GaussianPolicy,
    environments: Environments,
    encoder: PatternEncoder | None,
    config: ReinforceConfig,
    horizon: int,
    out_dir: Path,
) -> tuple[GaussianPolicy, dict[str, Any]]:
    """Fine-tune a cloned policy; continue from `out_dir`'s checkpoint if there is one.

    Every random number of an iteration derives from the seed and the iteration's number, so that
    a killed run ends with the same weights as an undisturbed one.

    Args:
        policy: the cloned policy; it is not changed.
        environments: slots of the task.
        encoder: the frozen q(z|s), to measure leakage; None without patterns.
        config: settings.
        horizon: control steps after which a training episode is a failure.
        out_dir: receives `policy.safetensors` at the end, and TensorBoard's events.

    Returns:
        the policy with the best held-out success, and a report with every iteration's measures.

    Raises:
        ValueError: the episodes of an iteration cannot be shared evenly by the patterns.
        CheckpointError: the checkpoint in `out_dir` continues another policy.
    """
    if config.episodes % max(policy.patterns, 1):
        raise ValueError(
            f"{config.episodes} episodes an iteration cannot be shared by {policy.patterns} "
            "patterns: choose a multiple"
        )
    state = out_dir / "training.safetensors"
    with reproducible():
        learner = _Learner(policy, encoder, config, horizon)
        if state.exists():
            learner.load(state)
        writer = scalar_writer(out_dir / "tensorboard", learner.iteration)
        with tqdm(total=config.iterations, initial=learner.iteration, disable=None) as bar:
            while not learner.finished:
                measures = learner.iterate(environments)
                learner.save(state)
                for name, value in measures.items():
                    writer.add_scalar(name, value, learner.iteration)
                bar.set_description(f"reinforce {measures['success']:.0%}")
                bar.update()
        writer.close()
    report = {"best": learner.best_success, "history": learner.history}
    metadata = {"config": asdict(config), "initial_policy": policy_hash(policy), **report}
    save_policy(out_dir / "policy.safetensors", learner.best, metadata)
    state.unlink(missing_ok=True)
    return learner.best, report


@dataclass(frozen=True)
class Batch:
    """All steps of an iteration's episodes, one after the other: n in total."""

    features: Tensor
    """Normalised observation and pattern. Shape: (n, P + K)."""
    patterns: Tensor
    """z, or zeros without patterns. Shape: (n,), int64."""
    actions: Tensor
    """Without the noise carried over from earlier steps, which is no choice. Shape: (n, 7)."""
    time: Tensor
    """Step / horizon. Shape: (n,)."""
    lengths: list[int]
    """Steps of each episode."""
    successes: list[bool]
    """Outcome of each episode."""


def make_batch(policy: GaussianPolicy, episodes: Sequence[Rollout], horizon: int) -> Batch:
    """Put episodes together."""
    patterns = np.concatenate([np.full(len(e), max(e.spec.pattern, 0)) for e in episodes])
    observations = torch.from_numpy(np.concatenate([e.observations for e in episodes]))
    z = torch.from_numpy(patterns)
    time = np.concatenate([np.arange(len(e)) / horizon for e in episodes])
    with torch.no_grad():
        features = policy.features(observations, z)
    return Batch(
        features=features,
        patterns=z,
        actions=torch.from_numpy(np.concatenate([_chosen(e) for e in episodes])),
        time=torch.from_numpy(time.astype(np.float32)),
        lengths=[len(e) for e in episodes],
        successes=[e.success for e in episodes],
    )


def _chosen(episode: Rollout) -> np.ndarray:
    chosen = episode.actions.copy()
    chosen[:, :MOTION] -= episode.carried
    return chosen


def advantages_and_returns(
    values: np.ndarray,
    lengths: Sequence[int],
    successes: Sequence[bool],
    gamma: float,
    gae_lambda: float,
) -> tuple[np.ndarray, np.ndarray]:
    """Return generalised advantages and lambda-returns (n,) of consecutive episodes.

    The reward is 1 at the last step of a success. Every episode's end is terminal: running out of
    time is a failure, which the critic can foresee because it is told the time.

    Args:
        values: V at every step (n,).
        lengths: steps of each episode, summing to n.
        successes: outcome of each episode.
        gamma: discount.
        gae_lambda: lambda.
    """
    advantages = np.zeros_like(values)
    start = 0
    for length, success in zip(lengths, successes, strict=True):
        last, following = 0.0, 0.0
        for t in reversed(range(start, start + length)):
            reward = float(success and t == start + length - 1)
            delta = reward + gamma * following - values[t]
            last = delta + gamma * gae_lambda * last
            advantages[t], following = last, values[t]
        start += length
    return advantages, advantages + values


def normalise_per_pattern(advantages: Tensor, patterns: Tensor, floor: float) -> Tensor:
    """Standardise advantages within each pattern, so that none drowns another. Shape: (n,)."""
    normal = torch.zeros_like(advantages)
    for z in patterns.unique():
        chosen = patterns == z
        part = advantages[chosen]
        normal[chosen] = (part - part.mean()) / part.std(unbiased=False).clamp_min(floor)
    return normal


class _Learner:
    """Actor, critic, optimisers and progress of one fine-tuning run."""

    def __init__(
        self,
        policy: GaussianPolicy,
        encoder: PatternEncoder | None,
        config: ReinforceConfig,
        horizon: int,
    ) -> None:
        self.config, self.encoder, self.horizon = config, encoder, horizon
        self.initial_hash = policy_hash(policy)
        self.policy = copy.deepcopy(policy).requires_grad_(True)
        self.policy.set_std(config.initial_std)
        self.reference = copy.deepcopy(self.policy).requires_grad_(False)
        self.best = copy.deepcopy(self.policy).requires_grad_(False)
        torch.manual_seed(config.seed)
        self.critic = Critic(policy.observation_dim + policy.patterns, policy.hidden)
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
        specs = training_specs(first, config.episodes, self.policy.patterns, config.fresh_share)
        episodes = rollout(
            self.policy, environments, specs, self.horizon, noise_memory=config.noise_memory
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
            numbers, EVALUATION_SEED, self.policy.patterns, self.config.fresh_share
        )
        success = evaluate(
            self.policy,
            environments,
            specs,
            self.horizon,
            motion_noise=self.config.evaluation_noise,
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
        batch = make_batch(self.policy, episodes, self.horizon)
        with torch.no_grad():
            old = self.policy.distribution(batch.features)
            reference = self.reference.distribution(batch.features)
            values = torch.sigmoid(self.critic(batch.features, batch.time)).numpy()
        advantages, returns = advantages_and_returns(
            values, batch.lengths, batch.successes, config.gamma, config.gae_lambda
        )
        normal = normalise_per_pattern(
            torch.from_numpy(advantages), batch.patterns, config.advantage_floor
        )
        target = torch.from_numpy(returns)
        warm_up = self.iteration < config.critic_warmup
        measures = {
            "explained_variance": float(1 - advantages.var() / max(returns.var(), 1e-8)),
            "learning_rate": self.learning_rate,
            "std": self.policy.log_std.exp().mean().item(),
        }
        rng = torch.Generator().manual_seed(config.seed * 1_000_003 + self.iteration)
        for _ in range(config.critic_warmup_epochs if warm_up else config.epochs):
            for index in torch.randperm(len(normal), generator=rng).chunk(config.minibatches):
                self._critic_step(batch, target, index)
                if not warm_up:
                    self._actor_step(batch, normal, old, reference, index)
            if not warm_up and float(self._kl_from(old, batch).mean()) > config.maximum_kl:
                break
        return measures | self._update_measures(batch, old, reference)

    def _critic_step(self, batch: Batch, target: Tensor, index: Tensor) -> None:
        logits = self.critic(batch.features[index], batch.time[index])
        loss = binary_cross_entropy_with_logits(logits, target[index].clamp(0, 1))
        _descend(loss, self.critic_optimizer, self.config.gradient_norm)

    def _actor_step(
        self,
        batch: Batch,
        advantages: Tensor,
        old: ActionDistribution,
        reference: ActionDistribution,
        index: Tensor,
    ) -> None:
        config = self.config
        before = _take(old, index)
        now = self.policy.distribution(batch.features[index])
        with torch.no_grad():
            self._adapt_learning_rate(float(before.kl(now).mean()))
        actions = batch.actions[index]
        ratio = torch.exp(now.log_prob(actions) - before.log_prob(actions))
        clipped = ratio.clamp(1 - config.clip, 1 + config.clip)
        surrogate = torch.minimum(ratio * advantages[index], clipped * advantages[index]).mean()
        closeness = now.kl(_take(reference, index)).mean()
        loss = -surrogate + config.initial_kl_coefficient * closeness
        loss = loss - config.entropy_coefficient * now.entropy().mean()
        _descend(loss, self.actor_optimizer, config.gradient_norm)
        self.policy.bound_std()

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
    def _kl_from(self, other: ActionDistribution, batch: Batch) -> Tensor:
        return other.kl(self.policy.distribution(batch.features))

    @torch.no_grad()
    def _update_measures(
        self, batch: Batch, old: ActionDistribution, reference: ActionDistribution
    ) -> dict[str, float]:
        now = self.policy.distribution(batch.features)
        ratio = torch.exp(now.log_prob(batch.actions) - old.log_prob(batch.actions))
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


def _take(distribution: ActionDistribution, index: Tensor) -> ActionDistribution:
    return ActionDistribution(
        distribution.mean[index], distribution.log_std, distribution.logit[index]
    )


def _descend(loss: Tensor, optimizer: torch.optim.Optimizer, gradient_norm: float) -> None:
    optimizer.zero_grad()
    loss.backward()
    clip_grad_norm_([p for g in optimizer.param_groups for p in g["params"]], gradient_norm)
    optimizer.step()


def total_environment_steps(history: Sequence[Mapping[str, float]]) -> int:
    """Return the environment steps of training rollouts."""
    return int(sum(measures["environment_steps"] for measures in history))
