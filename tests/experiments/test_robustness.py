"""Policies of two recipes under perturbation: run for real once, and compared by task."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from common.errors import DlrError
from experiments.robustness import page, rates, read_results, robustness
from generator.checkpoints import save_policy
from generator.policies.gaussian import GaussianPolicy
from generator.recipes import get_recipe
from generator.run_folder import RunFolder
from simulation.assets.resolve import resolve_assets
from simulation.environment import Environment
from simulation.tasks import get_task

TASK = "libero_90/KITCHEN_SCENE10_close_the_top_drawer_of_the_cabinet"


def result(task: str, recipe: str, control: int, layout: int, seed: int = 0) -> dict[str, Any]:
    arm = {
        "axes": "layout", "level": 3, "control": control, "successes": layout,
        "kept": min(control, layout), "pairs": 20,
    }  # fmt: skip
    what = {"starts": 20, "assets": {"name": "embedded"}, "commit": "x"}
    return {"task": task, "recipe": recipe, "seed": seed, "arms": [arm], **what}


def test_policies_are_evaluated_and_told(tmp_path: Path) -> None:
    task, run = get_task(TASK), RunFolder(tmp_path / "run")
    environment = Environment(task, resolve_assets(Path("embedded")))
    for recipe, patterns in (("dlr", 3), ("o2o_rl", 0)):
        torch.manual_seed(0)
        policy = GaussianPolicy(len(environment.policy_state_names), patterns, (8,))
        last = run.policies(task, recipe, 0) / get_recipe(recipe).stages[-1].name
        save_policy(last / "policy.safetensors", policy, {})
    out, told = tmp_path / "results", tmp_path / "page.md"
    shape: dict[str, Any] = {
        "axes": "objects",
        "levels": "1",
        "starts": 1,
        "assets": Path("embedded"),
    }
    with pytest.raises(DlrError, match="2 of 4 tasks failed"):
        robustness((TASK,), (0, 1), run=run.root, out=out, page_file=told, workers=1, **shape)
    assert [one["recipe"] for one in read_results(out)] == ["dlr", "o2o_rl"]
    robustness(out=out, page_file=told, report=True)
    assert "| objects 1 | 1 | 0.0% | 0.0% | +0.0 | +0.0 |" in told.read_text()


def test_what_is_lost_is_compared_by_task() -> None:
    results = [
        *(result(f"s/{i}", "dlr", 20, 18) for i in range(6)),
        *(result(f"s/{i}", "o2o_rl", 20, 12) for i in range(6)),
        result("s/0", "dlr", 0, 0, seed=1),  # O2O-RL has no such seed
    ]
    assert rates(results)[("layout", 3)]["dlr"]["s/0"] == 0.9
    text = page(results)
    change = "-40.0 | -10.0 | +30.0 (+30.0 to +30.0)"
    assert f"| layout 3 | 6 | 60.0% | 90.0% | {change} | 0.031 |" in text


def test_a_change_is_of_the_trainings_that_have_the_condition() -> None:
    results = [
        result("s/0", recipe, *counts, seed)
        for recipe in ("dlr", "o2o_rl")
        for seed, counts in enumerate([(20, 10), (6, 4)])
    ]
    for one in results:
        one["arms"][0]["level"] = 1 + 2 * one["seed"]
    text = page([*results, result("s/1", "dlr", 20, 0)])
    assert "| control | 1 | 65.0% | 65.0% |" in text
    assert "| layout 1 | 1 | 50.0% | 50.0% | -50.0 | -50.0 |" in text
    assert "| layout 3 | 1 | 20.0% | 20.0% | -10.0 | -10.0 |" in text


def test_starts_that_could_not_be_placed_are_told() -> None:
    results = [result("s/cup", recipe, 20, 18) for recipe in ("dlr", "o2o_rl")]
    for one in results:
        one["arms"].append({**one["arms"][0], "axes": "robot", "control": 2, "pairs": 4})
        one["arms"].append({**one["arms"][0], "axes": "objects", "pairs": 0})
    text = page([*results[::-1]])
    assert "| control | 1 | 100.0% | 100.0% |" in text
    assert "objects" not in text.split("Where a start")[0]
    assert "on\nthese: robot 3 of cup: 4 of 20; objects 3 of cup: 0 of 20.\n" in text


def test_one_recipe_alone_is_an_error() -> None:
    with pytest.raises(DlrError, match="both recipes"):
        page([result("s/0", "dlr", 20, 18)])
