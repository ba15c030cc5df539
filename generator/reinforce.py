"""Stage 3, reinforce: PPO on the sparse success reward, z uniform and fixed (Eq. 12).

What the theorem of section 4.5 asks for is measured every iteration: joint leakage between
patterns, and KL to the cloned policy, per step and of trajectories, per pattern.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from common.reproducible import reproducible
from common.scalars import ScalarWriter
from common.workers.progress import Bar
from generator.checkpoints import TRAINING, add_cost, policy_hash, save_policy
from generator.discover import PatternEncoder
from generator.finetuning.learner import Finetuning, Learner
from generator.policies.policy import Policy
from generator.rollout import Environments

__all__ = ["Finetuning", "reinforce"]


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
        the policy with the best held-out success, and a report with every iteration's measures,
        why training stopped, how many iterations improved the actor, and environment steps.
        Minutes are in `out_dir`'s `cost.json`: they differ from run to run, which a report does
        not.

    Raises:
        SettingError: the settings do not fit the policy or the demonstrations.
        CheckpointError: the checkpoint in `out_dir` continues another policy.
    """
    config = settings.config
    state = out_dir / TRAINING
    with reproducible():
        learner = Learner(policy, encoder, settings)
        if state.exists():
            learner.load(state)
        writer = ScalarWriter(out_dir / "tensorboard", learner.iteration)
        with Bar("reinforce", settings.budget, learner.steps) as bar:
            while not learner.stopped:
                measures = learner.iterate(environments)
                learner.save(state)
                for name, value in measures.items():
                    writer.add_scalar(name, value, learner.iteration)
                bar.set_description(f"reinforce {measures['success']:.0%}")
                bar.update(measures["environment_steps"])
    report = {
        "best": learner.best_success,
        "history": learner.history,
        "stopped": learner.stopped,
        "updates": learner.updates,
        "environment_steps": learner.counts(),
    }
    metadata = {
        "config": asdict(config),
        "seed": settings.seed,
        "initial_policy": policy_hash(policy),
    }
    save_policy(out_dir / "policy.safetensors", learner.best, metadata | report)
    add_cost(out_dir, learner.minutes())
    return learner.best, report
