"""PPO's loop body: roll out, update, evaluate when due, know when to stop; it can be resumed."""

from __future__ import annotations

import copy
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from common.errors import CheckpointError
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
from generator.checkpoints import policy_hash
from generator.config import Annealing, EvaluationConfig, NoiseConfig, ReinforceConfig
from generator.discover import PatternEncoder
from generator.finetuning.actor import trainable
from generator.finetuning.batch import make_batch
from generator.finetuning.counts import added, counted, no_episodes, shares
from generator.finetuning.critic import make_critic
from generator.finetuning.replay import Replay
from generator.finetuning.starts import Curriculum
from generator.finetuning.theorem import joint_leakage
from generator.finetuning.update import Update
from generator.policies.observers import Cost
from generator.policies.policy import Exploration, Policy
from generator.reward import Reward, SparseSuccess
from generator.rollout import Environments, Rollout, held_out_specs, rollout, training_specs
from simulation.starts import EVALUATION_SEED


@dataclass(frozen=True)
class Finetuning:
    """What PPO is run with."""

    config: ReinforceConfig = ReinforceConfig()
    """Settings."""
    evaluation: EvaluationConfig = EvaluationConfig()
    """How held-out success is measured."""
    noise: NoiseConfig = NoiseConfig()
    """Of training and evaluation."""
    reward: Reward = field(default_factory=SparseSuccess)
    """What is maximised."""
    horizon: int = 300
    """Control steps after which a training episode is a failure."""
    seed: int = 0
    """Of the critic's initialisation, the episodes and the minibatches."""
    steps: int | None = None
    """Environment steps at most, evaluations included; by default the settings' budget."""
    shorten: bool = False
    """Keep success and shorten episodes, until the steps are used up."""
    demonstrations: Sequence[Demonstration] = ()
    """What episodes may start from."""
    labels: Sequence[int] = ()
    """Pattern of each demonstration."""
    annealing: Annealing = "kl"
    """How the actor's step size goes."""
    denoising_gamma: float = 1.0
    """Discount from a denoising step to the one before it, of policies that act by a chain."""

    @property
    def may_rest(self) -> bool:
        """Whether a pattern that has reached the target is done."""
        return self.reward.of_success and not self.shorten

    @property
    def budget(self) -> int:
        """Environment steps at most."""
        return self.config.budget.steps if self.steps is None else self.steps

    @property
    def exploration(self) -> Exploration:
        """The noise of every rollout."""
        return Exploration(self.noise.std, self.noise.memory)


