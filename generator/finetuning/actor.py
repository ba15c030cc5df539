"""What PPO trains: a copy of the clone, or a correction of it."""

from __future__ import annotations

import copy

import torch

from common.errors import SettingError
from generator.policies.gaussian import GaussianPolicy
from generator.policies.policy import Policy
from generator.policies.residual import ResidualPolicy


def trainable(policy: Policy, std: float, residual: bool, seed: int) -> Policy:
    """Return a copy that is trained, scoring with the std of the noise that it acts with.

    Args:
        policy: the clone; it is not changed.
        std: of the noise.
        residual: train a correction of the frozen clone, zero at first.
        seed: of the correction's initialisation.

    Raises:
        SettingError: the policy cannot score that noise, or has no residual.
    """
    if not residual:
        actor = copy.deepcopy(policy)
    elif type(policy) is GaussianPolicy:
        torch.manual_seed(seed)
        actor = ResidualPolicy.on(policy)
    else:
        raise SettingError(f"residual wants a Gaussian policy, not a {type(policy).__name__}")
    actor.requires_grad_(True)
    actor.explore(std)
    if not torch.allclose(actor.std, torch.tensor(std), rtol=1e-4):
        raise SettingError(
            f"PPO cannot learn with noise of the std {std}: "
            f"{actor.std.mean():.3f} is the nearest that the policy can score"
        )
    return actor
