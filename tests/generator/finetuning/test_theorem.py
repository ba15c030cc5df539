"""Leakage is joint, KL is summed over trajectories, and a bound that says nothing says so."""

import dataclasses
from collections.abc import Sequence

import numpy as np
import pytest
import torch

from generator.finetuning.theorem import bound_row, joint_leakage, theorem, trajectory_kl
from generator.policies.chunk import ChunkDistribution
from generator.policies.diffusion import ChainDistribution
from generator.policies.gaussian import ActionDistribution, GaussianPolicy
from generator.policies.policy import Exploration
from generator.rollout import Rollout, rollout, training_specs
from tests.generator.conftest import PointMasses

STD, MEMORY = 0.05, 0.3


class Recognises:
    """An encoder that finds pattern 1 in every trajectory."""

    def classify_trajectory(self, proprio: np.ndarray) -> int:
        return 1


def policies() -> tuple[GaussianPolicy, GaussianPolicy]:
    """Return a policy, and one whose means of pattern 2 lie 0.01 beside its."""
    torch.manual_seed(0)
    initial = GaussianPolicy(17, 3, (8,)).requires_grad_(False)
    moved = GaussianPolicy(17, 3, (8,)).requires_grad_(False)
    moved.load_state_dict(initial.state_dict())
    assert isinstance(moved.network, torch.nn.Sequential)
    last = moved.network[-1]
    assert isinstance(last, torch.nn.Linear)
    last.bias[:6] += 0.01
    for policy in (initial, moved):
        policy.explore(STD)
    return initial, moved


def episodes(policy: GaussianPolicy) -> Sequence[Rollout]:
    """Return three episodes of each pattern, of 7 steps; the first of each succeeds."""
    specs = training_specs(0, 9, 3, 0.5, 0)
    done = rollout(policy, PointMasses(), specs, 7, exploration=Exploration(STD, MEMORY))
    return [dataclasses.replace(e, success=i < 3) for i, e in enumerate(done)]


def test_kl_of_trajectories_is_the_sum_over_steps() -> None:
    """The noise that a step inherits is of its own policy, so later steps tell less."""
    initial, moved = policies()
    steps = 1 + 6 * (1 - MEMORY) ** 2
    for kl in trajectory_kl(moved, initial, episodes(moved)):
        np.testing.assert_allclose(kl, steps * 6 * 0.5 * (0.01 / STD) ** 2, rtol=1e-3)


def followed(policy: GaussianPolicy, signs: np.ndarray, exploration: Exploration) -> list[Rollout]:
    """Return 1,500 episodes whose one observation takes the given signs, step by step."""
    specs = training_specs(0, 1500, 0, 0.5, 0)
    noise = [policy.noise(spec.noise(), exploration) for spec in specs]
    seen = np.repeat(signs[:, None, None], len(specs), axis=1).astype(np.float32)
    decisions = [policy.act(now, np.zeros(len(specs), np.int64), noise) for now in seen]
    actions = np.stack([d.actions for d in decisions], axis=1)
    chosen = np.stack([d.trace["chosen"] for d in decisions], axis=1)
    return [
        Rollout(spec, seen[:, i], seen[:, i], actions[i], {"chosen": chosen[i]}, True,
                exploration=exploration)
        for i, spec in enumerate(specs)
    ]  # fmt: skip


def log_likelihoods(policy: GaussianPolicy, done: Sequence[Rollout]) -> np.ndarray:
    """Return that of each episode's actions given those before, from the process's definition."""
    observations = torch.from_numpy(np.stack([e.observations for e in done]))
    with torch.no_grad():
        found = policy(observations.flatten(0, 1), torch.zeros(observations[..., 0].numel()).long())
    mean, logit = found.mean.view(*observations.shape[:2], 6), found.logit.view(len(done), -1)
    off = torch.from_numpy(np.stack([e.actions for e in done])) - torch.cat(
        [mean, torch.zeros_like(logit)[..., None]], dim=-1
    )
    fresh = off[..., :6].clone()
    fresh[:, 1:] -= MEMORY * off[:, :-1, :6]
    motion = torch.distributions.Normal(0, STD).log_prob(fresh).sum((1, 2))
    gripper = torch.distributions.Bernoulli(logits=logit).log_prob((off[..., 6] > 0).float())
    return (motion + gripper.sum(1)).double().numpy()


