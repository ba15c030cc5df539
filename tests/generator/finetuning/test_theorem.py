"""Leakage is joint, KL is summed over trajectories, and a bound that says nothing says so."""

import dataclasses
from collections.abc import Sequence

import numpy as np
import pytest
import torch

from generator.finetuning.theorem import bound_row, joint_leakage, theorem, trajectory_kl
from generator.policies.gaussian import GaussianPolicy
from generator.policies.policy import Exploration
from generator.rollout import Rollout, rollout, training_specs
from tests.generator.conftest import PointMasses

STD = 0.05


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
    done = rollout(policy, PointMasses(), specs, 7, exploration=Exploration(STD, 0.3))
    return [dataclasses.replace(e, success=i < 3) for i, e in enumerate(done)]


def test_kl_of_trajectories_is_the_sum_over_steps() -> None:
    initial, moved = policies()
    for kl in trajectory_kl(moved, initial, episodes(moved)):
        np.testing.assert_allclose(kl, 7 * 6 * 0.5 * (0.01 / STD) ** 2, rtol=1e-3)


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
    assert rows[0]["trajectory_kl"] == pytest.approx(0.84, rel=1e-3)
    assert theorem((initial, moved), episodes(moved), ([{}], after), STD) == []