class Learner:
    """Actor, critic and progress of one fine-tuning run."""

    def __init__(
        self, policy: Policy, encoder: PatternEncoder | None, settings: Finetuning
    ) -> None:
        self.encoder, self.settings = encoder, settings
        self.config = config = settings.config
        self.initial_hash = policy_hash(policy)
        self.groups = max(policy.patterns, 1)
        self.policy = trainable(policy, settings.noise.std, config.residual, settings.seed)
        self.reference = copy.deepcopy(policy).requires_grad_(False)
        self.reference.explore(settings.noise.std)
        self.best = copy.deepcopy(self.policy).requires_grad_(False)
        torch.manual_seed(settings.seed)
        critic = make_critic(policy.critic_dim, config.critic_hidden, settings.reward.bounds)
        self.update = Update(
            config, self.policy, self.reference, critic,
            settings.annealing, settings.denoising_gamma,
        )  # fmt: skip
        self.replay = Replay(config.replay_iterations if config.replay else 0)
        self.curriculum = Curriculum(
            settings.demonstrations, settings.labels, self.groups,
            config.demonstration_starts, settings.horizon,
        )  # fmt: skip
        self.iteration = self.episodes = self.training_steps = self.evaluation_steps = 0
        self.history: list[dict[str, float]] = []
        self.recent, self.best_seen = no_episodes(self.groups), no_episodes(self.groups)
        self.best_length = 0.0
        self.stale, self.solved = 0, False
        self.cost, self.seconds = Cost(), 0.0

    @property
    def best_success(self) -> list[float]:
        """Success of each pattern of the policy to keep, over all episodes that speak for it."""
        return shares(self.best_seen)

    @property
    def steps(self) -> int:
        """Environment steps so far."""
        return self.training_steps + self.evaluation_steps

    @property
    def warm(self) -> bool:
        """Whether the critic had its iterations, or twice as many where it explains nothing.

        It stays so once the actor was improved: all of a warm-up's episodes are of one policy.
        """
        if self.updates:
            return True
        least = self.config.critic_warmup
        explains = not self.history or self.history[-1]["explained_variance"] > 0
        return self.iteration >= (least if explains else 2 * least)

    @property
    def stopped(self) -> str:
        """Why training ends here; empty if it goes on."""
        config, of_success = self.config, self.settings.reward.of_success
        if self.settings.may_rest and self.solved:
            return "solved"
        if of_success and self.stale >= config.patience:
            return "no better evaluation"
        if self.iteration >= config.iterations:
            return "iterations used up"
        if self._affordable():
            return ""
        return "steps used up" if self.updates else "no update fits into the steps"

    @property
    def updates(self) -> int:
        """Iterations so far in which the actor was improved."""
        return sum(not measures["warm_up"] for measures in self.history)

    def _affordable(self) -> bool:
        """Return whether one more update and its evaluation fit into the budget.

        Before the first one so does what is left of the critic's warm-up.
        """
        if not self.history:
            return self.settings.budget > 0
        last, iterations = self.history[-1], 1.0
        if last["warm_up"]:
            left = 0 if self.warm else max(self.config.critic_warmup - self.iteration, 1)
            iterations = left + self.config.episodes / self.config.warmup_episodes
        coming = iterations * last["training_steps"] + self.last_evaluation
        return self.steps + coming <= self.settings.budget

    @property
    def last_evaluation(self) -> float:
        """Environment steps of the last evaluation."""
        seen = [m["evaluation_steps"] for m in self.history if m["evaluation_steps"]]
        return seen[-1] if seen else 0.0

    def iterate(self, environments: Environments) -> dict[str, float]:
        """Roll out, update, evaluate when due; return the iteration's measures."""
        began, before = time.perf_counter(), self.evaluation_steps
        warm = self.warm
        measures = {} if self.history else self._evaluate(environments)
        self.solved = self.solved and bool(self.history)
        episodes = self._roll_out(environments, warm)
        measures |= self._outcome(episodes) | self.curriculum.note(episodes)
        if not warm:  # of the policy that was evaluated
            self.best_seen = added(self.best_seen, self.recent)
            self.recent = no_episodes(self.groups)
        measures |= self._learn(episodes, warm)
        self.iteration += 1
        self.history.append(measures | {"evaluation_steps": 0.0})
        if warm and (self.updates % self.config.evaluate_every == 0 or self.stopped):
            measures |= self._evaluate(environments)
        measures["evaluation_steps"] = float(self.evaluation_steps - before)
        measures["environment_steps"] = measures["training_steps"] + measures["evaluation_steps"]
        self.history[-1] = measures
        self.seconds += time.perf_counter() - began
        return measures

    def _learn(self, episodes: Sequence[Rollout], warm: bool) -> dict[str, float]:
        """Train the critic and, once that is warm, the actor."""
        since = time.process_time()
        batch = make_batch(self.policy, episodes, self.settings.horizon)
        reward, seed = self.settings.reward, self.settings.seed * 1_000_003 + self.iteration
        measures = reward.learn(episodes, seed)
        rewards = np.concatenate([reward(e) for e in episodes])
        rng = torch.Generator().manual_seed(seed)
        if warm:
            progress = self.steps / self.settings.budget
            measures |= self.update.improve(batch, rewards, self.replay, rng, progress)
        else:
            measures |= self.update.warm_up(batch, rewards, rng)
        self.replay.keep(batch)
        self.cost.add("update", since)
        return measures

    def _roll_out(self, environments: Environments, warm: bool) -> list[Rollout]:
        """Run an iteration's episodes: fewer of patterns that succeeded in the last one."""
        config, seed = self.config, self.settings.seed
        count = self.groups * (config.episodes if warm else config.warmup_episodes)
        specs = training_specs(self.episodes, count, self.policy.patterns, config.fresh_share, seed)
        if warm and self.settings.may_rest:
            few = {z for z in range(self.groups) if self._succeeds(z)}
            few = few if len(few) < self.groups else set()
            most = config.warmup_episodes * self.groups
            specs = [s for i, s in enumerate(specs) if i < most or max(s.pattern, 0) not in few]
        specs = self.curriculum.place(specs, (seed, self.iteration))
        self.episodes += count
        with environments.coarse(self.config.substeps):
            return self._run(environments, specs)

    def _succeeds(self, pattern: int) -> bool:
        """Return whether a pattern reached the target in the last iteration."""
        last = self.history[-1] if self.history else {}
        return last.get(f"success/{pattern}", 0.0) >= self.config.target_success

    def _run(self, environments: Environments, specs: Sequence[Any]) -> list[Rollout]:
        return rollout(
            self.policy,
            environments,
            specs,
            self.settings.horizon,
            exploration=self.settings.exploration,
            cost=self.cost,
        )

    def _evaluate(self, environments: Environments) -> dict[str, float]:
        """Evaluate on held-out initial states; keep the policy if it is the one to keep.

        These states are the same at each evaluation, and few: the best of many policies passes by
        luck. So training's episodes since the last evaluation count with them, which come from
        nearly the same policy; and the target is reached where the policy does so on these and as
        many other held-out states.
        """
        n, target = self.config.evaluation_episodes, self.config.target_success
        episodes = self._run_held_out(environments, range(n))
        held_out = counted(episodes, self.groups)
        rates = shares(held_out)
        self.solved = min(rates) >= target
        if self.solved and self.settings.may_rest and self.history:
            more = self._run_held_out(environments, range(n, 2 * n))
            held_out = added(held_out, counted(more, self.groups))
            self.solved = min(shares(held_out)) >= target
        seen = added(held_out, self.recent)
        lengths = [len(e) for e in episodes if e.success]
        length = float(np.mean(lengths)) if lengths else float(self.settings.horizon)
        rests = self.solved and self.settings.may_rest
        better = rests or self._better(shares(seen), length)
        rises = better and (shares(seen), length) != (self.best_success, self.best_length)
        if better:
            self.best_seen, self.best_length = seen, length
            self.best.load_state_dict(self.policy.state_dict())
        self.recent, self.stale = no_episodes(self.groups), 0 if rises else self.stale + 1
        named = {f"held_out_success/{z}": rate for z, rate in enumerate(rates)}
        return named | {"held_out_length": length}

    def _run_held_out(self, environments: Environments, starts: range) -> list[Rollout]:
        """Roll out from held-out starts, each once with every pattern."""
        share = self.settings.evaluation.fresh_share
        specs = held_out_specs(starts, EVALUATION_SEED, self.policy.patterns, share)
        episodes = self._run(environments, specs)
        self.evaluation_steps += sum(len(e) for e in episodes)
        return episodes

    def _better(self, rates: Sequence[float], length: float) -> bool:
        """Return whether an evaluation is of the policy to keep; the last, if not success counts.

        The least pattern counts first, then the sum, then the length of successes. Where success
        is to be kept, no pattern may succeed less often than it did.
        """
        best = self.best_success
        if not any(n for _, n in self.best_seen) or not self.settings.reward.of_success:
            return True
        if self.settings.shorten and any(r < b for r, b in zip(rates, best, strict=True)):
            return False
        order = (min(rates), sum(rates), -length)
        return order >= (min(best), sum(best), -self.best_length)

    def _outcome(self, episodes: Sequence[Rollout]) -> dict[str, float]:
        """Return success, length and joint leakage (Eq. 13) per pattern, of whole episodes."""
        steps = sum(len(e) for e in episodes)
        self.training_steps += steps
        whole = [e for e in episodes if e.spec.start is None] or list(episodes)
        measures = {
            "success": float(np.mean([e.success for e in whole])),
            "length": float(np.mean([len(e) for e in whole])),
            "training_steps": float(steps),
            "episodes": float(len(episodes)),
        }
        if not self.settings.shorten:  # which compares the same starts alone
            counts = counted([e for e in episodes if e.spec.start is None], self.groups)
            self.recent = added(self.recent, counts)
        for z, rate in enumerate(shares(counted(whole, self.groups))):
            measures[f"success/{z}"] = rate
            if self.encoder is not None:
                measures[f"leakage/{z}"] = joint_leakage(whole, self.encoder, z)
        return measures

    def save(self, path: Path) -> None:
        """Write all that `load` needs to continue."""
        update = self.update
        tensors = {
            **prefixed("policy", self.policy.state_dict()),
            **prefixed("best", self.best.state_dict()),
            **prefixed("critic", update.critic.state_dict()),
            **prefixed("replay", self.replay.tensors()),
            **prefixed("warm", update.warm.tensors()),
            **prefixed("reward", self.settings.reward.tensors()),
            **optimizer_tensors("actor_optimizer", update.actor_optimizer),
            **optimizer_tensors("critic_optimizer", update.critic_optimizer),
        }
        progress = {name: getattr(self, name) for name in _PROGRESS}
        progress |= {
            "learning_rate": update.learning_rate,
            "reach": self.curriculum.reach,
            "cost": asdict(self.cost),
        }
        save_tensors(path, "reinforce_training", tensors, progress)

    def load(self, path: Path) -> None:
        """Continue from `save`.

        Raises:
            CheckpointError: it is damaged, or continues another policy.
        """
        tensors, progress = load_tensors(path, "reinforce_training")
        if progress.get("initial_hash") != self.initial_hash:
            raise CheckpointError(f"{path} continues another cloned policy: delete it")
        update = self.update
        modules = {"policy": self.policy, "best": self.best, "critic": update.critic}
        for name, module in modules.items():
            load_module(module, select(name, tensors), path)
        with fitting(path):
            load_optimizer("actor_optimizer", update.actor_optimizer, tensors)
            load_optimizer("critic_optimizer", update.critic_optimizer, tensors)
            self.replay.load(select("replay", tensors))
            update.warm.load(select("warm", tensors))
            self.settings.reward.load(select("reward", tensors))
            for name in _PROGRESS:
                setattr(self, name, progress[name])
            update.learning_rate = progress["learning_rate"]
            self.curriculum.reach, self.cost = progress["reach"], Cost(**progress["cost"])

    def counts(self) -> dict[str, int]:
        """Return environment steps of training, of evaluations, and together."""
        return {
            "training": self.training_steps,
            "evaluation": self.evaluation_steps,
            "total": self.steps,
        }

    def minutes(self) -> dict[str, float]:
        """Return what all iterations took, and the learner's shares of CPU time."""
        cost = self.cost
        cpu = cost.simulation + cost.policy + cost.update + cost.rendering
        return {
            "wall_minutes": self.seconds / 60,
            "cpu_minutes": cpu / 60,
            "cpu_share_of_policy": cost.policy / cpu if cpu else 0.0,
            "cpu_share_of_update": cost.update / cpu if cpu else 0.0,
            "cpu_share_of_rendering": cost.rendering / cpu if cpu else 0.0,
            "steps_per_second": self.steps / self.seconds if self.seconds else 0.0,
        }


_PROGRESS = (
    "initial_hash", "iteration", "episodes", "training_steps", "evaluation_steps", "history",
    "recent", "best_seen", "best_length", "stale", "solved", "seconds",
)  # fmt: skip
