"""An episode depends on its spec alone; specs respect the held-out convention."""

import dataclasses

import numpy as np
import pytest
import torch

from common.errors import CheckpointError
from generator.collect import to_episode
from generator.policies.gaussian import GaussianPolicy
from generator.policies.policy import Exploration
from generator.rollout import (
    EpisodeSpec,
    evaluate,
    held_out_specs,
    rollout,
    training_specs,
)
from simulation.environment import BatchEnvironment
from simulation.tasks import get_task
from tests.generator.conftest import PointMasses


def _policy(dim: int = 17, patterns: int = 3) -> GaussianPolicy:
    torch.manual_seed(0)
    return GaussianPolicy(dim, patterns, (32, 32))


def _same(a: object, b: object) -> None:
    for field in dataclasses.fields(a):  # type: ignore[arg-type]
        x, y = getattr(a, field.name), getattr(b, field.name)
        if isinstance(x, np.ndarray):
            np.testing.assert_array_equal(x, y)
        if field.name == "trace":
            assert x.keys() == y.keys() and len(x) > 0
            for name in x:
                np.testing.assert_array_equal(x[name], y[name])


def test_independent_of_slots_and_neighbours() -> None:
    specs = held_out_specs(range(6), 1_000_000, 3, 0.5)
    many = rollout(_policy(), PointMasses(8), specs, 30)
    few = rollout(_policy(), PointMasses(3), specs, 30)
    alone = rollout(_policy(), PointMasses(1), specs[7:8], 30)
    for a, b in zip(many, few, strict=True):
        _same(a, b)
        assert a.spec == b.spec and a.success == b.success
    _same(many[7], alone[0])


def test_streams_differ_in_noise_alone() -> None:
    specs = [EpisodeSpec(5, None, -1, stream) for stream in range(2)]
    a, b = rollout(_policy(patterns=0), PointMasses(2), specs, 10)
    np.testing.assert_array_equal(a.observations[0], b.observations[0])
    np.testing.assert_array_equal(a.actions[0, :6], b.actions[0, :6])
    noisy = rollout(_policy(patterns=0), PointMasses(2), specs, 1, exploration=Exploration(0.1))
    assert not np.array_equal(noisy[0].actions[:, :6], noisy[1].actions[:, :6])
    quiet = rollout(_policy(patterns=0), PointMasses(2), specs, 1)
    np.testing.assert_array_equal(quiet[0].actions[:, :6], quiet[1].actions[:, :6])


def test_timeout_is_a_failure_and_capture_becomes_an_episode() -> None:
    done = rollout(_policy(), PointMasses(2), training_specs(0, 3, 3, 0.5, 0), 12, capture=True)[0]
    assert len(done) == 12 and not done.success
    episode = to_episode(done, "dlr", "hash")
    assert episode.states.shape == (12, 10) and episode.final_state.shape == (10,)
    assert np.abs(episode.actions).max() <= 1
    assert not episode.info.success and episode.rewards.sum() == 0
    with pytest.raises(ValueError, match="capture"):
        to_episode(dataclasses.replace(done, capture=None), "dlr", "hash")


def test_specs() -> None:
    training = training_specs(96, 48, 3, 0.5, 0)
    assert [s.pattern for s in training[:4]] == [0, 1, 2, 0]
    assert len({(s.seed, s.init_index) for s in training}) == 16
    assert {s.seed for s in training}.isdisjoint(s.seed for s in training_specs(48, 48, 3, 0.5, 0))
    assert all(s.init_index is None or s.init_index < 35 for s in training)
    held_out = held_out_specs(range(40), 1_000_000, 0, 0.5, groups=3)
    assert all(s.init_index is None or 35 <= s.init_index < 50 for s in held_out)
    assert sum(s.init_index is None for s in held_out) == 60
    assert {s.init_index for s in held_out} >= set(range(35, 50))
    assert [(s.pattern, s.stream) for s in held_out[:3]] == [(-1, 0), (-1, 1), (-1, 2)]
    assert not any(s.init_index is None for s in held_out_specs(range(9), 0, 0, 0.0))


def test_real_simulator() -> None:
    environments = BatchEnvironment(
        get_task("KITCHEN_SCENE10_close_the_top_drawer_of_the_cabinet"), 2
    )
    policy = _policy(environments.policy_state([0]).shape[1])
    specs = held_out_specs(range(1), 1_000_000, 3, 0.0)
    done = rollout(policy, environments, specs, 5, capture=True)
    alone = rollout(policy, environments, specs[2:], 5)
    np.testing.assert_array_equal(done[2].observations, alone[0].observations)
    episode = to_episode(done[0], "dlr", "hash")
    assert episode.states.shape[0] == 5 and episode.joints.shape == (5, 7)
    assert not evaluate(policy, environments, specs[:1], 3, exploration=Exploration(0)).any()
    environments.close()


def test_a_policy_of_other_numbers_is_one_clear_error() -> None:
    specs = held_out_specs(range(1), 1_000_000, 3, 0.5)
    with pytest.raises(CheckpointError, match="sees 15 numbers, but the task has 17"):
        rollout(_policy(dim=15), PointMasses(1), specs, 30)
