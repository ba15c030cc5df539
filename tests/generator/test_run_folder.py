"""Many tasks' demonstrations and trainings as work items."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from common.errors import UsageError
from common.workers import Processes, attempt_items
from demonstrations.config import DemonstrationConfig
from demonstrations.make import DemonstrationItem, demonstrate_item
from generator.config import (
    CollectConfig,
    EvaluationConfig,
    GeneratorConfig,
    LearnConfig,
    ReinforceConfig,
)
from generator.run_folder import RunFolder, TrainingItem, final_record, train_and_collect
from simulation.assets.resolve import embedded_pack
from simulation.recordings.trajectories import TrajectoryFile
from simulation.tasks import get_task

DRAWER = get_task("KITCHEN_SCENE10_close_the_top_drawer_of_the_cabinet")
OTHER = get_task("KITCHEN_SCENE5_close_the_top_drawer_of_the_cabinet")
CONFIG = GeneratorConfig(
    learn=LearnConfig(steps=1000, hidden=(128, 128)),
    reinforce=ReinforceConfig(
        iterations=1, episodes=6, evaluate_every=1, evaluation_episodes=1, epochs=1
    ),
    evaluation=EvaluationConfig(episodes=2),
)


def test_a_task_that_fails_leaves_the_others_be(tmp_path: Path, one_thread: None) -> None:
    run, pack = RunFolder(tmp_path), embedded_pack()
    items = [
        DemonstrationItem(task.key, run.demonstrations(task), config, pack)
        for task, config in (
            (OTHER, DemonstrationConfig(0, human_demos=str(tmp_path))),
            (DRAWER, DemonstrationConfig(2, fresh_share=0)),
        )
    ]
    outcomes = list(attempt_items(demonstrate_item, items, Processes(2)))
    lacking, made = sorted(outcomes, key=lambda outcome: outcome.index)
    assert lacking.error and "has no demonstrations of KITCHEN_SCENE5" in lacking.error
    assert made.error is None
    with TrajectoryFile(run.demonstrations(DRAWER)) as file:
        assert len(file) == made.result
    lacking, training = (
        TrainingItem(
            run, task.key, "o2o_rl", CONFIG, CollectConfig(3, maximum_attempts=40), pack, 6
        )
        for task in (OTHER, DRAWER)
    )
    with pytest.raises(UsageError, match="run `dlr demonstrate` for this task first"):
        train_and_collect(lacking)
    item = pickle.loads(pickle.dumps(training))
    assert train_and_collect(item) == [1, 1, 1]
    record = final_record(run, DRAWER, "o2o_rl", 0)
    assert train_and_collect(item) == [1, 1, 1]
    assert final_record(run, DRAWER, "o2o_rl", 0) == record
    with TrajectoryFile(run.trajectories(DRAWER, "o2o_rl", 0)) as file:
        assert len(file) == 3
