"""Discover, learn, filter and reinforce, the stages of the first paper's recipes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from generator.config import GeneratorConfig, LearnConfig
from generator.context import Context

if TYPE_CHECKING:
    from demonstrations.demonstration import Demonstration
    from generator.discover import PatternEncoder
    from generator.finetuning.learner import Finetuning
    from generator.learn import Maker
    from generator.policies.policy import Policy
    from generator.reward import Reward
    from generator.rollout import Rollout


@dataclass(frozen=True)
class Discover:
    """Stage 1: the pattern encoder q(z|s)."""

    name: str = "discover"
    file: str = "encoder.safetensors"
    reads: tuple[str, ...] = ()

    def settings(self, config: GeneratorConfig) -> dict[str, Any]:
        """Return what it reads of the settings."""
        return {"discover": asdict(config.discover)}

    def run(self, context: Context, folder: Path) -> dict[str, Any]:
        """Fit the encoder; report its agreement with known ways."""
        from common.reproducible import reproducible
        from generator.discover import discover

        config, demonstrations = context.config, context.demonstrations
        ways = [d.way for d in demonstrations]
        with reproducible():
            encoder = discover(
                [d.proprio for d in demonstrations], config.discover, config.seed, ways
            )
        encoder.save(folder / self.file)
        return encoder.report

    def load(self, folder: Path) -> PatternEncoder:
        """Return the encoder."""
        from generator.discover import PatternEncoder

        return PatternEncoder.load(folder / self.file)


@dataclass(frozen=True)
class Learn:
    """Stage 2: behaviour cloning, conditioned on the patterns where `reads` names `discover`."""

    name: str = "learn"
    file: str = "policy.safetensors"
    reads: tuple[str, ...] = ()
    shuffled: bool = False
    """Permute the labels among the demonstrations: patterns that say nothing, as a control."""

    def settings(self, config: GeneratorConfig) -> dict[str, Any]:
        """Return what it reads of the settings."""
        from generator.pixels.learning import observing

        return {"learn": asdict(config.learn), **_measuring(config), **observing(config)}

    def cloning(self, config: GeneratorConfig) -> tuple[LearnConfig, Maker | None]:
        """Return settings of the cloning, and what makes another policy than these say."""
        return config.learn, None

    def run(self, context: Context, folder: Path) -> dict[str, Any]:
        """Clone; report held-out success."""
        from generator.learn import learn
        from generator.pixels.learning import learn_seeing

        labels, (config, make) = context.labels(self.shuffled), self.cloning(context.config)

        def clone(demonstrations: Sequence[Demonstration]) -> tuple[Policy, dict[str, Any]]:
            patterns, seed = context.patterns, context.config.seed
            return learn(demonstrations, labels, config, patterns, seed, folder, make)

        if context.config.observe.cameras:
            policy, report = learn_seeing(context, labels, clone, folder)
        else:
            policy, report = clone(context.demonstrations)
        measured = _held_out(context, policy)[0]
        return {**report, **measured, "environment_steps": _counts(0, measured)}

    def load(self, folder: Path) -> Policy:
        """Return the policy."""
        return _load_policy(folder / self.file)


@dataclass(frozen=True)
class Filter:
    """Filtered cloning where the clone is too weak for PPO: its successes are cloned too."""

    name: str = "filter"
    file: str = "policy.safetensors"
    reads: tuple[str, ...] = ("learn",)
    shuffled: bool = False
    """As `Learn`'s."""
    always: bool = False
    """Do it whatever the clone's success."""

    def settings(self, config: GeneratorConfig) -> dict[str, Any]:
        """Return what it reads of the settings."""
        return {
            "learn": asdict(config.learn),
            "filtered": asdict(config.filtered),
            "weak": config.reinforce.budget.weak,
            "horizon_factor": config.horizon_factor,
            **_measuring(config),
        }

    def run(self, context: Context, folder: Path) -> dict[str, Any]:
        """Clone again if need be; report why (`need`), and held-out success.

        The report depends on nothing that is not in `settings`, such as PPO's steps: runs that
        differ in that share it.
        """
        from generator.checkpoints import save_policy
        from generator.finetuning.budget import needs_filter
        from generator.finetuning.filtered import filtered_clone
        from generator.pixels.learning import seen_demonstrations

        config, learned = context.config, context.reports["learn"]
        need = needs_filter(learned["held_out_success"], config.reinforce.budget.weak)
        chosen = {"need": need.report(), "always": self.always}
        if not self.always and not need.filter_first:
            save_policy(folder / self.file, context.results["learn"], {"filtered": False})
            same = {name: learned[name] for name in ("held_out_success", "evaluation_steps")}
            return {"filtered": False, **chosen, **same, "environment_steps": _counts(0, {})}
        policy, report = filtered_clone(
            context.results["learn"],
            context.environments,
            seen_demonstrations(context, context.results["learn"], folder),
            context.labels(self.shuffled),
            None if self.shuffled else context.encoder,
            config,
            context.horizon,
            folder,
        )
        measured = _held_out(context, policy)[0]
        steps = _counts(report["gathered"].pop("environment_steps"), measured)
        return {"filtered": True, **chosen, **report, **measured, "environment_steps": steps}

    def load(self, folder: Path) -> Policy:
        """Return the policy."""
        return _load_policy(folder / self.file)


