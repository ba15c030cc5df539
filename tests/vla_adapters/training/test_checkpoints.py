from __future__ import annotations

import resource
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from common.errors import OutputError
from vla_adapters.training.checkpoints import (
    State,
    TrainingError,
    atomic_folder,
    check_same,
    load_state,
    restore,
    save_state,
)


def found(out: Path) -> State:
    state = load_state(out)
    assert state is not None
    return state


def trained(steps: int) -> tuple[nn.Module, torch.optim.Optimizer]:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(50, 50), nn.Linear(50, 50))
    module[1].weight.requires_grad_(False)
    optimiser = torch.optim.AdamW([p for p in module.parameters() if p.requires_grad], 1e-2)
    for _ in range(steps):
        module(torch.ones(2, 50)).square().sum().backward()
        optimiser.step()
        optimiser.zero_grad()
    return module, optimiser


def test_a_state_restores_parameters_and_optimiser_exactly(tmp_path):
    module, optimiser = trained(3)
    save_state(tmp_path, 3, {"seed": 0}, module, optimiser)
    other, its_optimiser = trained(0)
    state = found(tmp_path)
    restore(state, other, its_optimiser)
    assert state.step == 3
    for a, b in zip(module.parameters(), other.parameters(), strict=True):
        assert torch.equal(a, b)
    for m, o in ((module, optimiser), (other, its_optimiser)):
        m(torch.full((2, 50), 0.5)).square().sum().backward()
        o.step()
    for a, b in zip(module.parameters(), other.parameters(), strict=True):
        assert torch.equal(a, b)


def test_frozen_weights_are_not_kept_and_the_last_state_alone_stays(tmp_path):
    module, optimiser = trained(2)
    for step in (2, 4):
        save_state(tmp_path, step, {}, module, optimiser)
    (state,) = (tmp_path / "resume").iterdir()
    assert state.name == "step_000000004"
    assert "parameter.1.weight" not in load_file(state / "state.safetensors")


def test_a_full_disk_leaves_the_last_good_state(tmp_path):
    module, optimiser = trained(2)
    save_state(tmp_path, 2, {}, module, optimiser)
    before = found(tmp_path)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, limits[1]))
    try:
        with pytest.raises(OutputError, match="make room"):
            save_state(tmp_path, 3, {}, *trained(3))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    after = found(tmp_path)
    assert after.step == 2 and after.tensors.keys() == before.tensors.keys()
    assert all(torch.equal(after.tensors[n], before.tensors[n]) for n in before.tensors)
    assert [path.name for path in (tmp_path / "resume").iterdir()] == ["step_000000002"]


def test_a_folder_is_there_whole_or_not_at_all(tmp_path):
    path = tmp_path / "policy"
    with pytest.raises(RuntimeError), atomic_folder(path) as folder:
        (folder / "half").touch()
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []
    (tmp_path / ".policy.tmp").mkdir()
    (tmp_path / ".policy.tmp" / "of_a_killed_process").touch()
    with atomic_folder(path) as folder:
        (folder / "whole").touch()
    assert [p.name for p in path.iterdir()] == ["whole"]


def test_a_damaged_state_is_named(tmp_path):
    save_state(tmp_path, 1, {}, *trained(1))
    file = tmp_path / "resume" / "step_000000001" / "state.safetensors"
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(TrainingError, match="is damaged"):
        load_state(tmp_path)


@pytest.mark.parametrize("name", ["state.safetensors", "training.json"])
def test_a_flipped_bit_of_a_state_is_found(name, tmp_path):
    save_state(tmp_path, 1, {"seed": 0}, *trained(1))
    file = tmp_path / "resume" / "step_000000001" / name
    whole = file.read_bytes()
    for place in (len(whole) // 10, len(whole) // 2, 9 * len(whole) // 10):
        content = bytearray(whole)
        content[place] ^= 1
        file.write_bytes(content)
        with pytest.raises(TrainingError, match="training begins anew"):
            load_state(tmp_path)


def test_other_settings_are_named_with_both_values(tmp_path):
    settings = {"batch": 8, "validation": {"patience": 1}, "where": ["a=1"]}
    save_state(tmp_path, 1, settings, *trained(1))
    state = found(tmp_path)
    check_same(state, settings, tmp_path)
    other = {**settings, "batch": 16, "validation": {"patience": 2}}
    with pytest.raises(TrainingError, match=r"batch was 8 and is 16; validation\.patience was 1"):
        check_same(state, other, tmp_path)
