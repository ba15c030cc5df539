"""LIBERO-PRO and LIBERO-Plus through the harness: the same results, digest, resuming and report."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from cli.eval_run import Run
from cli.eval_settings import name_suites
from common.errors import AssetError
from eval_harness.compare import ComparisonError, compare_folders
from eval_harness.evaluation import evaluate
from eval_harness.plan import choose_tasks, make_items
from eval_harness.policy import Observation, Policy, Requirements
from eval_harness.protocols import PROTOCOLS, Protocol
from eval_harness.results import load_results
from simulation.assets.resolve import AssetPack, embedded_pack, resolve_assets
from simulation.suites.plus import PLUS_VARIABLE, plus_assets
from simulation.suites.pro import PRO_VARIABLE
from simulation.tasks import SUITES
from tests.simulation.suites.standin import SAID, write_plus, write_pro

KINDS = ("camera", "noise", "language", "layout")


@pytest.fixture(scope="module")
def checkout(tmp_path_factory) -> Path:
    return write_plus(tmp_path_factory.mktemp("plus"), embedded_pack())


@pytest.fixture
def pack(checkout, tmp_path, monkeypatch) -> AssetPack:
    monkeypatch.setenv(PLUS_VARIABLE, str(checkout))
    monkeypatch.setenv(PRO_VARIABLE, str(write_pro(tmp_path / "pro")))
    return resolve_assets(plus_assets(checkout))


def short() -> Protocol:
    horizons = dict.fromkeys(SUITES, 6)
    return dataclasses.replace(PROTOCOLS["openpi"], horizons=horizons, render_size=(48, 48))


class Listener(Policy):
    """Acts on its picture, and keeps what it was told and shown."""

    requirements = Requirements(("agentview",), (), 3, batch=4)

    def __init__(self) -> None:
        self.told: dict[str, str] = {}
        self.shown: dict[str, np.ndarray] = {}

    def act(self, observations: Sequence[Observation]) -> np.ndarray:
        for o in observations:
            self.told[o.key.task] = o.instruction
            self.shown.setdefault(o.key.task, o.images["agentview"])
        means = np.array([o.images["agentview"].mean() for o in observations])
        return np.sin(means)[:, None, None] * np.ones((len(observations), 3, 7)) * 0.3


def test_variants_are_run_resumed_and_compared(pack, tmp_path):
    tasks = choose_tasks((), [f"libero_goal_plus_{kind}" for kind in KINDS])
    tasks += choose_tasks(["libero_goal/open_the_middle_drawer_of_the_cabinet"])
    tasks += choose_tasks((), ["libero_goal_task"])
    first, again = Listener(), Listener()
    results = evaluate(first, short(), tasks, tmp_path / "a", 1, assets=pack)
    assert len(results.episodes) == 6 and not any(r.error for r in results.episodes)
    told = {key.partition("/")[0] + key[-12:]: words for key, words in first.told.items()}
    assert SAID in told.values() and "open the bottom drawer" in told.values()
    assert not any(character.isdigit() for words in told.values() for character in words)
    evaluate(again, short(), tasks, tmp_path / "a", 1, assets=pack)
    assert not again.told  # all was done
    evaluate(again, short(), tasks, tmp_path / "b", 1, assets=pack)
    assert [r.outcome for r in load_results(tmp_path / "b").episodes] == [
        r.outcome for r in results.episodes
    ]
    found = compare_folders(tmp_path / "a", tmp_path / "b")
    assert found.as_dict()
    for task in tasks[:2]:  # another camera and noise are seen
        same = np.array_equal(first.shown[task.key], first.shown[tasks[4].key])
        assert not same
    spoken = first.shown[tasks[2].key]
    assert np.array_equal(spoken, first.shown[tasks[4].key])  # other words are not


def test_another_definition_is_another_episode(checkout, pack, tmp_path, monkeypatch):
    def run(out: str, folder: Path) -> Path:
        monkeypatch.setenv(PLUS_VARIABLE, str(folder))
        tasks = choose_tasks((), ["libero_goal_plus_camera"])
        evaluate(Listener(), short(), tasks, tmp_path / out, 1, assets=pack)
        return tmp_path / out

    other = write_plus(tmp_path / "other", None)
    for file in (other / "libero" / "libero" / "bddl_files" / "libero_goal").glob("*.bddl"):
        file.write_text(file.read_text().replace("the middle layer", "the second layer"))
    first, second = run("a", checkout), run("b", other)
    with pytest.raises(ComparisonError, match="definitions of a published suite"):
        compare_folders(first, second)


def test_any_number_of_rollouts_and_starts_in_turn(pack):
    (layout,) = choose_tasks((), ["libero_goal_plus_layout"])
    (camera,) = choose_tasks((), ["libero_goal_plus_camera"])
    items = make_items(PROTOCOLS["openvla_oft"], [layout, camera], 3)
    assert [i.key.init_index for i in items] == [0, 0, 0, 0, 1, 2]
    assert {i.horizon for i in items} == {300}
    assert len({i.key.seed for i in items}) == 6


def test_the_command_names_folders_and_takes_the_checkouts_assets(checkout, tmp_path, monkeypatch):
    monkeypatch.setenv(PLUS_VARIABLE, "")
    own = name_suites(Run("random", out=tmp_path / "out", libero_plus=checkout))
    assert own == checkout / "libero" / "libero" / "assets"
    other = Run("random", out=tmp_path, libero_plus=checkout, assets=Path("embedded"))
    assert name_suites(other) == Path("embedded")
    assert name_suites(Run("random", out=tmp_path)) is None
    with pytest.raises(AssetError, match=r"Sylvest/LIBERO-plus"):
        name_suites(Run("random", out=tmp_path, libero_plus=write_plus(tmp_path / "bare", None)))
