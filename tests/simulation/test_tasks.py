from __future__ import annotations

import collections
import io
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest

from common.errors import GoalError, InvalidStateError, UnknownTaskError
from simulation import tasks as registry
from simulation.tasks import SUITES, Task, get_task, import_libero, list_tasks, parse_goal

HORIZONS = {
    "libero_spatial": 220,
    "libero_object": 280,
    "libero_goal": 300,
    "libero_10": 520,
    "libero_90": 400,
}


def test_there_are_130_tasks_with_unique_keys():
    tasks = list_tasks()
    assert len({task.key for task in tasks}) == len(tasks) == 130
    sizes = {suite: len(list_tasks(suite)) for suite in SUITES}
    assert sizes == {name: 90 if name == "libero_90" else 10 for name in HORIZONS}


@pytest.mark.parametrize("suite", sorted(HORIZONS))
def test_order_language_and_files_equal_upstreams(suite):
    import_libero()
    from libero.libero import benchmark

    theirs = benchmark.get_benchmark_dict()[suite]()
    for task in list_tasks(suite):
        other = theirs.get_task(task.index)
        assert (task.name, task.language) == (other.name, other.language)
        place = Path("bddl_files", other.problem_folder, other.bddl_file)
        assert task.bddl_file == registry.libero_root() / place
        assert task.bddl_file.exists()
        assert task.horizon == HORIZONS[suite]


def test_init_states_are_finite_and_equal_what_torch_reads():
    import torch

    for task in list_tasks():
        states = task.init_states()
        assert states.shape[0] == 50 and states.dtype == np.float64
        path = registry.libero_root() / "init_files" / task.suite / f"{task.name}.pruned_init"
        assert np.array_equal(states, torch.load(path, weights_only=False))


def test_a_name_alone_means_libero_90_first():
    shared = "KITCHEN_SCENE3_turn_on_the_stove_and_put_the_moka_pot_on_it"
    assert get_task(shared).suite == "libero_10"
    task = get_task("KITCHEN_SCENE10_close_the_top_drawer_of_the_cabinet")
    assert task.key == "libero_90/KITCHEN_SCENE10_close_the_top_drawer_of_the_cabinet"
    assert get_task(task.key) is task
    assert task.language == "close the top drawer of the cabinet"


def test_an_unknown_task_names_close_matches():
    with pytest.raises(UnknownTaskError) as error:
        get_task("KITCHEN_SCENE10_close_top_drawer_of_the_cabinet")
    assert "KITCHEN_SCENE10_close_the_top_drawer_of_the_cabinet" in str(error.value)
    with pytest.raises(UnknownTaskError, match=r"'qqq'\. `dlr tasks` lists all 130\."):
        get_task("qqq")
    with pytest.raises(UnknownTaskError, match="libero_spatial"):
        list_tasks("libero_spacial")


GOALS = {
    "in": 49,
    "on": 48,
    "close+in": 5,
    "open": 5,
    "close": 4,
    "on+turnon": 4,
    "turnon": 3,
    "in+in": 3,
    "in+on": 2,
    "on+on": 2,
    "close+on": 1,
    "in+open": 1,
    "close+open": 1,
    "turnoff": 1,
    "on+on+turnon": 1,
}
"""Predicates of a goal -> how many of the 130 tasks ask for them."""


def test_goals_of_all_tasks_are_what_upstream_parses():
    import_libero()
    from libero.libero.envs.bddl_utils import robosuite_parse_problem

    kinds: collections.Counter[str] = collections.Counter()
    for task in list_tasks():
        theirs = robosuite_parse_problem(str(task.bddl_file))["goal_state"]
        assert task.goal == tuple(map(tuple, theirs))
        kinds["+".join(sorted(predicate for predicate, *_ in task.goal))] += 1
    assert kinds == GOALS


def test_a_goal_names_its_predicate_first_and_is_read_once():
    task = get_task("KITCHEN_SCENE1_open_the_bottom_drawer_of_the_cabinet")
    assert task.goal == (("open", "wooden_cabinet_1_bottom_region"),)
    assert task.goal is task.goal
    assert Task(task.suite, task.index, task.name) == pickle.loads(pickle.dumps(task)) == task


