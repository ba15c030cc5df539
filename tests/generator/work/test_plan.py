"""The order of a run's work items: shared stages come first, and once."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from demonstrations.config import DemonstrationConfig
from generator.config import CollectConfig, GeneratorConfig
from generator.recipes import RECIPES
from generator.run_folder import RunFolder
from generator.work.plan import Plan, Settings, plan_task
from simulation.assets.resolve import AssetPack
from simulation.tasks import get_task
from tests.generator.work.plans import check_none_in_anothers_way

TASK = get_task("KITCHEN_SCENE10_close_the_top_drawer_of_the_cabinet")
PACK = AssetPack("none", Path(), "0" * 64)
SETTINGS = Settings(
    ("dlr", "o2o_rl"), (0, 1), DemonstrationConfig(), GeneratorConfig(), CollectConfig(), None
)


def planned(*recipes: str) -> tuple[list[str], list[tuple[int, ...]]]:
    """Return what is done in which order, and after which others."""
    plan = Plan()
    plan_task(plan, RunFolder(Path("run")), TASK, replace(SETTINGS, recipes=recipes), PACK)
    return [item.what for item in plan.items], [tuple(after) for after in plan.after.items]


def test_every_training_comes_after_the_demonstrations() -> None:
    names, after = planned("dlr", "o2o_rl")
    assert names == ["demonstrations"] + [
        f"{recipe} seed {seed}" for seed in (0, 1) for recipe in ("dlr", "o2o_rl")
    ]
    assert after == [(), (0,), (0,), (0,), (0,)]


def test_a_stage_of_several_recipes_is_an_item_of_its_own() -> None:
    names, after = planned("o2o_rl", "dlr", "clone")
    assert names[:5] == [
        "demonstrations", "learn of o2o_rl seed 0", "o2o_rl seed 0", "dlr seed 0", "clone seed 0"
    ]  # fmt: skip
    assert after[:5] == [(), (0,), (1,), (0,), (1,)]
    assert names[5:6] == ["learn of o2o_rl seed 1"] and after[5:6] == [(0,)]


def test_no_stage_is_trained_by_two_items_at_once() -> None:
    plan = Plan()
    plan_task(plan, RunFolder(Path("run")), TASK, replace(SETTINGS, recipes=tuple(RECIPES)), PACK)
    check_none_in_anothers_way(plan)


def test_rounds_of_one_task_are_not_in_each_others_way() -> None:
    plan = Plan()
    for recipes in (("dlr", "o2o_rl"), ("dlr_shuffled", "filtered_clone")):
        chosen = replace(SETTINGS, recipes=recipes)
        plan_task(plan, RunFolder(Path("run")), TASK, chosen, PACK)
    check_none_in_anothers_way(plan)
    assert [item.what for item in plan.items].count("demonstrations") == 1
