"""One writer at a time: the second is told of the first, and no dead process stands in the way."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from common.errors import BusyError, OutputError
from common.locks import lock_file, lock_folder

ROOT = Path(__file__).resolve().parents[2]
HOLD = """
import sys
from pathlib import Path
from common.locks import lock_folder
lock = lock_folder(Path(sys.argv[1]))
print("locked", flush=True)
sys.stdin.read()
"""
CONTEND = """
import os, sys, time
from pathlib import Path
from common.errors import BusyError
from common.locks import lock_file
output, counter = Path(sys.argv[1]), Path(sys.argv[2])
done = 0
while done < 25:
    try:
        with lock_file(output):
            number = int(counter.read_text())
            time.sleep(0.0005)
            counter.write_text(str(number + 1))
            done += 1
    except BusyError:
        pass
"""


def start(code: str, *arguments: Path) -> subprocess.Popen[str]:
    """Run code that imports the product in a Python of its own."""
    command = [sys.executable, "-c", code, *map(str, arguments)]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, cwd=ROOT, stdin=pipe, stdout=pipe, text=True)


def hold(folder: Path) -> subprocess.Popen[str]:
    """Start a process that has locked a folder."""
    process = start(HOLD, folder)
    assert process.stdout is not None and process.stdout.readline() == "locked\n"
    return process


def end(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.communicate()


def test_the_second_is_told_of_the_first_in_one_line(tmp_path: Path) -> None:
    process = hold(tmp_path / "out")
    try:
        with pytest.raises(BusyError) as caught:
            lock_folder(tmp_path / "out")
    finally:
        end(process)
    message = str(caught.value)
    assert f"process {process.pid} on " in message and "since 20" in message
    assert f"`-c {tmp_path / 'out'}`" in message and "\n" not in message
    assert pickle.loads(pickle.dumps(caught.value)).status == 75


def test_a_killed_process_is_no_obstacle(tmp_path: Path) -> None:
    process = hold(tmp_path)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert (tmp_path / ".lock").exists()
    with lock_folder(tmp_path), pytest.raises(BusyError, match=f"process {os.getpid()} on"):
        lock_folder(tmp_path)
    assert os.listdir(tmp_path) == []


def test_a_forked_process_does_not_keep_the_lock(tmp_path: Path) -> None:
    lock = lock_file(tmp_path / "x")
    gate, opener = os.pipe()
    child = os.fork()
    if child == 0:
        os.read(gate, 1)
        lock.release()
        os._exit(0)
    lock.release()
    again = lock_file(tmp_path / "x")
    os.write(opener, b"x")
    assert os.waitpid(child, 0)[1] == 0
    with pytest.raises(BusyError):
        lock_file(tmp_path / "x")
    again.release()
    assert os.listdir(tmp_path) == []


def test_threads_exclude_each_other_and_a_forgotten_lock_is_let_go(tmp_path: Path) -> None:
    outcome: list[str] = []

    def ask() -> None:
        try:
            lock_file(tmp_path / "x").release()
        except BusyError as error:
            outcome.append(str(error))

    lock = lock_file(tmp_path / "x")
    thread = threading.Thread(target=ask)
    thread.start()
    thread.join()
    assert len(outcome) == 1
    del lock
    ask()
    assert len(outcome) == 1


def test_no_two_ever_have_it(tmp_path: Path) -> None:
    counter = tmp_path / "counter"
    counter.write_text("0")
    processes = [start(CONTEND, tmp_path / "x", counter) for _ in range(4)]
    assert [process.wait(120) for process in processes] == [0] * 4
    for process in processes:
        process.communicate()
    assert counter.read_text() == "100"
    assert os.listdir(tmp_path) == ["counter"]


def test_what_cannot_be_locked_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="cannot write to"):
        lock_folder(tmp_path / "file" / "x")
