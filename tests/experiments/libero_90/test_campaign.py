"""A campaign plans what is missing, ends in time, and keeps what failed while others go on."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from common.errors import DlrError, StorageError
from common.workers import Outcome
from demonstrations.config import DemonstrationConfig
from experiments.libero_90.__main__ import libero_90
from experiments.libero_90.campaign import Campaign, begins_until
from experiments.libero_90.records import Failure, TaskRecord
from experiments.study import COLLECT, RECIPES
from experiments.study_results import StudyError, read_results
from generator.config import CollectConfig
from generator.run_folder import RunFolder
from generator.work.plan import Settings
from simulation.assets.resolve import embedded_pack
from tests.experiments.libero_90.made_up import TASKS, finish
from tests.experiments.test_study import DRAWER, TINY

SHOWN = DemonstrationConfig(3, "scripted")
SETTINGS = Settings(RECIPES, (0,), SHOWN, TINY, COLLECT, COLLECT)


@dataclass(frozen=True)
class Piece:
    """Stands for a work item in what only asks for its task and name."""

    task: str
    what: str = "dlr seed 0"


def campaign(folder: Path, people: str = "") -> Campaign:
    return Campaign(
        RunFolder(folder / "run"), folder / "results", SETTINGS, embedded_pack(), people
    )


def touch(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()


def test_finished_tasks_are_not_planned_and_begun_ones_come_first(tmp_path: Path) -> None:
    made, (finished, fresh, failed, begun) = campaign(tmp_path), TASKS[:4]
    finish(made.out, finished)
    touch(made.run.demonstrations(failed))
    touch(made.run.demonstrations(begun))
    TaskRecord(made.out, failed.key).note("dlr seed 0", 1.0, Failure("dlr seed 0", "why", ""))
    assert made.left(TASKS[:4]) == [begun, fresh, failed]
    planned = [item.task for item in made.plan(TASKS[:4]).items]
    assert list(dict.fromkeys(planned)) == [begun.key, fresh.key, failed.key]
    assert planned == sorted(planned, key=[begun.key, fresh.key, failed.key].index)


def test_a_task_that_misses_one_recipe_is_planned_whole(tmp_path: Path) -> None:
    made = campaign(tmp_path)
    finish(made.out, TASKS[0])
    (made.out / TASKS[0].key / "o2o_rl" / "seed_0.json").unlink()
    whats = [item.what for item in made.plan(TASKS[:1]).items]
    assert whats == [
        "demonstrations", "dlr seed 0", "o2o_rl seed 0", "measures of dlr seed 0",
        "measures of o2o_rl seed 0",
    ]  # fmt: skip


def test_one_recipe_alone_is_planned_where_it_is_asked_for(tmp_path: Path) -> None:
    settings = replace(SETTINGS, recipes=("dlr",))
    made = replace(campaign(tmp_path), settings=settings)
    finish(made.out, TASKS[0])
    (made.out / TASKS[0].key / "o2o_rl" / "seed_0.json").unlink()
    assert made.left(TASKS[:2]) == [TASKS[1]]
    whats = [item.what for item in made.plan(TASKS[:2]).items]
    assert whats == ["demonstrations", "dlr seed 0", "measures of dlr seed 0"]


@pytest.mark.parametrize(
    ("recipes", "said"), [(("dlr", "mi_shaped"), "dlr, mi_shaped"), ((), "no recipe")]
)
def test_recipes_that_the_scoreboard_does_not_show_are_refused(
    tmp_path: Path, recipes: tuple[str, ...], said: str
) -> None:
    with pytest.raises(StudyError, match=f"cannot train {said} for .*: choose of dlr, o2o_rl"):
        libero_90(recipes=recipes, out=tmp_path, page_file=tmp_path / "page.md")


def test_people_are_mixed_in_where_a_task_has_some(tmp_path: Path) -> None:
    touch(tmp_path / "people" / f"{TASKS[1].name}.json")
    made = campaign(tmp_path, str(tmp_path / "people"))
    shown: list[Any] = [item for item in made.plan(TASKS[:2]).items if item.what[0:3] == "dem"]
    assert [item.item.config.human_demos for item in shown] == ["", str(tmp_path / "people")]
    assert {item.item.config.source for item in shown} == {"scripted"}


def test_no_task_is_begun_after_the_time_but_those_begun_are_ended() -> None:
    may_begin = begins_until(time.monotonic() + 0.2)
    assert may_begin(Piece("a"))  # type: ignore[arg-type]
    time.sleep(0.25)
    assert not may_begin(Piece("b"))  # type: ignore[arg-type]
    assert may_begin(Piece("a", "o2o_rl seed 0"))  # type: ignore[arg-type]


def test_a_full_disk_ends_the_run_and_is_no_task_s_failure(tmp_path: Path) -> None:
    made = campaign(tmp_path)
    note: Any = made._noting("abc")
    full: Outcome[Any] = Outcome(
        0, None, "cannot write to x: No space left on device; make room", 1.0
    )
    with pytest.raises(StorageError, match="make room"):
        note(Piece(TASKS[0].key), full)
    assert not made.out.exists()
    note(Piece(TASKS[0].key), replace(full, error="no success"))
    (failure,) = TaskRecord(made.out, TASKS[0].key).failures()
    assert failure == Failure("dlr seed 0", "no success", "abc")
    finish(made.out, TASKS[0])
    note(Piece(TASKS[0].key, "measures"), Outcome(0, {}, None, 1.0))
    assert TaskRecord(made.out, TASKS[0].key).failures() == []


def test_a_task_is_trained_and_told_one_that_fails_leaves_it_be(tmp_path: Path) -> None:
    """The other task has a person's file that is none, so that it cannot be demonstrated."""
    people, broken = tmp_path / "people", TASKS[1]
    touch(people / f"{broken.name}.json")
    out, page = tmp_path / "results", tmp_path / "libero_90.md"
    arguments: dict[str, Any] = {
        "tasks": (broken.name, DRAWER), "workers": 1, "run": tmp_path / "run", "out": out,
        "page_file": page, "episodes_per_way": 3, "human_demos": str(people), "train": TINY,
        "assets": Path("embedded"),
        "collect": CollectConfig(episodes=3, maximum_attempts=1, require_all=False),
    }  # fmt: skip
    with pytest.raises(DlrError, match="1 pieces of work failed"):
        libero_90(**arguments)
    found = {one.recipe: one for one in read_results(out)}
    assert set(found) == {"dlr", "o2o_rl"} and {one.task for one in found.values()} == {DRAWER}
    assert set(found["dlr"].costs) > {"discover", "reinforce", "collect learn"}
    assert sum(found["dlr"].costs.values()) == pytest.approx(found["dlr"].seconds)
    assert sum("scripted" in way for way in found["dlr"].provenance["demonstrations"]) == 3
    (failure,) = TaskRecord(out, broken.key).failures()
    assert failure.what == "demonstrations" and broken.name in failure.why
    text = page.read_text()
    assert "1 of 90 tasks finished" in text and f"`{broken.name}` | demonstrations |" in text
    times = TaskRecord(out, DRAWER).times()
    assert times.demonstrations > 0 and len(times.seconds) == 5
    libero_90(**{**arguments, "tasks": (DRAWER,), "pictures": False, "minutes": 0})
    assert TaskRecord(out, DRAWER).times() == times and page.read_text() == text
