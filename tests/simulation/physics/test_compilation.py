from __future__ import annotations

import os
import subprocess
import sys
import time

import numba
import numpy as np
import pytest

from simulation.environment import Environment
from simulation.physics import control
from simulation.physics.compilation import announce
from simulation.tasks import get_task

TASK = get_task("KITCHEN_SCENE10_close_the_top_drawer_of_the_cabinet")


def test_a_compilation_is_announced_and_a_second_call_is_not(capsys):
    @numba.njit
    def other(x):
        return x + 1

    @numba.njit
    def announced(x):
        return other(x)

    announce(announced, "a sum", 2)
    other(1.0)
    assert capsys.readouterr().err == ""
    assert announced(1) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2
    assert lines[0].startswith("dlr: compiling a sum, once") and "about 2 s" in lines[0]
    assert lines[1].startswith("dlr: compiled a sum in 0 s")
    announced(1)
    assert capsys.readouterr().err == ""


CALLER = """
import sys
from pathlib import Path
import numba
from called import addend
from simulation.physics.compilation import cache_by_sources

@numba.njit(cache=True)
def total(x):
    return x + addend()

cache_by_sources(Path(__file__).parent)
if sys.stdin.readline():
    print(total(1), sum(total.stats.cache_hits.values()))
"""
CALLED = "import numba\n@numba.njit(cache=True)\ndef addend():\n    return {}\n"


def started(folder):
    env = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    env["PYTHONDONTWRITEBYTECODE"] = "1"  # bytecode knows its source by second and size only
    (folder / "caller.py").write_text(CALLER)
    command = [sys.executable, str(folder / "caller.py")]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=env)


def test_what_was_compiled_of_other_sources_is_compiled_again(tmp_path):
    printed = []
    for addend in (2, 2, 5):
        (tmp_path / "called.py").write_text(CALLED.format(addend))
        printed.append(started(tmp_path).communicate("\n")[0].split())
    assert printed == [["3", "0"], ["3", "1"], ["6", "0"]]
    assert len(list((tmp_path / "__pycache__").glob("sources_*"))) == 2


def test_a_process_that_compiles_late_leaves_others_its_own_sources_alone(tmp_path):
    """It has read sources that are others by the time that it compiles."""
    (tmp_path / "called.py").write_text(CALLED.format(2))
    late = started(tmp_path)
    folders = tmp_path / "__pycache__"
    while not list(folders.glob("sources_*")):
        assert late.poll() is None
        time.sleep(0.01)
    (old,) = folders.glob("sources_*")
    (tmp_path / "called.py").write_text(CALLED.format(5))
    assert started(tmp_path).communicate("\n")[0].split() == ["6", "0"]
    assert late.communicate("\n")[0].split() == ["3", "0"]
    os.utime(old, (0, 0))
    assert started(tmp_path).communicate("\n")[0].split() == ["6", "1"]
    assert not old.exists()


def test_what_is_compiled_ahead_is_what_an_environment_calls(pack):
    env = Environment(TASK, pack)
    control.compile_control_step()
    ahead = list(control.control_step.signatures)
    env.step(np.zeros(control.ACTION_DIM))
    assert list(control.control_step.signatures) == ahead
    assert len(ahead) == 1


@pytest.mark.slow
def test_a_fresh_installation_says_that_it_compiles(tmp_path):
    code = "from simulation.physics.control import compile_control_step as c; c()"
    command = [sys.executable, "-c", code]
    environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path)}

    def stderr() -> str:
        run = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        return run.stderr

    assert "dlr: compiling the simulator's control loop" in stderr()
    assert stderr() == ""
