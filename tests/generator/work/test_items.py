"""Many tasks' demonstrations and trainings as work items."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from common.errors import DemonstrationError, UsageError
from demonstrations.config import DemonstrationConfig
from demonstrations.make import DemonstrationItem, demonstrate_item
from generator.config import (
    BudgetConfig,
    CollectConfig,
    EvaluationConfig,
    GeneratorConfig,
    LearnConfig,
    ReinforceConfig,
)
from generator.run_folder import RunFolder, final_record
from generator.work.items import TrainingItem
from simulation.assets.resolve import embedded_pack
from simulation.recordings.trajectories import TrajectoryFile
from simulation.tasks import get_task

DRAWER = get_task("KITCHEN_SCENE10_close_the_top_drawer_of_the_cabinet")
OTHER = get_task("KITCHEN_SCENE5_close_the_top_drawer_of_the_cabinet")
CONFIG = GeneratorConfig(
    learn=LearnConfig(steps=400, hidden=(64, 64)),
    reinforce=ReinforceConfig(
        BudgetConfig(weak=0),
        iterations=1,
        episodes=3,
        critic_warmup=0,
        evaluate_every=1,
        evaluation_episodes=1,
        epochs=1,
    ),
    evaluation=EvaluationConfig(episodes=1),
)
COLLECT = CollectConfig(3, maximum_attempts=60)


def test_items_do_all_that_their_task_lacks(tmp_path: Path, one_thread: None) -> None:
    run, pack = RunFolder(tmp_path), embedded_pack()
    lacking, made = (
        DemonstrationItem(task.key, run.demonstrations(task), config, pack)
        for task, config in (
            (OTHER, DemonstrationConfig(0, human_demos=str(tmp_path))),
            (DRAWER, DemonstrationConfig(1, fresh_share=0)),
        )
    )
    with pytest.raises(DemonstrationError, match="has no demonstrations of KITCHEN_SCENE5"):
        demonstrate_item(lacking)
    lines = demonstrate_item(pickle.loads(pickle.dumps(made)))
    assert [line.split()[:2] for line in lines] == [
        ["scripted", way] for way in ("left", "right", "low")
    ]
    with TrajectoryFile(run.demonstrations(DRAWER)) as file:
        assert len(file) == 3
    early, training = (
        TrainingItem(
            run, task.key, "o2o_rl", CONFIG, CollectConfig(3, maximum_attempts=60), pack, 6
        )
        for task in (OTHER, DRAWER)
    )
    with pytest.raises(UsageError, match="run `dlr demonstrate` for this task first"):
        early()
    item = pickle.loads(pickle.dumps(training))
    assert item()["kept"] == [1, 1, 1]
    record = final_record(run, DRAWER, "o2o_rl", 0)
    assert item()["kept"] == [1, 1, 1]
    assert final_record(run, DRAWER, "o2o_rl", 0) == record
    with TrajectoryFile(run.trajectories(DRAWER, "o2o_rl", 0)) as file:
        assert len(file) == 3
