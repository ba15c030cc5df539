"""Policies of the user's own code: how they are found, what they are told by, what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from eval_harness.policies import load_policy
from eval_harness.policy import EpisodeKey, Observation, PolicyError
from eval_harness.protocols import PROTOCOLS

CODE = """
import numpy as np
from eval_harness.policy import Policy, Requirements

class Mine(Policy):
    requirements = Requirements(cameras=(), state=(), chunk=2)
    def __init__(self, value="0.5"):
        self.value, self.begun = float(value), []
    def act(self, observations):
        return np.full((len(observations), 2, 7), self.value)
    def reset(self, keys):
        self.begun += keys

def make(value="0.25"):
    return Mine(value)

class Other:
    pass

class Broken(Mine):
    def __init__(self):
        raise OSError("no such checkpoint")
"""
SEEN = Observation(EpisodeKey("libero_goal/x", 0, 0, 1), 0, "")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "own_policy.py"
    path.write_text(CODE)
    return path


def test_class_and_function_of_a_file(file: Path) -> None:
    for name, value in (("Mine", 0.5), ("make", 0.25), ("Mine#value=0.75", 0.75)):
        policy = load_policy(f"{file}:{name}", PROTOCOLS["openpi"])
        policy.reset([SEEN.key])
        assert policy.requirements.chunk == 2
        assert np.array_equal(policy.act([SEEN]), np.full((1, 2, 7), value))


def test_module_in_this_folder(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(file.parent)
    monkeypatch.setattr("sys.path", ["/no/such/folder", *__import__("sys").path])
    policy = load_policy("own_policy:Mine", PROTOCOLS["openpi"])
    assert policy.identity()["code"] == "own_policy:Mine"


def test_other_code_is_another_policy(file: Path) -> None:
    first = load_policy(f"{file}:Mine", PROTOCOLS["openpi"]).identity()
    file.write_text(CODE.replace("0.5", "0.6"))
    second = load_policy(f"{file}:Mine", PROTOCOLS["openpi"]).identity()
    assert first["kind"] == second["kind"] == "Mine" and first["sha256"] != second["sha256"]
    assert "settings" not in first


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("no_such_module:Mine", "neither a kind of policy nor a module 'no_such_module'"),
        ("/no/such/file.py:Mine", "there is no file"),
        ("{file}:Absent", "has no class Absent"),
        ("{file}:Other", "is a Other; it should be"),
        ("{file}:Broken", "cannot be made: OSError: no such checkpoint"),
        ("{file}:Mine#value", "settings are given as"),
        ("{file}:Mine#size=3", "cannot be made: TypeError"),
        ("{bad}:Mine", "needs the module no_such_dependency"),
        ("{wrong}:Mine", "fails: ZeroDivisionError"),
    ],
)
def test_what_is_no_policy_is_refused_in_one_line(file: Path, spec: str, words: str) -> None:
    bad, wrong = file.with_name("own_bad.py"), file.with_name("own_wrong.py")
    bad.write_text("import no_such_dependency\n")
    wrong.write_text("1 / 0\n")
    with pytest.raises(PolicyError, match=words):
        load_policy(spec.format(file=file, bad=bad, wrong=wrong), PROTOCOLS["openpi"])
