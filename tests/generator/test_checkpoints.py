"""Checkpoints come back exactly, and damage is told clearly."""

from pathlib import Path

import pytest
import torch

from common.errors import CheckpointError
from common.tensors import load_optimizer, load_tensors, optimizer_tensors, save_tensors
from generator.checkpoints import load_policy, policy_hash, save_policy
from generator.policies.gaussian import GaussianPolicy


def _policy(seed: int = 0) -> GaussianPolicy:
    torch.manual_seed(seed)
    return GaussianPolicy(5, 3, (16, 16))


def test_policy_comes_back(tmp_path: Path) -> None:
    digest = save_policy(tmp_path / "policy.safetensors", _policy(), {"seed": 7, "rate": 0.1})
    policy, metadata = load_policy(tmp_path / "policy.safetensors")
    assert policy_hash(policy) == digest == metadata["policy_hash"]
    assert (metadata["seed"], metadata["rate"]) == (7, 0.1)
    assert metadata["versions"]["torch"] == torch.__version__.split("+")[0]
    assert [p.name for p in tmp_path.iterdir()] == ["policy.safetensors"]


def test_hash_is_of_content() -> None:
    assert policy_hash(_policy()) == policy_hash(_policy())
    assert policy_hash(_policy()) != policy_hash(_policy(1))


def test_truncated_file(tmp_path: Path) -> None:
    path = tmp_path / "policy.safetensors"
    save_policy(path, _policy(), {})
    for size in (0, 100, path.stat().st_size - 10):
        path.write_bytes(path.read_bytes()[:size])
        with pytest.raises(CheckpointError, match="damaged"):
            load_policy(path)
        save_policy(path, _policy(), {})


def test_missing_and_wrong_kind(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no checkpoint"):
        load_policy(tmp_path / "nothing.safetensors")
    save_tensors(tmp_path / "other.safetensors", "encoder", {"a": torch.zeros(1)}, {})
    with pytest.raises(CheckpointError, match="'policy' is needed"):
        load_policy(tmp_path / "other.safetensors")


def test_optimizer_continues_exactly(tmp_path: Path) -> None:
    results = []
    for interrupted in (False, True):
        policy = _policy()
        optimizer = torch.optim.Adam(policy.parameters(), 1e-2)
        for step in range(6):
            loss = policy(torch.full((2, 5), step / 3.0), torch.tensor([0, 1])).mean.square().sum()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            if interrupted and step == 2:
                save_tensors(tmp_path / "s", "state", optimizer_tensors("adam", optimizer), {})
                optimizer = torch.optim.Adam(policy.parameters(), 1e-2)
                load_optimizer("adam", optimizer, load_tensors(tmp_path / "s", "state")[0])
        results.append(policy_hash(policy))
    assert results[0] == results[1]
