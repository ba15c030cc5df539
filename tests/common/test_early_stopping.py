"""A training keeps the best average of its weights, and goes on after a kill with equal bits."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from common.early_stopping import EarlyStopping
from common.errors import CheckpointError

STEPS = 12


def new(outputs: int = 1) -> EarlyStopping[nn.Linear]:
    torch.manual_seed(0)
    module = nn.Linear(4, outputs)
    return EarlyStopping(module, torch.optim.AdamW(module.parameters(), 0.1), STEPS, decay=0.9)


def descend(state: EarlyStopping[nn.Linear], until: int) -> None:
    while state.step < until:
        rows = torch.randn((8, 4), generator=state.generator(seed=3))
        state.descend(((state.module(rows) - rows.sum(1, keepdim=True)) ** 2).mean())


def test_a_killed_training_goes_on_with_equal_bits(tmp_path: Path) -> None:
    whole = new()
    descend(whole, STEPS)
    killed, path = new(), tmp_path / "training.safetensors"
    descend(killed, 5)
    killed.compare(0.5)
    killed.save(path, "test", {"note": 7})
    again = new()
    assert again.load(path, "test")["note"] == 7
    assert (again.step, again.best_step, again.best_loss) == (5, 5, 0.5)
    assert torch.equal(again.best.weight, killed.average.weight)
    descend(again, STEPS)
    assert torch.equal(again.module.weight, whole.module.weight)
    assert torch.equal(again.average.weight, whole.average.weight)
    assert not torch.equal(whole.average.weight, whole.module.weight)


def test_the_rate_falls_to_zero_and_the_best_is_kept() -> None:
    state = new()
    descend(state, 3)
    state.compare(1.0)
    best = state.average.weight.clone()
    descend(state, STEPS)
    state.compare(2.0)
    assert torch.equal(state.best.weight, best) and state.best_step == 3
    assert state.stale(STEPS - 3) and not state.stale(STEPS - 2)
    assert 0 < state.optimizer.param_groups[0]["lr"] < 0.005


def test_a_file_of_another_module_is_told(tmp_path: Path) -> None:
    path = tmp_path / "training.safetensors"
    new().save(path, "test")
    with pytest.raises(CheckpointError, match="do not fit"):
        new(outputs=2).load(path, "test")
