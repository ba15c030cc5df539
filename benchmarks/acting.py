"""Speed of a diffusion policy's acting: five steps of DDIM beside a hundred of DDPM."""

from __future__ import annotations

import time
from dataclasses import asdict

import numpy as np
import torch

from benchmarks.measure import Result, Setting, Target, benchmark, summarise
from generator.config import ChainConfig, DiffusionConfig
from generator.policies.diffusion import DiffusionPolicy
from generator.policies.policy import Exploration
from generator.run_folder import SLOTS

_OBSERVATIONS = 90
"""About as many numbers as a task's state has."""

_DDPM = ChainConfig(sampler="ddpm")


@benchmark
def acting(setting: Setting) -> list[Result]:
    """Decisions of a chunk in a second, of the default networks, for as many slots as `dlr train`.

    Everything but the sampler is the same: the paper's "nearly 10x speedup".
    """
    own = DiffusionConfig()
    rows = []
    for network, widths in (("unet", own.channels), ("mlp", own.hidden)):
        ddim, ddpm = (
            make_policy(network, widths, ChainConfig(sampler=sampler))
            for sampler in ("ddim", "ddpm")
        )
        pairs = []
        for _ in range(setting.repetitions(5)):
            few = 2 if setting.quick else 10
            pairs.append((decisions_per_second(ddim, 10 * few), decisions_per_second(ddpm, few)))
        title = f"acting, {network}, 5 steps of DDIM / 100 of DDPM"
        rows.append(summarise(title, "decisions/s", pairs, Target(8.0)))
    return rows


def make_policy(network: str, widths: tuple[int, ...], chain: ChainConfig) -> DiffusionPolicy:
    """Return a policy that nothing has trained."""
    torch.manual_seed(0)
    chunk = DiffusionConfig().chunk
    settings = asdict(chain)
    return DiffusionPolicy(_OBSERVATIONS, 0, network, widths, chunk, settings)  # type: ignore[arg-type]


def decisions_per_second(policy: DiffusionPolicy, rounds: int) -> float:
    """Return how many chunks a policy decides in a second of this process's CPU time."""
    rng = np.random.default_rng(0)
    seen = rng.normal(size=(SLOTS, policy.observation_dim)).astype(np.float32)
    z = np.zeros(SLOTS, np.int64)
    began = time.process_time()
    for _ in range(rounds):
        noise = [policy.noise(np.random.default_rng(i), Exploration(0.04)) for i in range(SLOTS)]
        policy.act(seen, z, noise)
    return rounds * SLOTS / (time.process_time() - began)
