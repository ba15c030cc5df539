"""Mutual information as a reward: q(z|s) learns the policy's states, resumably; no bound holds."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from common.errors import SettingError
from generator.checkpoints import policy_hash
from generator.config import InformationConfig, ReinforceConfig
from generator.finetuning.critic import UnboundedCritic
from generator.finetuning.information import InformationReward
from generator.finetuning.learner import Finetuning
from generator.policies.gaussian import GaussianPolicy
from generator.reinforce import reinforce
from generator.rollout import Rollout, rollout, training_specs
from tests.generator.conftest import PointMasses, kill_when

BRIEF = ReinforceConfig(
    critic_hidden=(16,),
    iterations=6,
    episodes=4,
    warmup_episodes=2,
    critic_warmup=1,
    evaluate_every=2,
    evaluation_episodes=2,
    epochs=2,
    patience=1,
    target_success=0.0,
)


def episodes(offset: float) -> list[Rollout]:
    """Return episodes of three patterns whose hands are `offset` metres apart."""
    torch.manual_seed(0)
    done = rollout(GaussianPolicy(17, 3, (8,)), PointMasses(), training_specs(0, 12, 3, 0.5, 0), 9)
    shift = np.array([offset, 0, 0, 0, 0, 0, 0, 0])
    return [dataclasses.replace(e, proprio=e.proprio + e.spec.pattern * shift) for e in done]


def test_what_tells_patterns_apart_is_rewarded() -> None:
    beta, apart = 0.1, episodes(0.1)
    reward = InformationReward(3, InformationConfig(beta=beta, steps=200), 0)
    first = reward.learn(apart, 0)
    last = reward.learn(apart, 1)
    assert first["recognised"] < 0.8 and last["recognised"] == 1.0
    assert 0.9 * np.log(3) < last["information"] <= np.log(3)
    one = apart[0]
    np.testing.assert_allclose(reward(one)[:-1], beta * reward.information(one)[:-1])
    assert reward(one)[-1] == pytest.approx(beta * reward.information(one)[-1] + one.success)
    other = dataclasses.replace(one, spec=dataclasses.replace(one.spec, pattern=2))
    assert reward(other).max() < 0
    alike = InformationReward(3, InformationConfig(steps=200), 0)
    alike.learn(episodes(0.0), 0)
    assert abs(alike.learn(episodes(0.0), 1)["information"]) < 0.5


def test_the_critic_has_no_bounds() -> None:
    torch.manual_seed(0)
    critic, features, time = UnboundedCritic(4, (16,)), torch.randn(64, 4), torch.rand(64)
    returns = 300 + 40 * features[:, 0]
    critic.adapt(returns)
    critic.adapt(returns * 100)
    optimizer = torch.optim.Adam(critic.parameters(), 0.02)
    for _ in range(300):
        optimizer.zero_grad()
        critic.loss(features, time, returns).backward()
        optimizer.step()
    assert (critic.values(features, time) - returns).abs().mean() < 4
    restored = UnboundedCritic(4, (16,))
    restored.load_state_dict(critic.state_dict())
    assert torch.equal(restored.values(features, time), critic.values(features, time))


def informed_run(out_dir: Path) -> str:
    """Train shortly on success and mutual information; return the result's hash."""
    torch.manual_seed(0)
    reward = InformationReward(3, InformationConfig(steps=5), 0)
    settings = Finetuning(BRIEF, reward=reward, horizon=30)
    policy, report = reinforce(GaussianPolicy(17, 3, (8,)), PointMasses(), None, settings, out_dir)
    assert report["stopped"] == "iterations used up" and len(report["history"]) == 6
    assert all("information" in measures for measures in report["history"])
    return policy_hash(policy)


def test_a_killed_run_ends_with_the_same_policy(tmp_path: Path) -> None:
    code = (
        "from tests.generator.finetuning.test_information import informed_run; "
        f"informed_run(Path({str(tmp_path)!r}))"
    )
    state = tmp_path / "training.safetensors"
    kill_when(state.exists, code)
    assert state.exists()
    assert informed_run(tmp_path) == informed_run(tmp_path / "undisturbed")


def test_it_wants_patterns() -> None:
    with pytest.raises(SettingError, match="two patterns or more and a beta of 0 or more, not 0"):
        InformationReward(0, InformationConfig(), 0)
