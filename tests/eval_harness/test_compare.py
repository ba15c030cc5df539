"""Comparisons: the numbers, what is left open, and what may not be compared."""

from __future__ import annotations

import dataclasses
import io
import json
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from eval_harness.compare import ComparisonError, compare, compare_folders
from eval_harness.results import ResultsError, load_results
from eval_harness.statistics import mcnemar_test, paired_bootstrap
from reports.evaluation_tables import points, print_comparison
from simulation.recordings.trajectories import Episode, simulator_versions
from tests.eval_harness.folders import BOWL, DRAWER, made_up, write_folder

A = {DRAWER: [True] * 4 + [False] * 16, BOWL: [True] * 10 + [False] * 10}
B = {DRAWER: [True] * 14 + [False] * 6, BOWL: [False] + [True] * 10 + [False] * 9}


def printed(comparison) -> str:
    console = Console(file=io.StringIO(), width=160, record=True)
    print_comparison(comparison, console)
    return console.export_text()


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    root = tmp_path_factory.mktemp("compare")
    return write_folder(root / "a", A), write_folder(root / "b", B)


def test_numbers_are_those_of_the_statistics(folders: tuple[Path, Path]) -> None:
    found = compare_folders(*folders)
    drawer, bowl = found.tasks
    assert (drawer.name, drawer.planned, drawer.pairs) == (DRAWER, 20, 20)
    assert (drawer.baseline_successes, drawer.evaluated_successes) == (4, 14)
    assert drawer.test == mcnemar_test(A[DRAWER], B[DRAWER])
    assert drawer.test is not None and (drawer.test.only_baseline, drawer.test.only_evaluated) == (
        0,
        10,
    )
    assert drawer.difference == paired_bootstrap([A[DRAWER]], [B[DRAWER]])
    assert bowl.test is not None and (bowl.test.only_baseline, bowl.test.only_evaluated) == (1, 1)
    assert bowl.difference is not None and bowl.difference.value == 0
    order = [DRAWER, BOWL]
    assert found.all.difference == paired_bootstrap([A[t] for t in order], [B[t] for t in order])
    assert found.all.difference is not None and found.all.difference.value == pytest.approx(0.25)
    assert {suite.name: suite.planned for suite in found.suites} == {
        "libero_90": 20,
        "libero_goal": 20,
    }
    assert not found.warnings and not found.notes
    assert len(found.discordant) == 12
    assert all(x.key == y.key and x.success != y.success for x, y in found.discordant)


def test_other_tasks_widen_the_interval(folders: tuple[Path, Path]) -> None:
    fixed, drawn = (compare_folders(*folders, resample_tasks=choice) for choice in (False, True))
    assert drawn.tasks == fixed.tasks
    widths = [c.all.difference.high - c.all.difference.low for c in (fixed, drawn)]  # type: ignore[union-attr]
    assert widths[1] > widths[0]


def test_tables_and_json(folders: tuple[Path, Path]) -> None:
    found = compare_folders(*folders)
    text = printed(found)
    for part in ("20.0%", "70.0%", "+50.0", "+25.0", "0.002", "McNemar", "WARNING"):
        assert (part in text) == (part != "WARNING")
    content = json.loads(json.dumps(found.as_dict()))
    assert content["tasks"][DRAWER]["test"]["only_evaluated"] == 10
    assert content["all"]["difference"]["value"] == pytest.approx(0.25)


def test_swapping_turns_the_sign(folders: tuple[Path, Path]) -> None:
    there, back = compare_folders(*folders).all, compare_folders(*folders[::-1]).all
    assert there.difference is not None and back.difference is not None
    assert back.difference.value == -there.difference.value
    assert back.test is not None and there.test is not None
    assert back.test.p_value == there.test.p_value


@pytest.mark.parametrize("gap", [None, "PolicyError: no answer"])
def test_incomplete_data_has_no_difference(tmp_path: Path, gap: str | None) -> None:
    """A missing episode or an error leaves its task and the whole open, not the other task."""
    a = write_folder(tmp_path / "a", A)
    b = write_folder(tmp_path / "b", {**B, BOWL: [*B[BOWL][:-1], gap]})
    found = compare_folders(a, b)
    drawer, bowl = found.tasks
    assert drawer.difference is not None
    assert (bowl.pairs, bowl.planned, bowl.complete) == (19, 20, False)
    assert (bowl.test, bowl.difference, found.all.difference) == (None, None, None)
    text = printed(found)
    assert "incomplete" in text and "1/40 missing" in text
    assert "50.0%" not in text, "a rate of incomplete data"


