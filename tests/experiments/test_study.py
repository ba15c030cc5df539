"""The study on one task with tiny trainings, every link for real."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from demonstrations.config import DemonstrationConfig
from experiments.study import CONTROLS, RECIPES, TASKS, plan_study, study
from experiments.study_results import read_results
from generator.config import (
    BudgetConfig,
    CollectConfig,
    DiscoverConfig,
    EvaluationConfig,
    FilterConfig,
    GeneratorConfig,
    LearnConfig,
    ReinforceConfig,
)
from generator.recipes import RECIPES as ALL
from generator.run_folder import RunFolder
from generator.work.plan import Settings
from simulation.assets.resolve import embedded_pack
from simulation.tasks import get_task
from tests.generator.work.plans import check_none_in_anothers_way

DRAWER = "libero_90/KITCHEN_SCENE10_close_the_top_drawer_of_the_cabinet"
ROOT = Path(__file__).resolve().parents[2]
TINY = GeneratorConfig(
    discover=DiscoverConfig(steps=5),
    learn=LearnConfig(hidden=(8,), steps=4),
    reinforce=ReinforceConfig(
        BudgetConfig(steps=200, short_steps_each=200), iterations=1, episodes=1, warmup_episodes=1,
        critic_warmup=1, evaluation_episodes=1,
    ),
    evaluation=EvaluationConfig(episodes=1),
    filtered=FilterConfig(episodes=1, wave=3),
)  # fmt: skip


def test_what_is_registered_is_what_is_run() -> None:
    registered = (ROOT / "docs" / "study.md").read_text()
    assert len(set(TASKS)) == 12 and all(f"`{task}`" in registered for task in TASKS)
    assert all(f"`{recipe}`" in registered for recipe in (*RECIPES, *CONTROLS))
    assert set(RECIPES + CONTROLS) <= set(ALL)


def test_seeds_go_one_after_the_other_with_controls_at_the_end(tmp_path: Path) -> None:
    shown, collect = DemonstrationConfig(2, "scripted"), CollectConfig()
    settings = Settings(RECIPES, (0, 1), shown, TINY, collect, collect)
    tasks = [get_task(task) for task in TASKS[:2]]
    plan = plan_study(RunFolder(tmp_path), tasks, settings, CONTROLS, embedded_pack(), tmp_path)
    check_none_in_anothers_way(plan)
    whats = [item.what for item in plan.items]
    first, second = whats.index("dlr seed 0"), whats.index("dlr seed 1")
    assert max(i for i, what in enumerate(whats) if what == "dlr seed 0") < second
    assert first < whats.index("measures of dlr seed 0") < second
    assert whats.index("dlr_shuffled seed 0") > second
    assert whats[-1] == "measures of o2o_rl seeds (0, 1) pooled"


def test_a_task_is_trained_measured_and_told(tmp_path: Path) -> None:
    out, told = tmp_path / "results", tmp_path / "results.md"
    arguments: dict[str, Any] = {
        "tasks": (DRAWER,), "seeds": (0,), "controls": False, "run": tmp_path / "run", "out": out,
        "page_file": told, "episodes_per_way": 3, "assets": Path("embedded"), "train": TINY,
        "collect": CollectConfig(episodes=3, maximum_attempts=1, require_all=False),
    }  # fmt: skip
    study(**arguments)
    found = {result.recipe: result for result in read_results(out)}
    assert set(found) == set(RECIPES)
    dlr = found["dlr"]
    assert dlr.final == "reinforce" and dlr.stages["learn"].collected[0].n == 1
    assert len(dlr.stages["reinforce"].success) == 3 and dlr.seconds > 0
    assert dlr.demonstrations.episodes == 9 and dlr.provenance["collect"]["episodes"] == 3
    assert f"`{DRAWER}`" in told.read_text()
    before = told.read_text()
    study(**arguments)
    assert told.read_text() == before