def sparse_success(context: Context) -> Reward:
    """Return the sparse success reward (section 4.4)."""
    from generator.reward import SparseSuccess

    return SparseSuccess()


@dataclass(frozen=True)
class Reinforce:
    """Stage 3: PPO on a reward, close to the policy that it starts from."""

    name: str = "reinforce"
    file: str = "policy.safetensors"
    reads: tuple[str, ...] = ("learn",)
    """The last one named is where PPO starts from."""
    reward: Callable[[Context], Reward] = sparse_success
    """Maker of what PPO maximises."""

    def settings(self, config: GeneratorConfig) -> dict[str, Any]:
        """Return what it reads of the settings."""
        return {
            "reinforce": asdict(config.reinforce),
            "horizon_factor": config.horizon_factor,
            **_measuring(config),
        }

    def adapt(self, settings: Finetuning, context: Context) -> Finetuning:
        """Return what PPO is run with, of what it is run with in `dlr`."""
        return settings

    def run(self, context: Context, folder: Path) -> dict[str, Any]:
        """Fine-tune; report the budget and why, held-out success, and what the theorem asks."""
        from generator.finetuning.budget import SHORT, choose_budget
        from generator.finetuning.learner import Finetuning
        from generator.finetuning.theorem import theorem
        from generator.pixels.learning import check_iteration
        from generator.reinforce import reinforce

        config, start = context.config, self.reads[-1]
        before = context.reports[start]
        budget = choose_budget(before["held_out_success"], config.reinforce.budget)
        settings = Finetuning(
            config.reinforce,
            config.evaluation,
            config.noise,
            self.reward(context),
            context.horizon,
            config.seed,
            max(budget.steps - before["evaluation_steps"], 0),
            budget.choice == SHORT,
            context.demonstrations,
            context.trajectory_patterns(),
        )
        settings = self.adapt(settings, context)
        check_iteration(context, context.results[start], settings.config.episodes)
        policy, report = reinforce(
            context.results[start], context.environments, context.encoder, settings, folder
        )
        measured, episodes = _held_out(context, policy)
        for name in ("evaluation", "total"):
            report["environment_steps"][name] += measured["evaluation_steps"]
        bounds = theorem(
            (context.results[start], policy),
            episodes,
            (before["held_out_success"], measured["held_out_success"]),
            config.noise.std,
        )
        return {"budget": budget.report(), **report, **measured, "theorem": bounds}

    def load(self, folder: Path) -> Policy:
        """Return the policy."""
        return _load_policy(folder / self.file)


def _measuring(config: GeneratorConfig) -> dict[str, Any]:
    """Return the settings that held-out success is measured with."""
    return {"evaluation": asdict(config.evaluation), "noise": asdict(config.noise)}


def _held_out(context: Context, policy: Policy) -> tuple[dict[str, Any], list[Rollout]]:
    from generator.held_out import held_out

    horizon, config = context.task.horizon, context.config
    return held_out(policy, context.environments, context.encoder, horizon, config)


def _counts(training: int, measured: Mapping[str, Any]) -> dict[str, int]:
    """Return environment steps of training, of an evaluation, and together."""
    evaluation = measured.get("evaluation_steps", 0)
    return {"training": training, "evaluation": evaluation, "total": training + evaluation}


def _load_policy(path: Path) -> Policy:
    from generator.checkpoints import load_policy

    return load_policy(path)[0]
