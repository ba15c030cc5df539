"""From demonstrations to evaluated VLAs, every link for real, with trainings of one step."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from experiments.vla_chain import overfit, transfer
from simulation.assets.resolve import embedded_pack


def demonstrate_and_train(work: Path) -> Path:
    """Return the dataset of a training's demonstrations."""
    overfit("pi0", episodes_per_way=1, steps=1, batch=2, assets=embedded_pack().path, work=work)
    (dataset,) = (work / "data" / "libero_rl" / "demonstrations").iterdir()
    return dataset


@pytest.mark.first
def test_a_policy_is_evaluated_where_its_demonstrations_began(tmp_path: Path) -> None:
    demonstrate_and_train(tmp_path / "a")
    entry = json.loads((tmp_path / "a" / "pi0.json").read_text())["outcomes"]["pi0"]
    assert entry["success"]["done"] == entry["success"]["planned"] == 3


@pytest.mark.slow
def test_each_source_is_pretrained_on_and_compared(tmp_path: Path) -> None:
    source = demonstrate_and_train(tmp_path / "a")
    transfer(
        (source,), "pi0", episodes_per_way=1, pretraining_steps=1, finetuning_steps=1, batch=2,
        trials=2, assets=embedded_pack().path, work=tmp_path / "b",
    )  # fmt: skip
    outcomes = json.loads((tmp_path / "b" / "pi0.json").read_text())["outcomes"]
    assert set(outcomes) == {"demonstrations", "none"}
    assert {entry["success"]["done"] for entry in outcomes.values()} == {2}
    assert outcomes["demonstrations"]["against_none"]["pairs"] == 2
    pretrained = tmp_path / "b" / "pi0" / "demonstrations" / "pretraining" / "final"
    training = tmp_path / "b" / "pi0" / "demonstrations" / "finetuning" / "training.json"
    assert json.loads(training.read_text())["settings"]["init"] == str(pretrained)
