"""Recipes with policies that see: the same stages, each picture drawn once, killed and resumed."""

import dataclasses
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch

from common.errors import RenderError, SettingError
from demonstrations.demonstration import Demonstration
from generator.checkpoints import load_policy, policy_hash
from generator.config import (
    BudgetConfig,
    ChainConfig,
    ChunkFinetuningConfig,
    DiffusionConfig,
    EvaluationConfig,
    FilterConfig,
    GeneratorConfig,
    LearnConfig,
    ObserveConfig,
    ReinforceConfig,
)
from generator.pixels import cloning
from generator.policies.diffusion import DiffusionPolicy
from generator.policies.policy import Exploration
from generator.policies.seeing import SeeingPolicy
from generator.rollout import rollout, training_specs
from simulation.tasks import SUITES
from tests.generator.conftest import PointMasses, point_mass_demonstrations
from tests.generator.test_recipes import run

SEEING = ObserveConfig(
    cameras=("top",), size=32, weights="none", encoder="efficientnet_lite0", features=8,
    steps=4, batch_size=8, shift=1,
)  # fmt: skip
CONFIG = GeneratorConfig(
    learn=LearnConfig(steps=100, hidden=(16,), batch_size=64),
    reinforce=ReinforceConfig(
        iterations=2, episodes=2, critic_warmup=0, warmup_episodes=1, epochs=1, evaluate_every=1,
        evaluation_episodes=1, critic_hidden=(16,), budget=BudgetConfig(weak=0),
    ),
    evaluation=EvaluationConfig(episodes=1),
    filtered=FilterConfig(episodes=2, wave=2),
    horizon_factor=0.1,
    observe=SEEING,
)  # fmt: skip


@pytest.fixture(autouse=True)
def short_episodes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SUITES, "libero_90", 8)


@pytest.fixture(scope="module")
def few() -> list[Demonstration]:
    return point_mass_demonstrations(3)


def observing(**changes: Any) -> GeneratorConfig:
    return dataclasses.replace(CONFIG, observe=dataclasses.replace(SEEING, **changes))


def seeing(policy: object) -> SeeingPolicy:
    assert isinstance(policy, SeeingPolicy)
    return policy


def test_a_recipe_sees(tmp_path: Path, few: list[Demonstration]) -> None:
    environments = PointMasses()
    config = observing(cameras=("top", "side"))
    result = run(tmp_path, few, "o2o_rl", config, environments)
    policy = seeing(result.policy)
    assert result.reports["learn"]["encoder"] == {
        "kind": "efficientnet_lite0", "weights": "none: from scratch", "trained": "learn",
        **{k: result.reports["learn"]["encoder"][k] for k in ("best_step", "steps")},
        "validation_loss": result.reports["learn"]["encoder"]["validation_loss"],
    }  # fmt: skip
    moments = sum(len(d.actions) for d in few)
    assert environments.painters.drawn == 2 * (moments + environments.steps)
    path = tmp_path / "o2o_rl/seed_0/reinforce/policy.safetensors"
    loaded, _ = load_policy(path)
    assert policy_hash(loaded) == policy_hash(policy)
    learned = seeing(load_policy(tmp_path / "o2o_rl/seed_0/learn/policy.safetensors")[0])
    assert _same(policy.encoder, learned.encoder) and not _same(policy.head, learned.head)
    again = PointMasses()
    run(tmp_path, few, "clone", dataclasses.replace(config, seed=1), again)
    assert again.painters.drawn == 2 * again.steps  # pictures of demonstrations are kept
    episode = _roll_out(policy)
    assert episode.observations.dtype == np.float32 and episode.observations.shape[1] == 2 * 8 + 8
    assert episode.states.shape[1] == 17


