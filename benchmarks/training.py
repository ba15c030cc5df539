"""Speed of PPO beside bare stepping and stable-baselines3's PPO; of acting by DDIM and DDPM."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.measure import Result, Setting, Target, benchmark, summarise
from benchmarks.tasks import DRAWER
from common.machine import instruction_sets
from common.workers import run_in_fresh_process
from demonstrations.config import DemonstrationConfig
from demonstrations.make import make_demonstrations, observe
from generator.checkpoints import load_policy
from generator.config import ChainConfig, DiffusionConfig, LearnConfig, ReinforceConfig
from generator.finetuning.learner import Finetuning, Learner
from generator.learn import learn
from generator.policies.diffusion import DiffusionPolicy
from generator.policies.policy import Exploration
from generator.rollout import rollout, training_specs
from generator.run_folder import SLOTS
from simulation.assets.resolve import AssetPack
from simulation.environment import SETTLE_STEPS, BatchEnvironment, Environment

_PROCESSES = 2
_ONE_CORE = {"OMP_NUM_THREADS": "1", "DLR_CORES": "1", "TQDM_DISABLE": "1"}
_PPO = ReinforceConfig(critic_warmup=0, evaluation_episodes=1, evaluate_every=1000)
_FINETUNING = Finetuning(_PPO, horizon=150)
_PEER_STEPS = 2048
"""Steps between two updates of stable-baselines3's PPO, its default."""
_PEER_ENVIRONMENTS = 8


@benchmark
def training(setting: Setting) -> list[Result]:
    """PPO's training steps in two processes, each on one core, by the CPU time that they take.

    First beside exact steps of the first policy's episodes in two processes that do nothing else,
    with and without the episodes' resets; then beside two trainings, too, of stable-baselines3's
    PPO with its default settings on `dlr/Libero-v0`. All figures are sums over both processes.
    """
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        policy = Path(folder) / "policy.safetensors"
        run_in_fresh_process(_clone, policy.parent, setting.assets, environment=_environment())
        for _ in range(setting.repetitions(5)):
            rows.append(
                [
                    sum(_at_once(measure, policy, setting))
                    for measure in (train, step, step_with_resets, train_peer)
                ]
            )
    names = {
        "bare stepping": Target(0.75),
        "the same episodes with their resets": None,
        "stable-baselines3's PPO": Target(2.0),
    }
    return [
        summarise(
            f"PPO on state, 2 processes / {name}",
            "training steps/s",
            [(row[0], row[column]) for row in rows],
            target,
        )
        for column, (name, target) in enumerate(names.items(), 1)
    ]


def _environment() -> dict[str, str]:
    return {**_ONE_CORE, **instruction_sets()}


def _at_once(measure: Callable[..., float], policy: Path, setting: Setting) -> list[float]:
    """Return what each of two processes measures, both at work at the same time."""

    def one(seed: int) -> float:
        arguments = (policy, setting.assets, seed, 1 if setting.quick else 3)
        return run_in_fresh_process(measure, *arguments, environment=_environment())

    with ThreadPoolExecutor(_PROCESSES) as pool:
        return list(pool.map(one, range(_PROCESSES)))


def _clone(folder: Path, assets: AssetPack) -> None:
    """Write a clone that solves the drawer more often than not."""
    source = DemonstrationConfig(episodes_per_way=4, fresh_share=0.0)
    with make_demonstrations(DRAWER, folder / "shown.hdf5", source, assets) as file:
        shown = observe(file, Environment(DRAWER, assets))
    learn(shown, None, LearnConfig(steps=2000), 0, 0, folder)


def train(policy: Path, assets: AssetPack, seed: int, iterations: int) -> float:
    """Return training steps in a second of this process's CPU time, updates included."""
    environments = BatchEnvironment(DRAWER, SLOTS, assets)
    learner = Learner(load_policy(policy)[0], None, replace(_FINETUNING, seed=seed))
    learner.iterate(environments)
    steps, began = learner.training_steps, time.process_time()
    for _ in range(iterations):
        learner.iterate(environments)
    return (learner.training_steps - steps) / (time.process_time() - began)


def step(
    policy: Path, assets: AssetPack, seed: int, iterations: int, resets: bool = False
) -> float:
    """Return steps in a second of CPU time where episodes of that policy are stepped alone."""
    actor, env = load_policy(policy)[0], Environment(DRAWER, assets)
    actor.explore(_FINETUNING.noise.std)
    specs = training_specs(0, _PPO.episodes, 0, _PPO.fresh_share, seed)
    episodes = rollout(
        actor, BatchEnvironment(DRAWER, SLOTS, assets), specs, _FINETUNING.horizon,
        exploration=_FINETUNING.exploration,
    )  # fmt: skip
    steps, spent = 0, 0.0
    for episode in episodes:
        began = time.process_time()
        env.reset(episode.spec.seed, episode.spec.init_index)
        env.settle(SETTLE_STEPS)
        began = began if resets else time.process_time()
        for action in episode.actions:
            env.step(action)
        spent += time.process_time() - began
        steps += len(episode)
    return steps / spent


def step_with_resets(policy: Path, assets: AssetPack, seed: int, iterations: int) -> float:
    """Return the same with the time of the episodes' resets."""
    return step(policy, assets, seed, iterations, resets=True)


def train_peer(_policy: Path, assets: AssetPack, seed: int, _iterations: int) -> float:
    """Return the steps of stable-baselines3's PPO in a second of CPU time, updates included."""
    import gymnasium
    from stable_baselines3 import PPO
    from stable_baselines3.common.vec_env import DummyVecEnv

    import simulation.gymnasium_env

    def make() -> Any:
        return gymnasium.make(
            simulation.gymnasium_env.ENV_ID,
            task=DRAWER.key,
            observation="privileged",
            init_index="random",
            horizon=_FINETUNING.horizon,
            assets=assets.path,
        )

    environments = DummyVecEnv([make] * _PEER_ENVIRONMENTS)
    per_environment = _PEER_STEPS // _PEER_ENVIRONMENTS
    model = PPO("MlpPolicy", environments, n_steps=per_environment, seed=seed, device="cpu")
    began = time.process_time()
    model.learn(_PEER_STEPS)
    spent = time.process_time() - began
    assert np.isfinite(model.policy.log_std.detach().numpy()).all()
    return _PEER_STEPS / spent


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
