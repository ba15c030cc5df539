"""Noise levels fall from signal to noise; who knows the noise arrives at the action."""

import math

import numpy as np
import pytest
import torch

from common.errors import SettingError
from generator.policies.schedule import Sampler, chain, signal_shares


def test_levels_go_from_signal_to_noise() -> None:
    shares = signal_shares(100)
    assert shares.shape == (101,) and shares[0] == 1 and shares[-1] < 1e-4
    assert (np.diff(shares) < 0).all()


@pytest.mark.parametrize(("sampler", "steps"), [("ddim", 5), ("ddpm", 100)])
def test_who_sees_the_noise_finds_the_action(sampler: Sampler, steps: int) -> None:
    torch.manual_seed(0)
    found = chain(100, sampler, 5, 0.0)
    assert len(found) == steps and found[-1].below == 1.0
    assert [s.level for s in found[:-1]] == sorted((s.level for s in found[:-1]), reverse=True)
    clean = torch.rand(3, 4, 7) * 2 - 1
    noisy = torch.randn(3, 4, 7)
    for step in found:
        eps = (noisy - math.sqrt(step.abar) * clean) / math.sqrt(1 - step.abar)
        noisy = step.mean(noisy, eps) + step.sigma * torch.randn(3, 4, 7)
    torch.testing.assert_close(noisy, clean, atol=1e-4, rtol=0)


def test_ddpm_is_the_posterior() -> None:
    """The mean and variance of q(a_{k-1} | a_k, a_0), Eq. 6 and 7 of Ho et al., 2020."""
    shares, step = signal_shares(20), chain(20, "ddpm", 5, 0.0)[10]
    k = step.level
    beta = 1 - shares[k] / shares[k - 1]
    clean, noisy = torch.full((1, 1, 7), 0.3), torch.full((1, 1, 7), -0.8)
    eps = (noisy - math.sqrt(shares[k]) * clean) / math.sqrt(1 - shares[k])
    first = math.sqrt(shares[k - 1]) * beta / (1 - shares[k])
    second = math.sqrt(1 - beta) * (1 - shares[k - 1]) / (1 - shares[k])
    expected = first * 0.3 + second * -0.8
    assert step.mean(noisy, eps)[0, 0, 0] == pytest.approx(expected, abs=1e-5)
    assert step.sigma**2 == pytest.approx((1 - shares[k - 1]) / (1 - shares[k]) * beta)


def test_bad_settings() -> None:
    for steps, eta in ((0, 0.0), (101, 0.0), (5, 1.5)):
        with pytest.raises(SettingError, match="over 100 noise levels"):
            chain(100, "ddim", steps, eta)
