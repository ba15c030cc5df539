"""The command line as a user meets it: quick help, one clear line for each mistake."""

from __future__ import annotations

import importlib.metadata
import os
import subprocess
import sys
from pathlib import Path

import pytest

from cli.main import COMMANDS, EXIT_UNREAD, main
from common.machine import instruction_sets
from tests.cli.refused import refused

HEAVY = {"torch", "mujoco", "tensorflow", "numpy", "tyro"}
TASK = "KITCHEN_SCENE10_close_the_top_drawer_of_the_cabinet"


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; from cli.main import main; main(['--help']); "
        "print('\\n'.join(sys.modules), file=sys.stderr)"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert all(f"\n  {name} " in result.stdout for name in COMMANDS)
    assert not HEAVY & set(result.stderr.split())


@pytest.mark.parametrize("before", ["os", "numpy"])
def test_instructions_are_pinned_before_the_libraries_load_and_not_after(before: str) -> None:
    """Later it would be without effect here, and let processes that this one starts differ."""
    code = (
        f"import contextlib, os, {before}; from cli.main import main\n"
        "with contextlib.suppress(SystemExit): main(['train', '--help'])\n"
        "print('ATEN_CPU_CAPABILITY' in os.environ)"
    )
    environment = {k: v for k, v in os.environ.items() if k not in instruction_sets()}
    command = [sys.executable, "-c", code]
    result = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    pinned = before == "os" and bool(instruction_sets())
    assert result.stdout.splitlines()[-1] == str(pinned)


@pytest.mark.parametrize(
    ("argument", "words"), [("--help", "usage: dlr COMMAND"), ("--version", "dlr-vla ")]
)
def test_it_runs_as_a_module(argument: str, words: str) -> None:
    command = [sys.executable, "-m", "cli.main", argument]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert result.stdout.startswith(words)
    assert importlib.metadata.version("dlr-vla") in result.stdout or argument == "--help"


@pytest.mark.parametrize("name", COMMANDS)
def test_help_of_a_command_imports_no_simulator_or_learner(name: str) -> None:
    code = (
        "import sys; from cli.main import main\n"
        f"try: main([{name!r}, '--help'])\n"
        "finally: print('\\n'.join(sys.modules), file=sys.stderr)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.returncode == 0
    assert result.stdout.startswith(f"usage: dlr {name}")
    assert not {"torch", "mujoco", "tensorflow"} & set(result.stderr.split())


def failure(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Run a command that must fail and return the one line that it prints."""
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    errors = capsys.readouterr().err.splitlines()
    assert caught.value.code == 2
    assert [line.startswith("dlr: ") for line in errors].index(True) == len(errors) - 1
    return errors[-1]


def test_unknown_command_names_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert "did you mean train? `dlr" in failure(capsys, "trian")
    assert "'qqq'. `dlr --help` lists all" in failure(capsys, "qqq")


def test_unknown_task_names_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    message = failure(capsys, "tasks", "KITCHEN_SCENE10_close_the_top_drawer_of_cabinet")
    assert "KITCHEN_SCENE10_close_the_top_drawer_of_the_cabinet" in message


def test_debug_keeps_the_traceback() -> None:
    from common.errors import UnknownTaskError

    with pytest.raises(UnknownTaskError):
        main(["tasks", "no such task", "--debug"])


def test_tasks_lists_all_and_one_suite(capsys: pytest.CaptureFixture[str]) -> None:
    main(["tasks"])
    assert len(capsys.readouterr().out.splitlines()) == 130
    main(["tasks", "--suite", "libero_goal"])
    names = capsys.readouterr().out.splitlines()
    assert len(names) == 10 and all(name.startswith("libero_goal/") for name in names)


def test_tasks_shows_one(capsys: pytest.CaptureFixture[str]) -> None:
    main(["tasks", TASK])
    assert "close the top drawer of the cabinet\n" in capsys.readouterr().out


def test_unwritable_output_is_one_line(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    assert "cannot write to" in failure(capsys, "quickstart", "--out", str(file / "run"))
    assert "cannot write to" in failure(capsys, "assets", "--write", str(file / "pack"))


def test_assets_are_not_written_over_other_files(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "mine").touch()
    assert "is not empty" in failure(capsys, "assets", "--write", str(tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_stages_out_of_order_say_what_comes_first(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    run = ("--run", str(tmp_path))
    assert "`dlr demonstrate`" in failure(capsys, "train", TASK, *run)
    assert "`dlr train`" in failure(capsys, "collect", TASK, *run)
    assert "`dlr collect`" in failure(capsys, "report", *run)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["train", TASK, "--slots", "0"], "--slots is 1 or more, not 0"),
        (["collect", TASK, "--slots", "-1"], "--slots is 1 or more, not -1"),
        (["generate", TASK, "--slots", "0"], "--slots is 1 or more, not 0"),
        (["generate", TASK, "--seeds", ""], "--seeds names none"),
        (["generate", TASK, "--recipes", ","], "--recipes names none"),
    ],
)
def test_a_mistake_is_told_before_anything_is_made(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert message in refused(words, tmp_path, capsys)


def test_interruption_says_how_to_go_on(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(suite: str | None) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("simulation.tasks.list_tasks", interrupt)
    with pytest.raises(SystemExit) as caught:
        main(["tasks"])
    assert caught.value.code == 130
    assert "goes on where it stopped" in capsys.readouterr().err


def test_a_reader_that_has_enough_is_no_fault() -> None:
    """As in `dlr tasks | head -1`; 141 is what a shell gives for it."""
    command = [sys.executable, "-m", "cli.main", "tasks"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == EXIT_UNREAD
