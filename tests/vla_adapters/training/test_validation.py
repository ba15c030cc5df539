from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from common.errors import AssetError, SettingError
from common.intervals import wilson_interval
from simulation.assets.resolve import (
    ASSETS_VARIABLE,
    AssetPack,
    embedded_pack,
    find_embedded_pack,
    resolve_assets,
)
from vla_adapters.records import Records, open_records
from vla_adapters.training.config import TrainConfig, ValidationConfig
from vla_adapters.training.validation import (
    Evaluation,
    choose_assets,
    find_best,
    protocol_of,
    read_evaluations,
    should_stop,
    write_evaluations,
)


def evaluations(*successes: int) -> list[Evaluation]:
    return [
        Evaluation(epoch, count, 10, *wilson_interval(count, 10))
        for epoch, count in enumerate(successes, start=1)
    ]


def test_of_equals_the_earlier_is_best():
    best = find_best(evaluations(3, 7, 7))
    assert best is not None and best.epoch == 2
    assert find_best([]) is None


def test_it_stops_once_patience_is_over():
    assert not should_stop([], 1)
    assert not should_stop(evaluations(3), 1)
    assert should_stop(evaluations(3, 2), 1)
    assert should_stop(evaluations(3, 3), 1)
    assert not should_stop(evaluations(3, 2), 2)
    assert not should_stop(evaluations(3, 2, 4), 1)


def test_results_mark_the_best_and_come_back(tmp_path):
    assert read_evaluations(tmp_path) == []
    found = evaluations(3, 7, 5)
    write_evaluations(tmp_path, found)
    assert read_evaluations(tmp_path) == found
    content = json.loads((tmp_path / "validation.json").read_text())
    assert content["best"] == "epoch_002"
    assert content["evaluations"][1]["low"] == wilson_interval(7, 10)[0]


@pytest.fixture
def other_pack(tmp_path, monkeypatch) -> AssetPack:
    """A pack that every command finds first."""
    folder = shutil.copytree(embedded_pack().path, tmp_path / "assets")
    (folder / "more.txt").write_text("more")
    monkeypatch.setenv(ASSETS_VARIABLE, str(folder))
    return resolve_assets()


def made_with(rlds: Path, first: str, others: str) -> Records:
    """Return data whose episodes name these packs."""
    records = open_records([rlds], "train", ())
    records.metadata["asset_digest"] = (first, *[others] * (len(records) - 1))
    return records


def choose(records: Records, folder: Path | None = None) -> AssetPack:
    config = ValidationConfig(validation_assets=folder)
    return choose_assets(config, records, range(len(records)))


def test_it_uses_the_pack_of_most_of_the_data(rlds, other_pack):
    mine, other = embedded_pack().digest, other_pack.digest
    assert mine != other
    assert choose(made_with(rlds, mine, mine)).digest == mine
    assert choose(made_with(rlds, mine, other)).digest == other
    few = choose_assets(ValidationConfig(), made_with(rlds, mine, other), [0])
    assert few.digest == mine
    assert choose(made_with(rlds, other, other), embedded_pack().path).digest == mine


def test_a_pack_that_is_not_here_is_asked_for(rlds):
    assert find_embedded_pack("f" * 64) is None
    with pytest.raises(AssetError, match=r"asset pack ffffffffffff, .* as --validation-assets"):
        choose(made_with(rlds, "f" * 64, "f" * 64))


def test_data_that_does_not_say_its_pack_is_said_to(rlds, other_pack):
    with pytest.warns(UserWarning, match="does not say which asset pack"):
        assert choose(made_with(rlds, "", "")).digest == other_pack.digest


def test_training_and_validation_follow_one_protocol():
    config = TrainConfig(("data",), Path("out"))
    assert protocol_of(config).name == "openpi"
    assert protocol_of(TrainConfig(("data",), Path("out"), "openvla")).name == "openvla"
    assert protocol_of(TrainConfig(("data",), Path("out"), protocol="lerobot")).name == "lerobot"
    with pytest.raises(SettingError, match="unknown protocol 'mine'"):
        protocol_of(TrainConfig(("data",), Path("out"), protocol="mine"))
    with pytest.raises(SettingError, match="gripper, joints and the data as eef_position"):
        protocol_of(TrainConfig(("data",), Path("out"), protocol="libero"))
    assert protocol_of(TrainConfig(("data",), Path("out"), "openvla", protocol="libero"))
