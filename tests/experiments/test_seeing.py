"""Policies that see under perturbation: trained and evaluated for real once, and their page."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from common.errors import DlrError
from experiments.seeing import TRAIN, conditions, control, curves, page, seeing
from generator.run_folder import RunFolder
from simulation.tasks import get_task

TASK = "libero_90/KITCHEN_SCENE10_close_the_top_drawer_of_the_cabinet"
SPOILT = "libero_goal/turn_on_the_stove"


def result(task: str, kept: dict[tuple[str, int], int], succeeded: int = 20) -> dict[str, Any]:
    arms = [
        {
            "axes": axis,
            "level": level,
            "control": succeeded,
            "successes": count,
            "kept": count,
            "pairs": 20,
        }
        for (axis, level), count in kept.items()
    ]
    what = {"starts": 20, "assets": {"name": "embedded"}, "commit": "x", "machine": {"cpu": "y"}}
    return {"task": task, "arms": arms, **what}


RESULTS = [
    *(result(f"s/{i}", {("noise", 3): 10, ("noise", 1): 20}) for i in range(6)),
    result("s/weak", {("noise", 3): 0, ("noise", 1): 0}, succeeded=0),
]


def test_they_are_evaluated_and_told_and_one_that_fails_stops_no_other(tmp_path: Path) -> None:
    observe = replace(
        TRAIN.observe, encoder="resnet18", weights="none", train_encoder="learn", size=32,
        features=4, steps=1, batch_size=4,
    )  # fmt: skip
    settings = replace(
        TRAIN,
        observe=observe,
        discover=replace(TRAIN.discover, steps=50),
        learn=replace(TRAIN.learn, steps=50),
        evaluation=replace(TRAIN.evaluation, episodes=1),
    )
    told, run = tmp_path / "seeing.md", RunFolder(tmp_path / "run")
    spoilt = run.demonstrations(get_task(SPOILT))
    spoilt.parent.mkdir(parents=True)
    spoilt.write_bytes(b"no demonstrations")
    with pytest.raises(DlrError, match=f"not cloned: {SPOILT};"):
        seeing(
            (SPOILT, TASK), "noise", "1", 1, run.root, tmp_path / "results", told, workers=1,
            settings=settings, episodes_per_way=2,
        )  # fmt: skip
    first = told.read_bytes()
    assert b"| noise 1 | " in first
    with Image.open(tmp_path / "seeing.png") as picture:
        assert picture.width > 100
    seeing(out=tmp_path / "results", page_file=told, report=True)
    assert told.read_bytes() == first


def test_success_kept_is_of_tasks_whose_control_succeeds() -> None:
    (curve,) = curves(conditions(RESULTS)).values()
    assert curve.levels == (1, 3)
    assert [share for share, _, _ in curve.kept] == [1.0, 0.5]


def test_successes_that_a_change_brings_do_not_count_as_kept() -> None:
    one = result("s/0", {("light", 1): 16}, succeeded=12)
    one["arms"][0]["kept"] = 9
    (curve,) = curves(conditions([one])).values()
    assert curve.kept[0][0] == 0.75


def test_a_condition_stands_beside_the_control_on_its_own_starts_and_tasks() -> None:
    few = result("s/few", {("noise", 3): 5, ("robot", 1): 4}, succeeded=10)
    few["arms"][1] |= {"control": 8, "pairs": 16}
    none = result("s/none", {("noise", 3): 5, ("robot", 1): 0}, succeeded=15)
    none["arms"][1] |= {"control": 0, "kept": 0, "pairs": 0}
    text = page([none, few], "seeing.png")
    assert control([none, few]) == {"s/none": 0.75, "s/few": 0.5}
    assert "| control | 2 | 62.5% |  | 50% (few) |" in text
    assert "| robot 1 | 1 | 25.0% | 50.0% | 25% (few) | -25.0 |" in text
    assert "robot 1 of none: 0 of 20; robot 1 of few: 16 of 20." in text
    none["arms"] = none["arms"][1:]
    with pytest.raises(DlrError, match="s/none: no start could be placed"):
        page([none], "seeing.png")


def test_the_page_has_the_worst_task_beside_the_mean() -> None:
    text = page(RESULTS, "seeing.png")
    assert "| control | 7 | 85.7% |  | 0% (weak) |" in text
    assert "| noise 3 | 7 | 42.9% | 85.7% | 0% (weak) | -42.9 (-50.0 to -" in text


def test_no_results_are_an_error() -> None:
    with pytest.raises(DlrError, match="run this without --report"):
        page([], "seeing.png")
