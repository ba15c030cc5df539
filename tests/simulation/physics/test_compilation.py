from __future__ import annotations

import os
import subprocess
import sys

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
