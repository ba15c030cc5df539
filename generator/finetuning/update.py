"""One update of PPO: critic and actor on an iteration's batch, within a trust region."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_

from generator.arithmetic import exp
from generator.config import Annealing, ReinforceConfig
from generator.finetuning.batch import (
    Batch,
    advantages_and_returns,
    normalise_per_pattern,
    sums,
)
from generator.finetuning.critic import Critic
from generator.finetuning.replay import Pool, Replay
from generator.policies.policy import Distribution, Policy

_LONGEST = 1.5
"""Times `desired_kl`, from which on an update is cut back."""


@dataclass
class Update:
    """Actor, critic and their optimisers.

    The KL of an update is measured over all decisions of the batch after each pass. Passes end
    once it reaches `desired_kl`, and a step that went beyond is cut back along its line: so every
    update stays in the region that the batch can speak for.
    """

    config: ReinforceConfig
    """Settings."""
    policy: Policy
    """The actor, with the fixed std that it acts with."""
    reference: Policy
    """What it started from."""
    critic: Critic
    annealing: Annealing = "kl"
    """How the actor's step size goes."""
    denoising_gamma: float = 1.0
    """Discount from a decision's step to the one before it."""

    def __post_init__(self) -> None:
        """Make the optimisers."""
        config = self.config
        self.learning_rate = config.learning_rate
        self.parameters = [p for p in self.policy.parameters() if p.requires_grad]
        self.actor_optimizer = torch.optim.Adam(self.parameters, config.learning_rate, fused=True)
        self.critic_optimizer = torch.optim.AdamW(
            self.critic.parameters(), config.critic_learning_rate, fused=True
        )
        self.warm = Pool(2 * config.critic_warmup)

    def warm_up(self, batch: Batch, rewards: np.ndarray, rng: torch.Generator) -> dict[str, float]:
        """Fit the critic alone to Monte-Carlo returns of the warm-up so far.

        The policy is the same all along, so that all of its episodes serve: there is no warm-up
        once the actor was improved.

        Returns:
            measures of before, on episodes that the critic has not seen.
        """
        config = self.config
        values, returns = self._seen(batch, rewards)
        target = torch.from_numpy(returns)
        self.warm.add({"features": batch.seen_by_critic, "time": batch.time, "target": target})
        rows = self.warm.together()
        size = max(len(target) // config.minibatches, 1)
        for _ in range(config.critic_warmup_epochs):
            for index in torch.randperm(len(rows["target"]), generator=rng).split(size):
                self._critic_step(*(rows[n][index] for n in ("features", "time", "target")))
        return {**_explained(values, returns), **self._closeness(batch), "warm_up": 1.0}

    def improve(
        self,
        batch: Batch,
        rewards: np.ndarray,
        replay: Replay,
        rng: torch.Generator,
        progress: float = 0.0,
    ) -> dict[str, float]:
        """Improve critic and actor, `progress` of the budget having been used; return measures."""
        config = self.config
        self.warm.clear()
        values, returns = self._seen(batch, rewards)
        measures = {**_explained(values, returns), **self._closeness(batch), "warm_up": 0.0}
        advantages, targets = advantages_and_returns(
            values, rewards, batch.lengths, config.gamma, config.gae_lambda, batch.decided.numpy()
        )
        normal, decided = torch.zeros(len(values)), batch.decided.nonzero()[:, 0]
        normal[decided] = normalise_per_pattern(
            torch.from_numpy(advantages)[decided], batch.patterns[decided], config.advantage_floor
        )
        target, old = torch.from_numpy(targets), _detached(self.policy, batch)
        reference = _detached(self.reference, batch)
        before = [p.detach().clone() for p in self.parameters]
        rate = self._rate(progress)
        for group in self.actor_optimizer.param_groups:
            group["lr"] = rate
        passes, kl = 0, 0.0
        for _ in range(config.epochs):
            for index in torch.randperm(len(normal), generator=rng).chunk(config.minibatches):
                self._critic_step(batch.seen_by_critic[index], batch.time[index], target[index])
                index = index[batch.decided[index]]
                if kl < config.desired_kl and len(index):
                    again = replay.sample(len(index), rng) if config.replay else None
                    self._actor_step(batch, normal, old, reference, index, again)
            if kl < config.desired_kl:
                passes, kl = passes + 1, _mean_kl(old, _detached(self.policy, batch), batch)
        if kl > _LONGEST * config.desired_kl:
            self._cut_back(before, math.sqrt(config.desired_kl / kl))
        measures |= {"passes": float(passes), "learning_rate": rate}
        if self.annealing == "kl":
            self._adapt_learning_rate(passes, kl)
        return measures | self._measures(batch, old)

    def _seen(self, batch: Batch, rewards: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the critic's values and the discounted returns of a new batch. Shapes: (n,)."""
        nothing = np.zeros_like(rewards)
        args = rewards, batch.lengths, self.config.gamma, 1.0
        self.critic.adapt(torch.from_numpy(advantages_and_returns(nothing, *args)[1]))
        values = self.critic.values(batch.seen_by_critic, batch.time).detach().numpy()
        return values, advantages_and_returns(values, *args)[1]

    def _critic_step(self, features: Tensor, time: Tensor, target: Tensor) -> None:
        loss = self.critic.loss(features, time, target)
        _descend(loss, self.critic_optimizer, self.config.gradient_norm)

    def _actor_step(
        self,
        batch: Batch,
        advantages: Tensor,
        old: Distribution,
        reference: Distribution,
        index: Tensor,
        again: tuple[Tensor, dict[str, Tensor]] | None,
    ) -> None:
        """Take one step of a minibatch.

        The ratio scores the fresh noise alone, so that with a memory of the noise the step is a
        filtered policy gradient; without memory it is exact.
        """
        config = self.config
        before, trace = old[index], {name: part[index] for name, part in batch.trace.items()}
        now = self.policy.distribution(batch.features[index], trace)
        ratio = exp(now.log_probs(trace) - before.log_probs(trace))
        surrogate = self._surrogate(ratio, advantages[index])
        loss = config.initial_kl_coefficient * now.kl(reference[index]).mean() - surrogate
        if again is not None:
            features, chosen = again
            likelihood = self.policy.distribution(features, chosen).log_prob(chosen).mean()
            loss = loss - config.replay * likelihood
        _descend(loss, self.actor_optimizer, config.gradient_norm)

    def _surrogate(self, ratio: Tensor, advantages: Tensor) -> Tensor:
        """Return PPO's clipped objective of ratios (n, m) and advantages (n,).

        Each of a decision's m steps has a ratio of its own and the decision's advantage, less for
        steps that are further from its end.
        """
        distance = torch.arange(ratio.shape[1] - 1, -1, -1)
        gain = advantages[:, None] * self.denoising_gamma**distance
        clipped = ratio.clamp(1 - self.config.clip, 1 + self.config.clip)
        return torch.minimum(ratio * gain, clipped * gain).mean()

    def _rate(self, progress: float) -> float:
        """Return the actor's step size after a share of the budget."""
        if self.annealing != "cosine":
            return self.learning_rate
        return self.learning_rate * 0.5 * (1 + math.cos(math.pi * min(progress, 1.0)))

    def _adapt_learning_rate(self, passes: int, kl: float) -> None:
        """Aim at reaching `desired_kl` in half of the passes: a few steps' direction is noisy."""
        config = self.config
        if kl >= config.desired_kl and passes < config.epochs / 2:
            self.learning_rate /= 1.5
        elif kl < config.desired_kl / 2:
            self.learning_rate = min(self.learning_rate * 1.5, config.maximum_learning_rate)

    @torch.no_grad()
    def _cut_back(self, before: Sequence[Tensor], share: float) -> None:
        """Go a share of the way from the weights before; KL falls by its square."""
        for parameter, start in zip(self.parameters, before, strict=True):
            parameter.copy_(start + share * (parameter - start))

    def _measures(self, batch: Batch, old: Distribution) -> dict[str, float]:
        now = _detached(self.policy, batch)
        change = (now.log_probs(batch.trace) - old.log_probs(batch.trace))[batch.decided]
        clipped = (exp(change) - 1).abs() > self.config.clip
        return {
            "kl": _mean_kl(old, now, batch),
            "clip_fraction": float(clipped.float().mean()),
        }

    def _closeness(self, batch: Batch) -> dict[str, float]:
        """Return KL to the initial policy, per step and summed over an episode, per pattern."""
        now, reference = _detached(self.policy, batch), _detached(self.reference, batch)
        kl = now.kl(reference)
        past, firsts = (batch.begins, batch.memory), batch.firsts
        given = now.given_past(*past).kl(reference.given_past(*past))
        totals = sums(given.double().numpy(), batch.lengths)
        whole = batch.time[firsts].numpy() == 0
        measures = {}
        for z in batch.patterns.unique().tolist():
            measures[f"kl_to_initial/{z}"] = float(kl[batch.patterns == z].mean())
            mine = whole & (batch.patterns[firsts] == z).numpy()
            if mine.any():
                measures[f"trajectory_kl/{z}"] = float(totals[mine].mean())
        return measures


def _detached(policy: Policy, batch: Batch) -> Distribution:
    """Return the batch's distributions without gradients, computed as one product.

    With gradients switched off altogether each row would be multiplied by itself, which is slow
    (`networks.Linear`).
    """
    trained = [p for p in policy.parameters() if p.requires_grad]
    for parameter in trained:
        parameter.requires_grad_(False)
    try:
        return policy.distribution(batch.features, batch.trace)
    finally:
        for parameter in trained:
            parameter.requires_grad_(True)


def _mean_kl(old: Distribution, now: Distribution, batch: Batch) -> float:
    """Return the mean KL of the batch's decisions from what a policy was to what it is."""
    return float(old.kl(now)[batch.decided].mean())


def _explained(values: np.ndarray, returns: np.ndarray) -> dict[str, float]:
    """Return the share of Monte-Carlo returns' variance that a critic explained unseen."""
    return {"explained_variance": float(1 - (returns - values).var() / max(returns.var(), 1e-8))}


def _descend(loss: Tensor, optimizer: torch.optim.Optimizer, gradient_norm: float) -> None:
    parameters: list[nn.Parameter] = [p for g in optimizer.param_groups for p in g["params"]]
    optimizer.zero_grad()
    loss.backward()
    clip_grad_norm_(parameters, gradient_norm)
    optimizer.step()
