"""What Theorem 1 (section 4.5) speaks of: leakage, KL of trajectories to the clone, the bound."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from generator.discover import PatternEncoder
from generator.finetuning.batch import make_batch, sums
from generator.policies.policy import Policy
from generator.rollout import Rollout


def joint_leakage(episodes: Sequence[Rollout], encoder: PatternEncoder, pattern: int) -> float:
    """Return the share of a pattern's episodes that succeed in another pattern's way (Eq. 13).

    Failures count in the denominator: Eq. 13 is joint, not given success.
    """
    mine = [e for e in episodes if e.spec.pattern == pattern]
    strays = [e.success and encoder.classify_trajectory(e.proprio) != pattern for e in mine]
    return float(np.mean(strays)) if strays else 0.0


def trajectory_kl(
    policy: Policy, reference: Policy, episodes: Sequence[Rollout]
) -> list[np.ndarray]:
    """Return KL(pi || reference) given the past, summed over each episode's steps, per pattern.

    Its mean over episodes of `policy` is KL(p_theta(tau) || p_theta0(tau)), the theorem's E, since
    the dynamics cancel. Both policies must act with the same noise, and score with its std. Noise
    with memory m is no policy's own: an action given the past lies about mu_t + m (a_t-1 - mu_t-1),
    so that a step counts with (delta mu_t - m delta mu_t-1)^2 / (2 sigma^2), where delta mu is how
    far the means of both policies are apart, and an episode's first step with delta mu alone.

    Args:
        policy: pi, which the episodes are of.
        reference: what Stage 3 started from.
        episodes: with at least one of each pattern.
    """
    batch = make_batch(policy, episodes)
    now, then = (
        scored.distribution(batch.features, batch.trace).given_past(batch.begins, batch.memory)
        for scored in (policy, reference)
    )
    totals = sums(now.kl(then).detach().double().numpy(), batch.lengths)
    patterns = np.array([max(e.spec.pattern, 0) for e in episodes])
    return [totals[patterns == z] for z in range(max(policy.patterns, 1))]


def theorem(
    policies: tuple[Policy, Policy],
    episodes: Sequence[Rollout],
    measured: tuple[Sequence[Mapping[str, Any]], Sequence[Mapping[str, Any]]],
    std: float,
) -> list[dict[str, Any]]:
    """Return what Theorem 1 says of a fine-tuned policy and what is measured, a row per pattern.

    Args:
        policies: what Stage 3 started from, and what it made of it.
        episodes: of the second, from held-out starts.
        measured: rows of both policies' evaluations, with `leakage` where there are patterns.
        std: of the noise that both acted with.
    """
    if not all("leakage" in row for rows in measured for row in rows):
        return []
    initial, policy = (copy.deepcopy(p).requires_grad_(False) for p in policies)
    for scored in (initial, policy):
        scored.explore(std)
    kls = trajectory_kl(policy, initial, episodes)
    return [
        bound_row(kl, before["leakage"], after["leakage"])
        for kl, before, after in zip(kls, *measured, strict=True)
    ]


def bound_row(kl: np.ndarray, delta: float, leakage: float) -> dict[str, Any]:
    """Return a pattern's row: E with its standard error, delta_0, measured leakage, and the bound.

    Args:
        kl: summed over each episode's steps (n,).
        delta: the initial policy's joint leakage, delta_0.
        leakage: the present policy's.
    """
    budget = float(kl.mean())
    bound = delta + math.sqrt(max(budget, 0.0) / 2)
    return {
        "trajectory_kl": budget,
        "trajectory_kl_error": float(kl.std(ddof=1) / math.sqrt(len(kl))) if len(kl) > 1 else 0.0,
        "delta_0": delta,
        "leakage": leakage,
        "bound": bound,
        "vacuous": bound >= 1,
    }
