"""Work items: the same results on a process pool and on Beam."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from common.errors import WorkerError
from common.workers import (
    After,
    Backend,
    Beam,
    Outcome,
    Processes,
    attempt_items,
    beam_options,
    run_items,
)

ITEMS = [f"[{number} ** 2, __import__('os').getpid()]" for number in range(7)]
"""Expressions, evaluated by a function that every process can import: `eval`."""

TWO = ("--direct_num_workers=2", "--direct_running_mode=multi_processing")
"""Options of FnApiRunner with workers that are processes."""


def backends(folder: Path) -> dict[str, Backend]:
    """Return one backend of each kind."""
    options = ("--runner=apache_beam.runners.portability.fn_api_runner.FnApiRunner",)
    return {"processes": Processes(2), "beam": Beam(options, str(folder))}


@pytest.mark.parametrize("name", ["processes", "beam"])
def test_results_come_in_order_from_other_processes(tmp_path: Path, name: str) -> None:
    found = list(run_items(eval, ITEMS, backends(tmp_path)[name], "squaring"))
    assert [square for square, _ in found] == [number**2 for number in range(7)]
    assert os.getpid() not in {process for _, process in found}
    assert not list(tmp_path.iterdir())


def test_failure_on_beam_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(WorkerError, match=r"counting failed.*division by zero") as caught:
        list(run_items(eval, [*ITEMS, "1 / 0"], backends(tmp_path)["beam"], "counting"))
    assert "\n" not in str(caught.value)


def test_beams_options_are_split_at_commas_between_them() -> None:
    json = 'environment_config={"command":"x","env":{"A":"b"}}'
    assert beam_options(f"runner=FlinkRunner,{json},streaming") == (
        "--runner=FlinkRunner", f"--{json}", "--streaming",
    )  # fmt: skip
    assert beam_options("--runner=X") == ("--runner=X",)
    assert beam_options("") == ()


def test_one_worker_of_beam_uses_all_cores_and_downloads_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two items wait for each other; DirectRunner would look for another runner first."""
    monkeypatch.setenv("DLR_CORES", "2")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    both = (
        "open({0!r}, 'x').close() or any(iter(lambda: __import__('os').path.exists({1!r}), True))"
    )
    first, second = str(tmp_path / "first"), str(tmp_path / "second")
    items = [both.format(first, second), both.format(second, first)]
    work = tmp_path / "work"
    work.mkdir()
    assert list(run_items(eval, items, Beam(("--runner=DirectRunner",), str(work)))) == [False] * 2
    assert not list(work.iterdir()) and not (tmp_path / "home").exists()


def test_a_process_that_dies_on_beam_is_replaced(tmp_path: Path) -> None:
    mark, work = str(tmp_path / "mark"), tmp_path / "work"
    work.mkdir()
    dies = f"5 if __import__('os').path.exists({mark!r}) else "
    dies += f"[open({mark!r}, 'x').close(), __import__('os').kill(__import__('os').getpid(), 9)]"
    assert list(run_items(eval, ["4", dies, "6"], backends(work)["beam"], "counting")) == [4, 5, 6]


@pytest.mark.slow
def test_a_process_that_always_dies_on_beam_ends_the_pipeline(tmp_path: Path) -> None:
    always = "__import__('os').kill(__import__('os').getpid(), 9)"
    with pytest.raises(WorkerError, match=r"counting failed.*died \(out of memory\?\)"):
        list(run_items(eval, [always], backends(tmp_path)["beam"], "counting"))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("flags", [(), pytest.param(TWO, marks=pytest.mark.slow)])
def test_a_worker_of_beam_that_dies_is_replaced(tmp_path: Path, flags: tuple[str, ...]) -> None:
    """The parent of an item's process is a worker: the pipeline's own process, or one of two."""
    mark, work = str(tmp_path / "mark"), tmp_path / "work"
    work.mkdir()
    system = "__import__('os')"
    dies = f"5 if {system}.path.exists({mark!r}) else [open({mark!r}, 'x').close(), "
    dies += f"{system}.kill({system}.getppid(), 9), __import__('time').sleep(600)]"
    backend = Beam(("--runner=FnApiRunner", *flags), str(work), workers=1)
    assert list(run_items(eval, ["4", dies, "6"], backend, "counting")) == [4, 5, 6]
    assert not list(work.iterdir())


MIXED = ["2 ** 2", "1 / 0", "__import__('os').kill(__import__('os').getpid(), 9)", "3 ** 2"]
"""Items of which the second fails and the third ends its process."""


@pytest.mark.parametrize("name", ["processes", "beam"])
def test_a_failed_item_and_a_dead_process_leave_the_others_be(tmp_path: Path, name: str) -> None:
    outcomes = list(attempt_items(eval, MIXED, backends(tmp_path)[name], "squaring"))
    outcomes.sort(key=lambda outcome: outcome.index)
    assert [outcome.result for outcome in outcomes] == [4, None, None, 9]
    failed, died = outcomes[1:3]
    assert failed.error == "ZeroDivisionError: division by zero"
    assert "1 / 0" not in failed.error and "Traceback" in failed.details
    assert died.error == "its process died (out of memory?)" and not died.details
    assert [outcome.error for outcome in (outcomes[0], outcomes[3])] == [None, None]
    assert all(outcome.seconds < 60 for outcome in outcomes)