def test_nested_conjunctions_are_flattened_in_order():
    goal = "(define (:goal (And (On A_1 b_1) ; as (not (seen))\n (and (In c_1 d) (Open e)))))"
    assert parse_goal(goal) == (("on", "a_1", "b_1"), ("in", "c_1", "d"), ("open", "e"))
    assert parse_goal("(define (:goal (Open e)))") == (("open", "e"),)


@pytest.mark.parametrize(
    "definition",
    [
        "",
        "(define (:goal (open e))",
        "(define (:goal (open e))))",
        "(define) (:goal (open e))",
        "define",
        "(define (:init (open e)))",
        "(define (:goal))",
        "(define (:goal ()))",
        "(define (:goal (and)))",
        "(define (:goal and))",
        "(define (:goal (open)))",
        "(define (:goal (and open e)))",
        "(define (:goal (not (open e))))",
        "(define (:goal (and (open e) (or (open f) (open g)))))",
        "(define (:goal (forall (?a - bowl) (open ?a))))",
        "(define (:goal (open e)) (:goal (open f)))",
        "(" * 100_000,
    ],
)
def test_a_goal_that_is_no_plain_conjunction_is_refused(definition):
    with pytest.raises(GoalError):
        parse_goal(definition)


def test_a_goal_names_the_definition_that_is_at_fault(tmp_path, monkeypatch):
    monkeypatch.setattr(registry, "libero_root", lambda: tmp_path)
    task = Task("libero_90", 0, "made_up")
    with pytest.raises(UnknownTaskError, match="libero_90/made_up"):
        _ = task.goal
    task.bddl_file.parent.mkdir(parents=True)
    task.bddl_file.write_text("(define (:goal (not (open e))))")
    with pytest.raises(GoalError, match=r"made_up\.bddl: .*conjunction"):
        _ = task.goal


class _Malicious:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self):
        return (Path.touch, (self.marker,))


def _task_with_init_file(folder: Path, content: bytes, monkeypatch) -> Task:
    task = Task("libero_90", 0, "made_up")
    path = folder / "init_files" / task.suite / f"{task.name}.pruned_init"
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    monkeypatch.setattr(registry, "libero_root", lambda: folder)
    return task


def _archive(pickled: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("archive/data.pkl", pickled)
    return buffer.getvalue()


def test_a_malicious_pickle_is_not_executed(tmp_path, monkeypatch):
    marker = tmp_path / "executed"
    content = _archive(pickle.dumps(_Malicious(marker)))
    task = _task_with_init_file(tmp_path, content, monkeypatch)
    with pytest.raises(InvalidStateError, match="not allowed"):
        task.init_states()
    assert not marker.exists()


@pytest.mark.parametrize(
    "content",
    [
        b"not a zip file",
        _archive(b""),
        _archive(pickle.dumps([1.0, 2.0])),
        _archive(pickle.dumps(np.full((2, 3), np.nan))),
        _archive(pickle.dumps(np.zeros((50, 3))))[:100],
        _archive(pickle.dumps(np.zeros((49, 3)))),
        _archive(pickle.dumps(np.zeros(50))),
        _archive(pickle.dumps(np.full((50, 3), "1.5"))),
        _archive(pickle.dumps(np.full((50, 3), None))),
        _archive(pickle.dumps(np.zeros((50, 3)))[:-20] + b"."),
        _archive(b"c_codecs\nencode\n(Va\nVno such encoding\ntR."),
        _archive(b"I12\nK\x00\x85R."),
        _archive(bytes(2**26 + 1)),
    ],
    ids=[
        "no archive",
        "empty",
        "a list",
        "not finite",
        "cut off",
        "a row missing",
        "one row",
        "text",
        "objects",
        "a cut pickle",
        "an unknown encoding",
        "a pickle of nonsense",
        "too large",
    ],
)
def test_a_broken_init_file_is_one_clear_error(content, tmp_path, monkeypatch):
    task = _task_with_init_file(tmp_path, content, monkeypatch)
    with pytest.raises(InvalidStateError, match=r"made_up\.pruned_init"):
        task.init_states()