def test_fewer_episodes_or_tasks_are_a_shared_part(tmp_path: Path) -> None:
    a = write_folder(tmp_path / "a", {DRAWER: A[DRAWER][:5]})
    b = write_folder(tmp_path / "b", B)
    found = compare_folders(a, b)
    assert found.all.complete and found.all.planned == 5 and len(found.tasks) == 1
    assert "35 of 40 planned" in found.notes[0] and "35 of 40 planned" in printed(found)


def test_nothing_in_common(tmp_path: Path) -> None:
    a = write_folder(tmp_path / "a", {DRAWER: [True]})
    b = write_folder(tmp_path / "b", {BOWL: [True]})
    with pytest.raises(ComparisonError, match="no episode in common"):
        compare_folders(a, b)
    with pytest.raises(ResultsError, match="no results folder"):
        compare_folders(a, tmp_path)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"protocol": "openvla_oft"}, "protocol .*openpi and openvla_oft: .*picture_steps"),
        ({"assets": {"name": "hub", "digest": "0" * 64}}, "asset pack .*embedded.* and hub 0000"),
        (
            {"simulator": {**simulator_versions(), "mujoco": "3.4.0"}},
            r"version of mujoco .3\.3\.2 and 3\.4\.0",
        ),
        ({"seed": 1}, "evaluation seed"),
        ({"init_index": 7}, "init states .19 episodes start elsewhere"),
    ],
)
def test_different_evaluations_are_never_compared_silently(
    tmp_path: Path, folders: tuple[Path, Path], change: dict, words: str
) -> None:
    outcomes = {DRAWER: B[DRAWER]}
    other = write_folder(tmp_path / "other", outcomes, **change)
    with pytest.raises(ComparisonError, match=words) as caught:
        compare_folders(folders[0], other)
    assert "--allow-different" in str(caught.value)
    allowed = compare_folders(folders[0], other, allow_different=True)
    assert len(allowed.warnings) == 1
    assert f"WARNING: not the same {allowed.warnings[0]}" in printed(allowed).replace("\n", " ")
    assert allowed.as_dict()["warnings"] == list(allowed.warnings)


def stored(offset: float, fixture: float = 0.0) -> Episode:
    return made_up(np.full((2, 5), offset), fixture)


@pytest.mark.parametrize(("other", "same"), [((0, 0), True), ((0.1, 0), False), ((0, 0.1), False)])
def test_own_starts_are_told_apart_by_what_was_stored(
    tmp_path: Path, other: tuple[float, float], same: bool
) -> None:
    """Episodes without an official init state are the same if state and fixtures are."""
    outcomes = {DRAWER: [True]}
    a, b = (
        write_folder(
            tmp_path / name, outcomes, trajectories={(DRAWER, 0): stored(*start)}, init_index=-1
        )
        for name, start in (("a", (0.0, 0.0)), ("b", other))
    )
    if same:
        assert compare_folders(a, b).all.complete
    else:
        with pytest.raises(ComparisonError, match="init states"):
            compare_folders(a, b)


def test_one_pack_under_two_names_is_one_pack(tmp_path: Path, folders: tuple[Path, Path]) -> None:
    pack = load_results(folders[0]).config["assets"]
    other = write_folder(tmp_path / "other", B, assets={**pack, "name": "local"})
    assert not compare_folders(folders[0], other).warnings


def test_results_in_memory_need_no_folder(folders: tuple[Path, Path]) -> None:
    results = load_results(folders[0])
    moved = dataclasses.replace(results, folder=Path("elsewhere"))
    found = compare(results, moved)
    assert found.all.difference is not None and found.all.difference.value == 0
    assert found.all.difference.high > 0, "equal outcomes leave some doubt"


def test_points() -> None:
    assert [points(x) for x in (0.1234, -0.5, 0.0, -0.0001)] == ["+12.3", "-50.0", "0.0", "0.0"]
