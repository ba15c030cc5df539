"""Results folders: torn lines, other evaluations, errors and incomplete data."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from common.errors import OutputError
from common.json_files import sealed_line, write_sealed
from eval_harness.merging import merge
from eval_harness.protocols import PROTOCOLS
from eval_harness.results import (
    EpisodeResult,
    ResultsError,
    ResultsWriter,
    load_results,
    make_config,
    summarise,
    trajectory_path,
)
from simulation.recordings.trajectories import Episode, TrajectoryFile
from tests.eval_harness.folders import made_up

TASKS = ["libero_goal/open_the_middle_drawer_of_the_cabinet", "libero_goal/turn_on_the_stove"]


def config(protocol: str = "openvla", **changes) -> dict:
    settings = {
        "protocol": PROTOCOLS[protocol],
        "policy": {"kind": "random"},
        "seed": 0,
        "assets": {"name": "embedded-v1", "digest": "abc"},
        "versions": {"mujoco": "3.3.2", "numpy": "2"},
        "tasks": TASKS,
        "episodes": 2,
    }
    return make_config(**{**settings, **changes})


def episode(task: int, number: int, success: bool = True, error: str | None = None):
    return EpisodeResult(TASKS[task], number, number, 7, success, 10, 1.0, error)


def trajectory() -> Episode:
    return made_up(np.arange(6.0).reshape(2, 3))


def write(folder: Path, *results: EpisodeResult, **changes) -> None:
    writer = ResultsWriter(folder, config(**changes))
    for result in results:
        writer.add(result, trajectory())
    writer.close()


def test_what_is_written_is_read(tmp_path: Path) -> None:
    write(tmp_path, episode(1, 0), episode(0, 1, False))
    results = load_results(tmp_path)
    assert results.episodes == [episode(0, 1, False), episode(1, 0)]
    assert results.missing == [(TASKS[0], 0), (TASKS[1], 1)]
    stored = results.trajectory(results.episodes[0])
    assert np.array_equal(stored.states, trajectory().states)
    assert stored.fixtures.names == ("cabinet",)
    with pytest.raises(ResultsError, match="missing"):
        results.trajectory(episode(1, 1))


def test_a_trajectory_is_a_file_of_the_generators_format(tmp_path: Path) -> None:
    write(tmp_path, episode(0, 1))
    path = trajectory_path(tmp_path, TASKS[0], 1)
    with TrajectoryFile(path) as file:
        assert (len(file), file.task.key, file.asset_digest) == (1, TASKS[0], "abc")
        assert file.config["policy"] == {"kind": "random"}
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


def test_a_trajectory_of_the_earlier_format_is_refused_in_words(tmp_path: Path) -> None:
    write(tmp_path, episode(0, 1))
    path = trajectory_path(tmp_path, TASKS[0], 1)
    path.rename(path.with_suffix(".npz"))
    results = load_results(tmp_path)
    with pytest.raises(ResultsError, match=r"1\.npz .*earlier format.*run the evaluation again"):
        results.trajectory(results.episodes[0])


def test_lines_of_before_starts_had_digests_are_read(tmp_path: Path) -> None:
    write(tmp_path, episode(0, 0))
    content = dataclasses.asdict(episode(0, 1))
    del content["start"]
    with (tmp_path / "episodes.jsonl").open("ab") as file:
        file.write(sealed_line(content))
    assert load_results(tmp_path).episodes == [episode(0, 0), episode(0, 1)]


def test_a_torn_last_line_is_dropped_and_the_episode_run_again(tmp_path: Path) -> None:
    write(tmp_path, episode(0, 0), episode(0, 1))
    lines = tmp_path / "episodes.jsonl"
    whole = lines.read_bytes()
    for cut in (1, 20, len(whole) // 2 - 1):
        lines.write_bytes(whole[:-cut])
        assert [r.key for r in load_results(tmp_path).episodes] == [(TASKS[0], 0)]
        writer = ResultsWriter(tmp_path, config())
        assert writer.done == {(TASKS[0], 0)}
        writer.add(episode(0, 1))
        writer.close()
        assert lines.read_bytes() == whole


def test_a_damaged_line_is_named(tmp_path: Path) -> None:
    write(tmp_path, episode(0, 0))
    lines = tmp_path / "episodes.jsonl"
    lines.write_bytes(b"rubbish\n" + lines.read_bytes())
    with pytest.raises(ResultsError, match="jsonl:1 is not an episode"):
        load_results(tmp_path)


def test_a_flipped_bit_of_a_line_or_the_configuration_is_found(tmp_path: Path) -> None:
    write(tmp_path, episode(0, 0), episode(0, 1, False))
    for name, old, new in (
        ("episodes.jsonl", b"false", b"true "),
        ("episodes.jsonl", b'"steps": 10', b'"steps": 11'),
        ("config.json", b'"seed": 0', b'"seed": 1'),
    ):
        whole = (tmp_path / name).read_bytes()
        assert old in whole
        (tmp_path / name).write_bytes(whole.replace(old, new, 1))
        with pytest.raises(ResultsError, match="does not match its sha256"):
            load_results(tmp_path)
        (tmp_path / name).write_bytes(whole)


def test_lines_that_contradict_each_other_are_refused(tmp_path: Path) -> None:
    broken = episode(0, 0, False, "broken")
    write(tmp_path, broken, episode(0, 0), broken, dataclasses.replace(episode(0, 0), seconds=2.0))
    assert load_results(tmp_path).episodes == [episode(0, 0)]
    write(tmp_path, dataclasses.replace(episode(0, 0), steps=11))
    with pytest.raises(ResultsError, match="jsonl:5 contradicts an earlier line of episode 0"):
        load_results(tmp_path)


@pytest.mark.parametrize("plan", [{}, {"tasks": TASKS, "episodes": 10**12}, {"tasks": [1]}])
def test_a_configuration_without_a_plan_is_refused(tmp_path: Path, plan) -> None:
    write_sealed(tmp_path / "config.json", {**config(), "plan": plan})
    with pytest.raises(ResultsError, match="results format"):
        load_results(tmp_path)


@pytest.mark.parametrize(
    "changes",
    [
        {"protocol": "openpi"},
        {"policy": {"kind": "scripted"}},
        {"seed": 1},
        {"assets": {"name": "local", "digest": "abd"}},
        {"versions": {"mujoco": "3.4.0"}},
        {"episodes": 3},
    ],
)
def test_another_evaluation_is_neither_resumed_nor_merged(tmp_path: Path, changes) -> None:
    write(tmp_path / "a", episode(0, 0))
    with pytest.raises(ResultsError, match="holds results of another"):
        write(tmp_path / "a", **changes)
    write(tmp_path / "b", episode(0, 1), **changes)
    with pytest.raises(ResultsError, match="holds results of another"):
        merge([tmp_path / "a", tmp_path / "b"], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_versions_that_decide_nothing_may_differ(tmp_path: Path) -> None:
    write(tmp_path, episode(0, 0))
    write(tmp_path, episode(0, 1), versions={"mujoco": "3.3.2", "numpy": "3"})
    assert len(load_results(tmp_path).episodes) == 2


def test_merging_takes_an_outcome_before_an_error(tmp_path: Path) -> None:
    write(tmp_path / "a", episode(0, 0, False, "broken"), episode(1, 0))
    write(tmp_path / "b", episode(0, 0), episode(0, 1, False), episode(1, 1))
    merged = merge([tmp_path / "a", tmp_path / "b"], tmp_path / "out")
    assert [r.success for r in merged.episodes] == [True, False, True, True]
    assert summarise(merged)["complete"] and merged.config["merged"]
    assert len(merged.trajectory(merged.episodes[0]).actions) == 2
    with pytest.raises(OutputError, match="not empty"):
        merge([tmp_path / "a"], tmp_path / "out")


def test_shards_that_disagree_are_not_merged(tmp_path: Path) -> None:
    write(tmp_path / "a", episode(0, 0))
    write(tmp_path / "b", dataclasses.replace(episode(0, 0), steps=11))
    with pytest.raises(ResultsError, match="disagree on episode 0"):
        merge([tmp_path / "a", tmp_path / "b"], tmp_path / "out")


def test_no_rate_without_complete_data_and_errors_apart(tmp_path: Path) -> None:
    write(tmp_path, episode(0, 0), episode(0, 1, False), episode(1, 0, False, "server died"))
    summary = summarise(load_results(tmp_path))
    first, second = (summary["tasks"][task] for task in TASKS)
    assert (first["rate"], first["successes"], first["done"]) == (0.5, 1, 2)
    assert first["low"] == pytest.approx(0.0945, abs=1e-4)
    assert second["rate"] is None and (second["errors"], second["missing"]) == (1, 1)
    assert summary["all"]["rate"] is None and summary["suites"]["libero_goal"]["rate"] is None
    assert not summary["complete"] and summary["errors"] == {"server died": 1}
    write(tmp_path, episode(1, 0), episode(1, 1))
    summary = summarise(load_results(tmp_path))
    assert summary["complete"] and summary["all"]["rate"] == 0.75 and not summary["errors"]
    json.dumps(summary, allow_nan=False)


def test_a_folder_of_something_else_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ResultsError, match=r"no config\.json"):
        load_results(tmp_path)
    write_sealed(tmp_path / "config.json", {"format_version": 0})
    with pytest.raises(ResultsError, match="results format"):
        load_results(tmp_path)
