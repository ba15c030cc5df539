"""The command: its errors, its table, and the files that it writes."""

import json

import pytest

import benchmarks.run
from benchmarks.measure import BENCHMARKS, BenchmarkError, Target, summarise
from benchmarks.run import run, table
from simulation.assets.resolve import embedded_pack


def read(path):
    return json.loads(path.read_text())


def test_an_unknown_benchmark_is_one_clear_error(tmp_path):
    with pytest.raises(BenchmarkError, match=r"no benchmark nothing; there are .*reset, "):
        run(only=("reset", "nothing"), output=tmp_path / "results.json")
    assert not list(tmp_path.iterdir())


def test_the_table_says_which_ratios_reach_their_target():
    rows = [
        summarise("fast", "steps/s", [(9.0, 2.0), (8.0, 2.0), (7.0, 2.0)], Target(4.0)),
        summarise("large", "MB", [(1.0, 2.0)], Target(0.25, at_most=True)),
        summarise("informs", "s", [(1.0, 2.0)]),
    ]
    header, fast, large, informs = table(rows).splitlines()
    assert header.split() == ["ours", "peer", "unit", "ratio", "range", "target"]
    assert fast.endswith("4  3.5 to 4.5  >= 4     PASS")
    assert large.endswith("<= 0.25  short")
    assert informs.endswith("0.5")


def test_what_stops_a_benchmark_leaves_the_others_results(tmp_path, monkeypatch):
    output = tmp_path / "results.json"
    before = []

    def wrong(setting):
        before.append(read(output))
        raise ValueError("no such column")

    def refused(setting):
        raise BenchmarkError("the process died")

    made_up = {
        "first": lambda setting: [summarise("first", "s", [(1.0, 2.0)])],
        "wrong": wrong,
        "refused": refused,
        "last": lambda setting: [summarise("last", "s", [(1.0, 2.0)])],
    }
    for name, function in made_up.items():
        monkeypatch.setitem(BENCHMARKS, name, function)
    monkeypatch.setattr(
        "benchmarks.measure.in_fresh_process", lambda function, *given: function(*given)
    )
    monkeypatch.setattr(benchmarks.run, "_describe", lambda *given: {
        "seconds": {}, "skipped": {}, "failed": {},
    })  # fmt: skip
    monkeypatch.setattr(benchmarks.run, "header", lambda metadata: "")
    with pytest.raises(BenchmarkError, match="wrong: ValueError: no such column; refused: the pro"):
        run(assets=embedded_pack().path, only=tuple(made_up), output=output)
    assert [[result["name"] for result in found] for found in before] == [["first"]]
    assert [result["name"] for result in read(output)] == ["first", "last"]
    metadata = read(tmp_path / "results_metadata.json")
    assert metadata["failed"] == {
        "wrong": "ValueError: no such column", "refused": "the process died"
    }  # fmt: skip
    assert set(metadata["seconds"]) == {"first", "last"}


@pytest.mark.slow
def test_a_quick_run_writes_results_and_what_they_were_measured_with(tmp_path, capsys):
    pack = embedded_pack()
    output = tmp_path / "results.json"
    run(assets=pack.path, quick=True, only=("reset", "asset_packs"), output=output)
    results = read(output)
    result = results[-1]
    assert len(results) == 6 and result["ratio"] == max(r["ratio"] for r in results)
    assert {"name", "ours", "peer", "ratio", "unit"} <= set(result)
    assert result["unit"] == "ms"
    assert result["ours"] > 0
    assert result["low"] <= result["ratio"] <= result["high"]
    assert result["met"] is (result["ratio"] <= 1 / 20)
    metadata = read(tmp_path / "results_metadata.json")
    assert metadata["assets"] == {"name": pack.name, "digest": pack.digest}
    assert metadata["quick"] is True
    assert set(metadata["seconds"]) == {"reset"}
    assert set(metadata["skipped"]) == {"asset_packs"}
    assert metadata["failed"] == {}
    assert metadata["machine"]["cores"] >= 1
    assert metadata["versions"]["mujoco"]
    assert result["name"] in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.parametrize("name", ["upstream_step", "physics_limit", "images", "memory", "dataset"])
def test_a_quick_benchmark_gives_positive_figures(name, tmp_path):
    output = tmp_path / "results.json"
    run(assets=embedded_pack().path, quick=True, only=(name,), output=output)
    results = read(output)
    assert results
    assert all(result["ours"] > 0 and result["peer"] > 0 for result in results)
