"""The action distribution against torch's, and rows that do not depend on their neighbours."""

import numpy as np
import pytest
import torch
from torch.distributions import Bernoulli, Independent, Normal, kl_divergence

from generator.finetuning.critic import Critic
from generator.networks import Normalizer
from generator.policies.gaussian import (
    MAXIMUM_STD,
    ActionDistribution,
    GaussianNoise,
    GaussianPolicy,
)
from generator.policies.policy import Exploration


def _noise(seed: int, std: float = 0.1) -> GaussianNoise:
    return GaussianNoise(np.random.default_rng(seed), Exploration(std))


def _distribution(seed: int) -> ActionDistribution:
    g = torch.Generator().manual_seed(seed)
    return ActionDistribution(
        torch.randn(5, 6, generator=g),
        torch.randn(6, generator=g) * 0.3 - 2,
        3 * torch.randn(5, generator=g),
    )


def test_distribution_equals_torch() -> None:
    a, b = _distribution(0), _distribution(1)
    normals = [Independent(Normal(d.mean, d.log_std.exp()), 1) for d in (a, b)]
    grippers = [Bernoulli(logits=d.logit) for d in (a, b)]
    actions = a.sample(torch.from_numpy(np.stack([_noise(i).draw()[0] for i in range(5)])))
    log_prob = normals[0].log_prob(actions[:, :6])
    log_prob = log_prob + grippers[0].log_prob((actions[:, 6] > 0).float())
    torch.testing.assert_close(a.log_prob({"chosen": actions}), log_prob)
    torch.testing.assert_close(a.entropy(), normals[0].entropy() + grippers[0].entropy())
    expected = kl_divergence(*normals) + kl_divergence(*grippers)
    torch.testing.assert_close(a.kl(b), expected)
    torch.testing.assert_close(a.kl(a), torch.zeros(5))


def test_gripper_is_sampled_by_its_probability() -> None:
    distribution = ActionDistribution(
        torch.zeros(4000, 6), torch.full((6,), -2.0), torch.full((4000,), 1.0)
    )
    noise = _noise(0)
    drawn = torch.from_numpy(np.stack([noise.draw()[0] for _ in range(4000)]))
    gripper = distribution.sample(drawn)[:, 6]
    assert set(gripper.tolist()) == {-1.0, 1.0}
    assert abs((gripper > 0).float().mean() - torch.sigmoid(torch.tensor(1.0))) < 0.03


@pytest.mark.parametrize("patterns", [0, 3])
def test_row_does_not_depend_on_batch(patterns: int) -> None:
    torch.manual_seed(0)
    policy = GaussianPolicy(42, patterns, (256, 256))
    rng = np.random.default_rng(0)
    observations = rng.normal(size=(24, 42)).astype(np.float32)
    pattern = rng.integers(0, 3, 24)
    everything = policy.act(observations, pattern, [_noise(i) for i in range(24)])
    for chosen in (slice(3, 4), slice(5, 12), slice(0, 24, 2)):
        noise = [_noise(i) for i in range(24)][chosen]
        part = policy.act(observations[chosen], pattern[chosen], noise)
        np.testing.assert_array_equal(everything.actions[chosen], part.actions)
        np.testing.assert_array_equal(everything.trace["chosen"][chosen], part.trace["chosen"])


def test_noise_is_remembered_and_not_chosen() -> None:
    torch.manual_seed(0)
    policy, exploration = GaussianPolicy(5, 0, (8,)), Exploration(std=0.1, memory=0.5)
    noise = [policy.noise(np.random.default_rng(3), exploration)]
    observation, pattern = np.zeros((1, 5), np.float32), np.array([-1])
    first = policy.act(observation, pattern, noise)
    np.testing.assert_array_equal(first.actions, first.trace["chosen"])
    second = policy.act(observation, pattern, noise)
    mean = policy.act(observation, pattern, [_noise(0, std=0)]).actions[:, :6]
    carried = (second.actions - second.trace["chosen"])[:, :6]
    np.testing.assert_allclose(carried, 0.5 * (first.actions[:, :6] - mean), atol=1e-6)


def test_noise_is_absolute_and_skipped_steps_are_carried() -> None:
    exploration = Exploration(std=0.04, memory=0.5)
    spread = []
    for std in (0.02, 0.2):
        policy = GaussianPolicy(5, 0, (8,))
        policy.explore(std)
        noise = [policy.noise(np.random.default_rng(i), exploration) for i in range(400)]
        seen, pattern = np.zeros((400, 5), np.float32), np.full(400, -1)
        for _ in range(8):
            actions = policy.act(seen, pattern, noise).actions
        spread.append(actions[:, :6].std())
    assert spread[0] == pytest.approx(spread[1], rel=1e-5)
    assert spread[0] == pytest.approx(0.04 / np.sqrt(1 - 0.25), rel=0.05)
    one, other = (GaussianNoise(np.random.default_rng(0), exploration) for _ in range(2))
    drawn = [one.draw() for _ in range(4)]
    other.skip(3)
    for wanted, had in zip(drawn[3], other.draw(), strict=True):
        np.testing.assert_array_equal(had, wanted)


def test_rollout_and_training_paths_agree() -> None:
    torch.manual_seed(0)
    policy = GaussianPolicy(10, 3, (64,))
    observations, z = torch.randn(7, 10), torch.arange(7) % 3
    with torch.no_grad():
        single = policy(observations, z).mean
    torch.testing.assert_close(policy(observations, z).mean, single)


def test_normalizer_zeroes_constant_features_and_clips() -> None:
    normalizer = Normalizer(3)
    rng = np.random.default_rng(0)
    data = np.stack([rng.normal(5, 2, 1000), np.full(1000, 0.7), rng.normal(0, 1e-4, 1000)], axis=1)
    normalizer.fit(data)
    out = normalizer(torch.tensor([[5.0, 9.0, 0.0], [1e6, 0.7, 1e-3]]))
    assert out[:, 1].tolist() == [0.0, 0.0]
    assert out[1, 0] == 5.0
    assert abs(out[1, 2] - 1.0) < 0.1


def test_std_stays_within_bounds() -> None:
    policy = GaussianPolicy(3, 0, (8,))
    policy.explore(10.0)
    policy.constrain()
    torch.testing.assert_close(policy.raw_log_std.exp(), torch.full((6,), MAXIMUM_STD))


def test_critic_sees_time() -> None:
    torch.manual_seed(0)
    critic = Critic(4, (16,), (0.0, 1.0))
    features = torch.zeros(2, 4)
    early, late = critic(features, torch.tensor([0.0, 1.0]))
    assert early != late
