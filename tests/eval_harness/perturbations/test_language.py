"""The language axis: all 130 instructions in other words, and still the same demand."""

from __future__ import annotations

import re

import pytest

from eval_harness.perturbations import wording
from eval_harness.perturbations.language import Language
from simulation.tasks import list_tasks

TASKS = list_tasks()
_SMALL_WORDS = {"the", "of", "on", "in", "to", "it", "and", "both", "is", "are", "at"}


def words(text: str) -> set[str]:
    return set(re.findall(r"[a-z]+", text)) - _SMALL_WORDS


@pytest.mark.parametrize("level", range(1, 6))
def test_every_task_has_several_forms_of_each_level(level: int) -> None:
    for task in TASKS:
        forms = {Language(level).instruction(task.language, task, seed) for seed in range(60)}
        assert len(forms) >= 5, task.key
        assert task.language not in forms
        assert all(re.fullmatch(r"[A-Za-z ,;:.?'-]+", form) for form in forms)


def test_things_and_places_stay_up_to_level_four() -> None:
    for task in TASKS:
        clauses = wording.parse(task.language)
        wanted = set().union(*(words(c.thing) | words(c.place) for c in clauses))
        wanted -= {"front", "from", "center", "them"}
        for level in range(1, 5):
            form = Language(level).instruction(task.language, task, level)
            assert wanted <= words(form), form
        riddle = Language(5).instruction(task.language, task, 0)
        assert not words(riddle) & {"bowl", "cabinet", "ketchup", "stove", "basket", "mug"}


def test_clauses_of_instructions() -> None:
    assert wording.parse("turn on the stove and put the moka pot on it") == (
        wording.Clause("turn on", "the stove"),
        wording.Clause("move", "the moka pot", "on it"),
    )
    assert wording.parse("pick up the black bowl on the stove and place it on the plate") == (
        wording.Clause("move", "the black bowl on the stove", "on the plate"),
    )
    both = wording.parse("put both moka pots on the stove")
    assert wording.outcome(both[0]) == "both moka pots are on the stove"
    with pytest.raises(ValueError, match="no known form"):
        wording.parse("whistle a tune")


def test_control_is_the_task_s_own_instruction() -> None:
    assert all(Language(0).instruction(t.language, t, 5) == t.language for t in TASKS)
