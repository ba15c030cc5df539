"""A clone of a task's demonstrations, every link for real, with few steps."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from common.errors import DlrError
from common.json_files import read_sealed
from demonstrations.config import Style
from experiments.clones import TASKS, CloneItem, clone
from generator.config import DiscoverConfig, EvaluationConfig, GeneratorConfig, LearnConfig
from simulation.assets.resolve import embedded_pack
from simulation.tasks import get_task

DRAWER = "libero_90/KITCHEN_SCENE10_close_the_top_drawer_of_the_cabinet"


def test_the_tasks_are_twenty_of_seven_skills() -> None:
    assert len(set(TASKS)) == 20
    predicates = {get_task(task).goal[0][0] for task in TASKS}
    assert predicates >= {"on", "in", "open", "close", "turnon"}


def test_a_clone_is_evaluated_and_written(tmp_path: Path) -> None:
    learn = LearnConfig(hidden=(16,), steps=4, checkpoint_every=2)
    config = GeneratorConfig(
        discover=DiscoverConfig(steps=20), learn=learn, evaluation=EvaluationConfig(episodes=1)
    )
    item = CloneItem(
        DRAWER, 2, Style(), config, embedded_pack(), tmp_path / "work", tmp_path / "out"
    )
    line = clone(item)
    assert line.startswith("one ") and "of 1, " in line and "of 3, " in line
    found = read_sealed(tmp_path / "out" / f"{DRAWER}.json", "a clone", DlrError, "again")
    assert found["demonstrations"] == 6 and len(found["ways"]) == 3
    assert found["clones"]["patterns"]["records"].keys() == {"discover", "learn"}
    assert clone(replace(item)) == line
