"""How well a policy does from held-out starts, with the one noise of all rollouts."""

from __future__ import annotations

from typing import Any

import numpy as np

from common.intervals import wilson_interval
from common.reproducible import reproducible
from generator.config import GeneratorConfig
from generator.discover import PatternEncoder
from generator.finetuning.theorem import joint_leakage
from generator.policies.policy import Exploration, Policy
from generator.rollout import Environments, Rollout, held_out_specs, rollout
from simulation.starts import FINAL_EVALUATION_SEED


def held_out(
    policy: Policy,
    environments: Environments,
    encoder: PatternEncoder | None,
    horizon: int,
    config: GeneratorConfig,
) -> tuple[dict[str, Any], list[Rollout]]:
    """Evaluate on episodes by which no weights were chosen.

    Their seeds, and so fresh starts, fixtures and noise, are their own; the 15 official states that
    training leaves out are those of PPO's checks as well, so that half of the starts resemble them.
    They do choose what comes after a policy, `choose_budget`, and are the same after every stage:
    of clones that were found weak, the success before is a little low by that choice.

    Args:
        policy: of any stage.
        environments: slots of the task.
        encoder: the frozen q(z|s), to measure leakage; None without patterns.
        horizon: control steps of an episode at most.
        config: number of episodes and their noise.

    Returns:
        `held_out_success`, a row per pattern: success with its Wilson interval, episodes, mean
        length of successes (None without), and joint leakage (Eq. 13) where there are patterns;
        and `evaluation_steps`. Also the episodes.
    """
    evaluation, noise = config.evaluation, config.noise
    n = evaluation.episodes
    specs = held_out_specs(range(n), FINAL_EVALUATION_SEED, policy.patterns, evaluation.fresh_share)
    exploration = Exploration(noise.std, noise.memory)
    with reproducible():
        episodes = rollout(policy, environments, specs, horizon, exploration=exploration)
    rows = []
    for z in range(max(policy.patterns, 1)):
        mine = [e for e in episodes if max(e.spec.pattern, 0) == z]
        lengths = [len(e) for e in mine if e.success]
        low, high = wilson_interval(len(lengths), n)
        row: dict[str, float | None] = {
            "success": len(lengths) / n,
            "low": low,
            "high": high,
            "episodes": n,
        }
        row["length"] = float(np.mean(lengths)) if lengths else None
        if policy.patterns and encoder is not None:
            row["leakage"] = joint_leakage(mine, encoder, z)
        rows.append(row)
    steps = sum(len(e) for e in episodes)
    return {"held_out_success": rows, "evaluation_steps": steps}, episodes
