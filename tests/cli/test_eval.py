"""`dlr eval` as a user meets it: runs, shards, what it prints, one line for each mistake."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import pytest

from cli.main import main
from demonstrations.config import DemonstrationConfig
from demonstrations.make import make_demonstrations
from eval_harness.results import Results, load_results
from simulation.assets.resolve import embedded_pack
from simulation.tasks import get_task
from tests.eval_harness.folders import write_folder

TASK = "libero_90/KITCHEN_SCENE10_close_the_top_drawer_of_the_cabinet"


def run(*arguments: str) -> int:
    """Run `dlr eval` and return its status."""
    try:
        main(["eval", *arguments])
    except SystemExit as exit_:
        return int(exit_.code or 0)
    return 0


def test_shards_are_run_merged_and_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    common = ["--tasks", TASK, "--episodes", "2", "--no-preflight"]
    common += ["--assets", str(embedded_pack().path), "--environments", "1"]
    for i in range(2):
        out = str(tmp_path / str(i))
        assert run("run", "scripted", "--out", out, "--shard", f"{i}/2", *common) == 0
    assert "incomplete" in capsys.readouterr().out
    folders = [str(tmp_path / str(i)) for i in range(2)]
    assert run("merge", *folders, "--out", str(tmp_path / "all")) == 0
    assert "100.0% (2/2)" in capsys.readouterr().out
    assert len(load_results(tmp_path / "all").episodes) == 2


def test_comparing_names_the_baseline_first(tmp_path: Path) -> None:
    weak = write_folder(tmp_path / "weak", {TASK: [False] * 9 + [True]})
    strong = write_folder(tmp_path / "strong", {TASK: [True] * 9 + [False]})
    told = tmp_path / "x.json"
    assert run("compare", str(weak), str(strong), "--json", str(told)) == 0
    assert json.loads(told.read_text())["all"]["difference"]["value"] == pytest.approx(0.8)
    report = ["report", str(strong), "--no-videos", "--out", str(tmp_path / "page")]
    assert run(*report, "--baseline", str(weak)) == 0
    page = json.loads((tmp_path / "page" / "report.json").read_text())
    assert page["comparison"]["all"]["difference"]["value"] == pytest.approx(0.8)
    other = write_folder(tmp_path / "other", {TASK: [True] * 10}, protocol="libero")
    assert run("compare", str(weak), str(other)) == 2
    assert run("compare", str(weak), str(other), "--allow-different") == 0


def test_seed_and_starts_reach_the_evaluation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    demonstrations = tmp_path / "demonstrations" / "drawer.hdf5"
    config, pack = DemonstrationConfig(episodes_per_way=1), embedded_pack()
    make_demonstrations(get_task(TASK), demonstrations, config, pack).close()
    asked: dict[str, Any] = {}

    def evaluate(*_: Any, **options: Any) -> Results:
        asked.update(options)
        return load_results(write_folder(tmp_path / "out", {TASK: [True]}))

    monkeypatch.setattr("eval_harness.evaluation.evaluate", evaluate)
    folder = str(demonstrations.parent)
    common = ["run", "random", "--tasks", TASK, "--episodes", "1", "--no-preflight"]
    common += ["--assets", str(pack.path), "--out", str(tmp_path / "out")]
    assert run(*common, "--seed", "3", "--starts", folder) == 0
    assert asked["seed"] == 3 and len(asked["starts"].recordings[TASK]) == 3


def test_a_run_under_perturbation_has_its_control_and_says_what_is_kept(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = str(tmp_path / "arms")
    common = ["run", "scripted", "--tasks", TASK, "--episodes", "1", "--no-preflight", "--out", out]
    common += ["--assets", str(embedded_pack().path), "--environments", "1"]
    assert run(*common, "--perturb", "robot+layout", "--levels", "2") == 0
    control = load_results(tmp_path / "arms" / "control").config
    changed = load_results(tmp_path / "arms" / "layout+robot-2").config
    axes = [entry["axis"] for entry in changed["protocol"]["perturbations"]]
    assert axes == ["layout", "robot"] and "perturbations" not in control["protocol"]
    assert run("report", out) == 0
    assert "layout+robot" in capsys.readouterr().out
    for option in (["--compare-published", "x"], ["--allow-different"], ["--baseline", out]):
        assert run("report", out, *option) == 2
        assert "is compared arm by arm" in capsys.readouterr().err
    assert run(*common) == 2
    assert "give --perturb, too" in capsys.readouterr().err


def test_a_decision_between_results_and_a_seedless_merge(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folders = [
        write_folder(tmp_path / name, {TASK: [won] * 30}, policy={"kind": name})
        for name, won in (("a", False), ("b", True))
    ]
    names = [str(folder) for folder in folders]
    out = str(tmp_path / "decision")
    ignored = ["--episodes", "3", "--tasks", "no_such_task", "--out-of-distribution"]
    assert run("decide", *names, "--out", out, *ignored) == 2
    told = "leave out --tasks, --out-of-distribution, --episodes"
    assert told in capsys.readouterr().err and not Path(out).exists()
    assert run("decide", *names, "--out", out, "--no-preflight", "--threads", "1") == 0
    words = "The evaluated policy is better than the baseline."
    assert words in capsys.readouterr().out
    assert run("report", out) == 0
    assert words in capsys.readouterr().out
    assert run("report", out, "--no-videos") == 2
    assert "printed alone: leave all options away" in capsys.readouterr().err
    again = write_folder(tmp_path / "c", {TASK: [True] * 30}, policy={"kind": "b"}, seed=1)
    assert run("merge", names[1], str(again), "--out", str(tmp_path / "d")) == 2
    assert "--seeds" in capsys.readouterr().err
    assert run("merge", names[1], str(again), "--out", str(tmp_path / "d"), "--seeds") == 0
    assert "100.0% (60/60)" in capsys.readouterr().out


@pytest.mark.parametrize("width", [80, 120])
def test_references_break_between_figures(
    width: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    assert run("reference") == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= width
    assert {line for line in lines if line.startswith(" ")} >= {"  average 76.2%"}
    assert not [line for line in lines if line.strip() in ("%", "average")]
    short = [first for first, then in itertools.pairwise(lines) if "  average" in then]
    wide = "libero_10 53.7%, average 76.5%"
    assert any(wide in line for line in lines) == (width == 120) and len(short) > 5


def test_references_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("reference", "pi0.5") == 0
    text = capsys.readouterr().out
    assert "published by its authors" in text and "rerun by" in text and "openpi" in text
    assert run("reference", "pi9") == 2
    assert "no figures of 'pi9'" in capsys.readouterr().err


def test_shards_of_a_decision_under_perturbation(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    common = ["--tasks", TASK, "--episodes", "2", "--no-preflight", "--environments", "1"]
    common += ["--assets", str(embedded_pack().path), "--protocol", "openpi"]
    common += ["--perturb", "camera", "--levels", "3"]
    outs = [str(tmp_path / f"{i}") for i in range(2)]
    for i, out in enumerate(outs):
        shard = ["--shard", f"{i}/2", "--beside", outs[1 - i]]
        assert run("decide", "random:9", "random:8", "--out", out, *shard, *common) == 0
        told = capsys.readouterr().out
        assert "camera-3: Undecided." in told and ("This share has ended" in told) == (i == 0)
    assert run("merge", *outs, "--out", str(tmp_path / "all")) == 0
    told = capsys.readouterr().out
    assert "after 2 episode(s) of each task" in told and "4 of 4 planned" in told
    assert run("report", str(tmp_path / "all")) == 0
    assert "hold together" in capsys.readouterr().out
    merged = load_results(tmp_path / "all" / "camera-3" / "evaluated")
    assert merged.config["protocol"]["perturbations"][0]["axis"] == "camera"
    assert len(merged.episodes) == 2
    assert run("decide", "random:9", "random:8", "--out", outs[0], *common[:-4]) == 2
    assert "decided with --perturb" in capsys.readouterr().err


@pytest.mark.slow
def test_two_policies_are_run_until_it_is_decided(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    common = ["--tasks", TASK, "--episodes", "30", "--no-preflight", "--environments", "2"]
    common += ["--assets", str(embedded_pack().path), "--protocol", "openpi"]
    command = ["decide", "random:5", "scripted", "--out", str(tmp_path / "d"), *common]
    assert run(*command) == 0
    told = capsys.readouterr().out
    assert "The evaluated policy is better than the baseline." in told and "were saved" in told
    decided = (tmp_path / "d" / "decision.json").read_bytes()
    assert run(*command) == 0
    assert (tmp_path / "d" / "decision.json").read_bytes() == decided
    both = [str(tmp_path / "d" / name) for name in ("baseline", "evaluated")]
    assert run("compare", *both) == 0
    assert "stopped early" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["run", "nonsense", "--tasks", TASK], "unknown policy 'nonsense'"),
        (["run", "random"], "name at least one task or suite"),
        (["run", "random", "--tasks", TASK, "--shard", "2/2"], "there is no shard 2/2"),
        (["run", "random", "--tasks", TASK, "--environments", "0"], "must be 1 or more"),
        (["run", "random", "--tasks", TASK, "--until", "0.05%"], "--until"),
        (["run", "random", "--tasks", TASK, "--until", "60"], "points between 0 and 50"),
        (["run", "random", "--tasks", TASK, "--beside", "other"], "--beside is of shards that may"),
        (["decide", "random", "random"], "name at least one task or suite"),
        (["decide", "random", "random", "--tasks", TASK, "--difference", "0"], "points above 0"),
        (["run", "replay:."], "has no demonstration"),
        (["run", "random", "--tasks", TASK, "--perturb", "wind"], "unknown axis 'wind'"),
        (["run", "random", "--tasks", TASK, "--perturb", "all", "--levels", "0-6"], "not 6"),
        (["run", "random", "--tasks", TASK, "--levels", "0-5"], "--levels are of what --perturb"),
        (["decide", "random", "random", "--tasks", TASK, "--levels", "3"], "give both, or neither"),
    ],
)
def test_mistakes_are_one_line(
    arguments: list[str],
    words: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assets = ["--assets", str(embedded_pack().path), "--no-preflight"]
    assert run(*arguments, *assets, "--out", str(tmp_path / "out")) == 2
    assert words in capsys.readouterr().err
    assert not (tmp_path / "out" / "episodes.jsonl").exists()


def test_a_check_wants_demonstrations_of_the_task(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("check", "random", "--demonstrations", str(tmp_path)) == 2
    assert "has no demonstration" in capsys.readouterr().err


def test_a_check_refuses_its_options_before_it_loads_the_model(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded: list[str] = []
    monkeypatch.setattr(
        "eval_harness.policies.load_policy", lambda name, *_, **__: loaded.append(name)
    )
    (tmp_path / "file").touch()
    common = ["check", "random", "--demonstrations", str(tmp_path)]
    assert run(*common, "--frames", "3") == 2
    assert "at least 2 demonstrations and 24 frames" in capsys.readouterr().err
    assert run(*common, "--json", str(tmp_path / "file" / "out.json")) == 2
    assert "cannot write to" in capsys.readouterr().err
    assert not loaded