@pytest.mark.parametrize("signs", [np.ones(8), np.tile([1.0, -1.0], 4)], ids=["same", "turning"])
def test_kl_is_the_mean_log_likelihood_ratio_of_what_was_done(signs: np.ndarray) -> None:
    torch.manual_seed(0)
    initial, moved = (GaussianPolicy(1, 0, ()).requires_grad_(False) for _ in range(2))
    moved.load_state_dict(initial.state_dict())
    assert isinstance(moved.network, torch.nn.Sequential)
    (layer,) = moved.network
    assert isinstance(layer, torch.nn.Linear)
    layer.weight += 0.02
    for policy in (initial, moved):
        policy.explore(STD)
    done = followed(moved, signs, Exploration(STD, MEMORY))
    ratios = log_likelihoods(moved, done) - log_likelihoods(initial, done)
    error = ratios.std() / np.sqrt(len(done))
    (kl,) = trajectory_kl(moved, initial, done)
    assert abs(kl.mean() - ratios.mean()) < 3 * error
    blind = 8 * 6 * 0.5 * (0.02 / STD) ** 2
    assert abs(blind - ratios.mean()) > 10 * error


def test_chunks_inherit_from_the_chunk_before() -> None:
    """Two episodes of two chunks each count as their actions one by one."""
    means = torch.randn(8, 6, generator=torch.Generator().manual_seed(0))
    single = ActionDistribution(means, torch.zeros(6), torch.zeros(8))
    expected = single.given_past(torch.arange(8) % 4 == 0, MEMORY).mean
    rows = torch.zeros(8, 2, 6)
    rows[::2] = means.view(4, 2, 6)
    length = torch.tensor([2, 0] * 4)
    chunks = ChunkDistribution(rows.flatten(0, 1), torch.zeros(6), torch.zeros(16), length)
    begins = torch.arange(8) % 4 == 0
    found = chunks.given_past(begins, MEMORY).mean.view(8, 2, 6)[::2]
    torch.testing.assert_close(found.flatten(0, 1), expected)
    steps = torch.zeros(4, 3, 2, 7)
    steps[:, -1, :, :6] = means.view(4, 2, 6)
    chain = ChainDistribution(steps, torch.ones(3, 7), length > 0).given_past(begins, MEMORY)
    torch.testing.assert_close(chain.mean[:, -1, :, :6].flatten(0, 1), expected)
    assert not chain.mean[:, :-1].any()


def test_leakage_is_joint() -> None:
    done = episodes(policies()[0])
    leaked = [joint_leakage(done, Recognises(), z) for z in range(3)]  # type: ignore[arg-type]
    assert leaked == [pytest.approx(1 / 3), 0, pytest.approx(1 / 3)]


def test_a_vacuous_bound_says_so() -> None:
    row = bound_row(np.array([27.0, 27.0]), 0.02, 0.1)
    assert row["bound"] == pytest.approx(0.02 + np.sqrt(13.5)) and row["vacuous"]
    near = bound_row(np.array([0.1, 0.3]), 0.0, 0.0)
    assert near["bound"] == pytest.approx(np.sqrt(0.1)) and not near["vacuous"]
    assert near["trajectory_kl_error"] == pytest.approx(0.1)


def test_rows_are_of_both_policies() -> None:
    initial, moved = policies()
    for policy in (initial, moved):
        policy.explore(0.1)
    before, after = ([{"leakage": x}] * 3 for x in (0.25, 0.5))
    rows = theorem((initial, moved), episodes(moved), (before, after), STD)
    assert [(r["delta_0"], r["leakage"]) for r in rows] == [(0.25, 0.5)] * 3
    assert rows[0]["trajectory_kl"] == pytest.approx(0.12 * (1 + 6 * 0.49), rel=1e-3)
    assert theorem((initial, moved), episodes(moved), ([{}], after), STD) == []
