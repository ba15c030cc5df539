"""Recipes run their stages once, and refuse results of other settings."""

import dataclasses
import json
from pathlib import Path

import pytest
import torch

from common.errors import CheckpointError, DemonstrationError
from common.json_files import write_sealed
from demonstrations.demonstration import Demonstration
from generator.checkpoints import policy_hash
from generator.config import DiscoverConfig, GeneratorConfig, LearnConfig, ReinforceConfig
from generator.recipes import RecipeError, run_recipe
from generator.run_folder import RECORD, read_record
from simulation.tasks import get_task
from tests.generator.conftest import PointMasses

TASK = get_task("KITCHEN_SCENE10_close_the_top_drawer_of_the_cabinet")
CONFIG = GeneratorConfig(
    discover=DiscoverConfig(steps=600),
    learn=LearnConfig(steps=600, hidden=(128, 128), ema_decay=0.99),
    reinforce=ReinforceConfig(
        iterations=2, episodes=12, evaluate_every=1, evaluation_episodes=3, epochs=2
    ),
    evaluation_episodes=6,
)


def test_dlr(tmp_path: Path, demonstrations: list[Demonstration]) -> None:
    result = run_recipe("dlr", TASK, PointMasses(), demonstrations, CONFIG, tmp_path)
    assert result.reports["discover"]["mutual_information_with_ways"] >= 0.8
    assert len(result.reports["reinforce"]["held_out_success"]) == 3
    assert result.encoder is not None and result.policy.patterns == 3
    record = json.loads((tmp_path / "learn" / "record.json").read_text())
    assert record["settings"]["config"]["learn"]["steps"] == 600
    assert record["versions"]["torch"] == torch.__version__.split("+")[0]
    untouched = PointMasses()
    again = run_recipe("dlr", TASK, untouched, demonstrations, CONFIG, tmp_path)
    assert untouched.steps == 0
    assert policy_hash(again.policy) == policy_hash(result.policy)
    assert again.reports == result.reports


def test_o2o_rl_has_no_pattern(tmp_path: Path, demonstrations: list[Demonstration]) -> None:
    result = run_recipe("o2o_rl", TASK, PointMasses(), demonstrations, CONFIG, tmp_path)
    assert result.encoder is None and result.policy.patterns == 0
    assert set(result.reports) == {"learn", "reinforce"}
    other = dataclasses.replace(CONFIG, learn=LearnConfig(steps=700))
    with pytest.raises(RecipeError, match="other settings"):
        run_recipe("o2o_rl", TASK, PointMasses(), demonstrations, other, tmp_path)
    first = demonstrations[0]
    seen_otherwise = dataclasses.replace(first, observations=first.observations + 1e-6)
    changed = [seen_otherwise, *demonstrations[1:]]
    with pytest.raises(RecipeError, match="or demonstrations"):
        run_recipe("o2o_rl", TASK, PointMasses(), changed, CONFIG, tmp_path)


def test_a_damaged_record_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "learn" / RECORD
    write_sealed(path, {"settings": {}, "versions": {}, "report": {"held_out": 0.5}})
    assert read_record(tmp_path, "learn")["report"] == {"held_out": 0.5}
    path.write_text(path.read_text().replace("0.5", "0.6"))
    with pytest.raises(CheckpointError, match=r"record\.json is damaged .* runs the stage again"):
        read_record(tmp_path, "learn")
    write_sealed(path, {"settings": {}, "report": {}})
    with pytest.raises(CheckpointError, match="lacks versions"):
        read_record(tmp_path, "learn")


def test_bad_input(tmp_path: Path, demonstrations: list[Demonstration]) -> None:
    with pytest.raises(RecipeError, match="choose one of dlr, o2o_rl"):
        run_recipe("drl", TASK, PointMasses(), demonstrations, CONFIG, tmp_path)
    with pytest.raises(DemonstrationError, match="no demonstrations"):
        run_recipe("dlr", TASK, PointMasses(), [], CONFIG, tmp_path)