def test_outcomes_come_as_items_end_each_from_a_process_with_one_core(tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    wait = f"any(iter(lambda: __import__('os').path.exists({str(gate)!r}), True))"
    environment = "__import__('common.machine', fromlist=['cores']).cores()"
    outcomes = attempt_items(eval, [wait, environment, "__import__('os').getpid()"], Processes(2))
    first, second = next(outcomes), next(outcomes)
    assert {first.index: first.result, second.index: second.result}.keys() == {1, 2}
    assert first.result == 1 and second.result != os.getpid()
    gate.touch()
    assert next(outcomes).index == 0
    assert not list(outcomes)


def test_an_error_of_ours_is_told_as_it_is() -> None:
    call = "__import__('simulation.tasks', fromlist=['get_task']).get_task('no_such_task')"
    (outcome,) = attempt_items(eval, [call], Processes())
    assert outcome.error and "no_such_task" in outcome.error
    assert "Error:" not in outcome.error and not outcome.details


PARENT = """
import sys
from common.workers import Processes, attempt_items
for outcome in attempt_items(eval, sys.argv[1:], Processes(2)):
    print(outcome.index, outcome.result, flush=True)
"""


def _go_on(items: list[str]) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", PARENT, *items]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def test_killed_in_the_middle_it_goes_on_and_leaves_nothing_running(tmp_path: Path) -> None:
    """An item notes its process, and hangs where the file `hang` has its name."""
    hang = tmp_path / "hang"
    hang.write_text("23")
    items = [
        f"[open('{tmp_path}/{n}', 'x').write(str(__import__('os').getpid()))"
        f" and '{n}' in open('{hang}').read() and __import__('time').sleep(600)]"
        f" if not __import__('os').path.exists('{tmp_path}/{n}') else 'done'"
        for n in range(4)
    ]
    process = _go_on(items)
    while not all((tmp_path / name).exists() for name in "23"):
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    said = process.communicate()[0].splitlines()
    assert sorted(said) == ["0 [False]", "1 [False]"]
    for name in "23":
        _until_gone(int((tmp_path / name).read_text()))
        (tmp_path / name).unlink()
    hang.write_text("")
    process = _go_on(items)
    assert sorted(process.communicate()[0].splitlines()) == [
        "0 done",
        "1 done",
        "2 [False]",
        "3 [False]",
    ]


def test_leaving_ends_the_items_at_work(tmp_path: Path) -> None:
    own = tmp_path / "pid"
    hang = (
        f"open({str(own)!r}, 'w').write(str(__import__('os').getpid()))"
        " and __import__('time').sleep(600)"
    )
    outcomes = attempt_items(eval, [hang, "1"], Processes(2))
    first = next(outcomes)
    assert first == Outcome(1, 1, None, first.seconds)
    while not own.exists() or not own.read_text():
        time.sleep(0.05)
    outcomes.close()  # type: ignore[attr-defined]
    _until_gone(int(own.read_text()))


def _until_gone(process_id: int) -> None:
    for _ in range(200):
        try:
            os.kill(process_id, 0)
        except ProcessLookupError:
            return
        time.sleep(0.05)
    pytest.fail(f"process {process_id} is still running")


@pytest.mark.parametrize("name", ["processes", "beam"])
def test_items_wait_for_others_and_are_left_out_after_failures(tmp_path: Path, name: str) -> None:
    made = tmp_path / "made"
    items = ["1 / 0", f"open({str(made)!r}, 'x').close()", "2", f"len(open({str(made)!r}).read())"]
    items += ["3", "4"]
    none = frozenset[int]()
    after = After([(), (), (0,), (1,), (2,), (0, 3)], [none] * 5 + [frozenset([0])])
    outcomes = attempt_items(eval, items, backends(tmp_path)[name], "waiting", after)
    ended = {outcome.index: outcome for outcome in outcomes}
    assert sorted(ended) == [0, 1, 2, 3, 4, 5]
    assert (ended[3].result, ended[5].result) == (0, 4)
    assert [ended[index].left_out for index in range(6)] == [False, False, True, False, True, False]
    assert ended[4].error == "left out: ZeroDivisionError: division by zero"


def test_an_item_that_takes_too_long_is_ended_and_has_failed(tmp_path: Path) -> None:
    note = str(tmp_path / "process")
    hangs = (
        f"open({note!r}, 'x').write(str(__import__('os').getpid())) and "
        "__import__('time').sleep(600)"
    )
    (outcome,) = attempt_items(eval, [hangs], Processes(1, limit=6.0))
    assert outcome.error == "it took longer than 0.1 minutes" and 6 <= outcome.seconds < 60
    assert outcome.result is None and not outcome.left_out
    if (tmp_path / "process").exists():  # else it was still starting
        _until_gone(int((tmp_path / "process").read_text()))


def test_items_that_may_not_begin_have_no_outcome_and_hold_up_no_other() -> None:
    asked: list[str] = []

    def may_begin(item: str) -> bool:
        asked.append(item)
        return item != "2"

    after = After([(), (), (), (1,)])
    outcomes = attempt_items(
        eval, ["1", "2", "3", "4"], Processes(1, may_begin=may_begin), "", after
    )
    assert [outcome.result for outcome in outcomes] == [1, 3]
    assert "4" not in asked