def _same(one: torch.nn.Module, other: torch.nn.Module) -> bool:
    pairs = zip(one.parameters(), other.parameters(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


def _roll_out(policy: SeeingPolicy, envs: int = 2):
    specs = training_specs(0, 2, policy.patterns, 0.5, 0)
    return rollout(policy, PointMasses(envs), specs, 5, exploration=Exploration(0.04, 0.3))[0]


def test_ppo_trains_the_encoder_where_that_is_asked_for(
    tmp_path: Path, few: list[Demonstration]
) -> None:
    config = observing(train_encoder="all")
    policy = seeing(run(tmp_path, few, "o2o_rl", config).policy)
    learned = seeing(load_policy(tmp_path / "o2o_rl/seed_0/learn/policy.safetensors")[0])
    last = max(tmp_path.rglob("reinforce-*/policy.safetensors"))
    history = load_policy(last)[1]["history"]
    assert [m["warm_up"] for m in history] == [0, 0] and history[-1]["kl"] > 0
    assert not _same(policy.encoder, learned.encoder)  # none succeeds, so the last one is kept
    episode = _roll_out(policy)
    assert episode.observations.dtype == np.uint8
    alone = _roll_out(policy, envs=1)
    np.testing.assert_array_equal(alone.actions, episode.actions)
    pattern, rows = torch.zeros(5, dtype=torch.int64), torch.from_numpy(episode.observations)
    trace = {name: torch.from_numpy(part) for name, part in episode.trace.items()}
    frozen = policy.frozen()
    numbers = torch.from_numpy(_roll_out(frozen).observations)
    with torch.no_grad():
        bytes_likelihood = policy.distribution(policy.features(rows, pattern), trace)
        likelihood = frozen.distribution(frozen.features(numbers, pattern), trace)
    torch.testing.assert_close(
        bytes_likelihood.log_prob(trace), likelihood.log_prob(trace), atol=1e-2, rtol=1e-3
    )


@pytest.mark.parametrize("trained", ["no", "all"])
def test_a_diffusion_head_behind_an_encoder(
    tmp_path: Path, few: list[Demonstration], trained: Literal["no", "all"]
) -> None:
    chain = ChainConfig(levels=10, acting_steps=2, finetuned_steps=2)
    finetuning = ChunkFinetuningConfig(episodes=2, desired_kl=1e-6)
    config = dataclasses.replace(
        observing(train_encoder=trained),
        diffusion=DiffusionConfig(
            channels=(32,), chunk=4, chain=chain, steps=4, batch_size=8, finetuning=finetuning
        ),
    )
    policy = seeing(run(tmp_path, few, "diffusion_rl", config).policy)
    learned = seeing(load_policy(tmp_path / "diffusion_rl/seed_0/learn/policy.safetensors")[0])
    assert isinstance(policy.head, DiffusionPolicy) and not _same(policy.head, learned.head)
    assert _same(policy.encoder, learned.encoder) == (trained == "no")
    episode, alone = _roll_out(policy), _roll_out(policy, envs=1)
    assert episode.trace["chain"].shape == (5, 3, 4, 7)
    assert episode.trace["length"].tolist() == [4, 0, 0, 0, 4]
    np.testing.assert_array_equal(alone.actions, episode.actions)
    last = max(tmp_path.rglob("reinforce-*/policy.safetensors"))
    assert [m["kl"] > 0 for m in load_policy(last)[1]["history"]] == [True, True]


def test_principal_components_and_filtered_cloning(
    tmp_path: Path, few: list[Demonstration]
) -> None:
    config = observing(train_encoder="no", cameras=("side",))
    environments = PointMasses()
    result = run(tmp_path, few, "filtered_clone", config, environments)
    policy = seeing(result.policy)
    assert result.reports["filter"]["filtered"] and result.reports["learn"]["held_out"] == 0
    assert policy.encoder.arguments["trained"] is False
    assert policy.head.architecture()["observation_dim"] == 8 + 8


class Killed(Exception):
    pass


def test_a_killed_training_goes_on(
    tmp_path: Path, few: list[Demonstration], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cloning, "_LOOK_EVERY", 2)
    whole = policy_hash(_clone(tmp_path / "a", few))
    step = cloning._Trainer.train_step

    def dying(self: cloning._Trainer) -> None:
        if self.state.step == 3:
            raise Killed
        step(self)

    with monkeypatch.context() as patch:
        patch.setattr(cloning._Trainer, "train_step", dying)
        with pytest.raises(Killed):
            _clone(tmp_path / "b", few)
    assert list((tmp_path / "b").rglob("encoder_training.safetensors"))
    assert policy_hash(_clone(tmp_path / "b", few)) == whole
    assert not list(tmp_path.rglob("encoder*"))


def _clone(root: Path, few: list[Demonstration]) -> SeeingPolicy:
    return seeing(run(root, few, "clone", CONFIG).policy)


def test_a_damaged_picture_is_drawn_again(tmp_path: Path, few: list[Demonstration]) -> None:
    _clone(tmp_path, few)
    path = min(tmp_path.rglob("pictures-*/*.safetensors"))
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    environments = PointMasses()
    run(tmp_path, few, "clone", dataclasses.replace(CONFIG, seed=2), environments)
    assert environments.painters.drawn - environments.steps in {len(d.actions) for d in few}


def test_bad_input_is_one_clear_error(tmp_path: Path, few: list[Demonstration]) -> None:
    for changes, error, words in (
        ({"cameras": ("wrist",)}, RenderError, "no camera 'wrist'; this task has top, side"),
        ({"memory_gib": 1e-4}, SettingError, "moments of demonstrations take .* --observe"),
        ({"size": 8}, SettingError, "--observe.size lies in 32 to 480"),
    ):
        with pytest.raises(error, match=words):
            run(tmp_path, few, "clone", observing(**changes))
    config = observing(train_encoder="all", memory_gib=2e-3)
    with pytest.raises(SettingError, match="an iteration of PPO"):
        many = dataclasses.replace(config.reinforce, episodes=1000)
        run(tmp_path, few, "o2o_rl", dataclasses.replace(config, reinforce=many))
