"""Decisions between two policies: run by turns, gone on with, and told."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from common.errors import SettingError
from common.json_files import read_sealed, write_sealed
from eval_harness.compare import ComparisonError, compare_folders
from eval_harness.merging import merge_seeds
from eval_harness.results import Results, ResultsError, load_results
from eval_harness.sequential.deciding import (
    DECISION,
    Side,
    decide,
    decision_text,
    is_decision,
    load_decision,
    merge_decisions,
)
from eval_harness.sequential.rules import DecisionRule, find_verdict
from eval_harness.sequential.stopped import load_counted
from tests.eval_harness.folders import BOWL, DRAWER, Outcome, write_folder

RNG = np.random.default_rng(7)
WORSE, BETTER = (
    {task: [bool(x) for x in RNG.random(40) < rate] for task in (DRAWER, BOWL)}
    for rate in (0.3, 0.8)
)


def runner(
    outcomes: dict[str, list[bool]],
    asked: list[int],
    error: int | None = None,
    shard: tuple[int, int] = (0, 1),
):
    """Return a stand-in for the harness that "runs" these outcomes, as far as it is asked."""
    index, count = shard

    def run(folder: Path, rounds: int) -> Results:
        asked.append(rounds)
        found: dict[str, list[Outcome]] = {
            task: [x if (40 * i + j) % count == index else None for j, x in enumerate(row[:rounds])]
            for i, (task, row) in enumerate(outcomes.items())
        }
        if error is not None and rounds > error:
            found[DRAWER][error] = "RuntimeError: no luck"
        policy = {"kind": folder.name}
        write_folder(folder, found, episodes=40, policy=policy, shard=f"{index}/{count}")
        return load_results(folder)

    return run


def test_it_runs_no_more_than_it_takes_and_goes_on(tmp_path: Path) -> None:
    expected = find_verdict(WORSE, BETTER, DecisionRule())
    assert expected.outcome == "evaluated better" and expected.rounds < 25
    for block in (1, 4):
        out = tmp_path / str(block)
        asked: list[int] = []
        sides = [
            Side(out / name, runner(outcomes, asked))
            for name, outcomes in (("baseline", WORSE), ("evaluated", BETTER))
        ]
        found = decide(sides[0], sides[1], DecisionRule(), out, block)
        assert found.verdict == expected and found.is_final
        most = -(-expected.rounds // block) * block
        assert max(asked) == most and found.ran == 2 * 2 * most and found.planned == 160
        assert is_decision(out) and load_decision(out)["verdict"] == expected
        again = decide(sides[0], sides[1], DecisionRule(), out, block)
        assert again.verdict == expected
        counted, stop = load_counted(out / "evaluated")
        assert stop is not None and stop.reason == "decided" and stop.rounds == expected.rounds
        assert len(counted.episodes) == 2 * expected.rounds
        compared = compare_folders(out / "baseline", out / "evaluated")
        assert compared.all.pairs == expected.n and len(compared.notes) == 2
    text = decision_text(found.rule, found.verdict, found.planned, found.ran)
    assert "evaluated policy is better" in text and f"{160 - found.ran} were saved" in text


def test_results_that_are_there_are_looked_at(tmp_path: Path) -> None:
    there = write_folder(tmp_path / "a", WORSE)
    other = write_folder(tmp_path / "b", BETTER)
    found = decide(Side(there), Side(other), DecisionRule(), tmp_path / "d")
    assert found.verdict == find_verdict(WORSE, BETTER, DecisionRule())
    assert (found.planned, found.ran) == (0, 0)
    assert not (there / "stop.json").exists(), "nothing is noted in what was not run here"
    run: list[int] = []
    one = decide(
        Side(there), Side(tmp_path / "e", runner(BETTER, run)), DecisionRule(), tmp_path / "f"
    )
    assert one.verdict == found.verdict and one.planned == 80
    none = decide(Side(there), Side(there), DecisionRule(margin=0.1), tmp_path / "g")
    assert none.verdict.outcome == "no difference" and none.verdict.difference == 0
    undecided = decide(Side(there), Side(there), DecisionRule(), tmp_path / "h")
    assert undecided.is_final and undecided.verdict.rounds == 40
    text = decision_text(undecided.rule, undecided.verdict, 0, 0)
    assert text.endswith("All results were there already: nothing was run.")


def test_an_error_ends_it_until_it_is_run_again(tmp_path: Path) -> None:
    asked: list[int] = []
    sides = [
        Side(tmp_path / "baseline", runner(WORSE, asked)),
        Side(tmp_path / "evaluated", runner(BETTER, asked, error=2)),
    ]
    found = decide(sides[0], sides[1], DecisionRule(), tmp_path)
    assert not found.is_final and found.verdict.rounds == 2 and max(asked) == 3
    sides[1] = Side(tmp_path / "evaluated", runner(BETTER, asked))
    assert decide(sides[0], sides[1], DecisionRule(), tmp_path).is_final


def test_shards_decide_what_one_run_does(tmp_path: Path) -> None:
    expected = find_verdict(WORSE, BETTER, DecisionRule())

    def sides(i: int, beside: tuple[str, ...] = ()) -> tuple[Side, Side]:
        def side(name: str, outcomes: dict[str, list[bool]]) -> Side:
            others = tuple(tmp_path / other / name for other in beside)
            run = runner(outcomes, asked, shard=(i, 3))
            return Side(tmp_path / f"{i}" / name, run, others)

        return side("baseline", WORSE), side("evaluated", BETTER)

    asked: list[int] = []
    blind = [decide(*sides(i), DecisionRule(), tmp_path / f"{i}", 5) for i in range(2)]
    assert all(not one.is_final and one.share_ended for one in blind) and max(asked) == 40
    early = merge_decisions([tmp_path / "0", tmp_path / "1"], tmp_path / "early")
    assert not early.is_final and not early.share_ended
    asked.clear()
    seeing = decide(*sides(2, ("0", "1", "none")), DecisionRule(), tmp_path / "2", 5)
    assert seeing.verdict == expected and max(asked) == -(-expected.rounds // 5) * 5
    counted, stop = load_counted(tmp_path / "2" / "evaluated")
    assert stop is not None and stop.rounds == expected.rounds and stop.n == expected.n
    assert len(counted.episodes) < stop.n, "the share alone"
    merged = merge_decisions([tmp_path / f"{i}" for i in range(3)], tmp_path / "all")
    assert merged.verdict == expected and merged.planned == 160
    assert merged.ran == sum(
        len(load_results(tmp_path / f"{i}" / name).episodes)
        for i in range(3)
        for name in ("baseline", "evaluated")
    )
    whole, stop = load_counted(tmp_path / "all" / "baseline")
    assert stop is not None and len(whole.episodes) == stop.n == expected.n
    for damaged in (DecisionRule(margin=0.2), DecisionRule(confidence=0.9)):
        decide(*sides(0), damaged, tmp_path / "0", 40)
        with pytest.raises(ResultsError, match="other rules"):
            merge_decisions([tmp_path / "1", tmp_path / "0"], tmp_path / "none")


def test_a_shard_looks_at_results_that_are_there(tmp_path: Path) -> None:
    there, asked = write_folder(tmp_path / "a", WORSE, policy={"kind": "baseline"}), list[int]()
    for i in range(2):
        side = Side(tmp_path / f"{i}" / "evaluated", runner(BETTER, asked, shard=(i, 2)))
        decide(Side(there), side, DecisionRule(), tmp_path / f"{i}", 40)
    merged = merge_decisions([tmp_path / "0", tmp_path / "1"], tmp_path / "all")
    assert merged.verdict == find_verdict(WORSE, BETTER, DecisionRule()) and merged.planned == 80
    assert merged.baseline.folder == there and not (there / "stop.json").exists()


def against(there: Path, *outs: Path) -> list[Path]:
    """Decide shards between results that are there and a policy that each runs its share of."""
    for i, out in enumerate(outs):
        run = runner(BETTER, [], shard=(i, len(outs)))
        decide(Side(there), Side(out / "evaluated", run), DecisionRule(), out, 40)
    return list(outs)


def rewrite(folder: Path, **changes: Any) -> None:
    """Change what a decision's file says."""
    path = folder / DECISION
    write_sealed(path, read_sealed(path, "a decision", ResultsError, "") | changes)


def test_a_folder_that_happens_to_lie_there_is_no_side(tmp_path: Path) -> None:
    there = write_folder(tmp_path / "a", WORSE, policy={"kind": "baseline"})
    shards = against(there, tmp_path / "0", tmp_path / "1")
    for shard in shards:
        write_folder(shard / "baseline", BETTER, policy={"kind": "baseline"})
    merged = merge_decisions(shards, tmp_path / "all")
    assert merged.baseline.folder == there and merged.planned == 80
    assert merged.verdict == find_verdict(WORSE, BETTER, DecisionRule())
    for shard in shards:  # as earlier versions wrote it
        folders = {"baseline": str(there), "evaluated": str(shard / "evaluated")}
        rewrite(shard, format_version=1, folders=folders)
    assert merge_decisions(shards, tmp_path / "again").verdict == merged.verdict


@pytest.mark.parametrize("version", [1, 2])
def test_decisions_may_be_moved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: int
) -> None:
    monkeypatch.chdir(tmp_path)
    for i in range(2):
        out = Path("d")
        sides = [
            Side(out / name, runner(outcomes, [], shard=(i, 2)))
            for name, outcomes in (("baseline", WORSE), ("evaluated", BETTER))
        ]
        decide(sides[0], sides[1], DecisionRule(), out, 40)
        if version == 1:
            folders = {name: f"d/{name}" for name in ("baseline", "evaluated")}
            rewrite(out, format_version=1, folders=folders)
        shutil.move(out, f"moved{i}")
    shutil.copytree("moved0", "d")  # of the name that a shard had is another's
    merged = merge_decisions([Path("moved0"), Path("moved1")], Path("all"))
    assert merged.verdict == find_verdict(WORSE, BETTER, DecisionRule())
    shutil.move("all", "at_last")
    monkeypatch.chdir("/")
    for name, folder in load_decision(tmp_path / "at_last")["folders"].items():
        assert folder == tmp_path / "at_last" / name and load_results(folder).missing == []


def test_shards_that_disagree_on_a_side_are_not_merged(tmp_path: Path) -> None:
    there = write_folder(tmp_path / "a", WORSE, policy={"kind": "baseline"})
    other = shutil.copytree(there, tmp_path / "b")
    shards = against(there, tmp_path / "0", tmp_path / "1")
    decide(Side(other), Side(shards[1] / "evaluated"), DecisionRule(), shards[1])
    with pytest.raises(ResultsError, match=r"run `dlr eval decide` .* one baseline for all"):
        merge_decisions(shards, tmp_path / "all")
    decide(Side(there), Side(shards[1] / "evaluated"), DecisionRule(), shards[1])
    there.rename(tmp_path / "c")
    with pytest.raises(ResultsError, match=r"is not there: put it back, or run `dlr eval decide`"):
        merge_decisions(shards, tmp_path / "all")
    rewrite(shards[0], folders={"baseline": "baseline"})
    with pytest.raises(ResultsError, match="damaged"):
        merge_decisions(shards, tmp_path / "all")
    assert not (tmp_path / "all").exists()


def test_a_merge_that_fails_leaves_nothing(tmp_path: Path) -> None:
    there = write_folder(tmp_path / "a", WORSE, policy={"kind": "baseline"})
    shards = against(there, tmp_path / "0", tmp_path / "1")
    there.joinpath("episodes.jsonl").write_text("damaged\n")
    with pytest.raises(ResultsError, match="no JSON"):
        merge_decisions(shards, tmp_path / "all")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0", "1", "a"]
    shutil.rmtree(there)
    write_folder(there, WORSE, policy={"kind": "baseline"})
    merged = merge_decisions(shards, tmp_path / "all")
    assert merged.verdict == find_verdict(WORSE, BETTER, DecisionRule()) and merged.is_final


def test_shards_beside_each_other_decide_by_one_rule(tmp_path: Path) -> None:
    there = write_folder(tmp_path / "a", WORSE, policy={"kind": "baseline"})
    (other,) = against(there, tmp_path / "1")
    side = Side(tmp_path / "0" / "evaluated", runner(BETTER, []), (other / "evaluated",))
    with pytest.raises(ResultsError, match="another rule: give all shards one"):
        decide(Side(there), side, DecisionRule(margin=0.05), tmp_path / "0", 40)
    assert not is_decision(tmp_path / "0")
    assert decide(Side(there), side, DecisionRule(), tmp_path / "0", 40).is_final


def test_starts_that_come_again_are_not_decided(tmp_path: Path) -> None:
    often, once = ((WORSE[DRAWER] * 2)[:n] for n in (60, 50))
    a, b = (write_folder(tmp_path / name, {DRAWER: often}) for name in "ab")
    with pytest.raises(ComparisonError, match=r"60 episodes of .* at 50 starts"):
        decide(Side(a), Side(b), DecisionRule(), tmp_path / "out")
    c = write_folder(tmp_path / "c", {DRAWER: once})
    assert decide(Side(a), Side(c), DecisionRule(), tmp_path / "out").is_final


def test_what_cannot_be_decided(tmp_path: Path) -> None:
    a = Side(write_folder(tmp_path / "a", WORSE))
    other_seed = Side(write_folder(tmp_path / "b", WORSE, seed=1))
    other_task = Side(write_folder(tmp_path / "c", {DRAWER: WORSE[DRAWER]}))
    with pytest.raises(ComparisonError, match="evaluation seed"):
        decide(a, other_seed, DecisionRule(), tmp_path / "out")
    with pytest.raises(ComparisonError, match="other tasks"):
        decide(a, other_task, DecisionRule(), tmp_path / "out")
    same = {"kind": "test"}
    ones = [write_folder(tmp_path / f"{i}", WORSE, seed=i, policy=same) for i in range(2)]
    merge_seeds(ones, tmp_path / "seeds")
    seeds = Side(tmp_path / "seeds")
    for sides in ((seeds, seeds), (a, seeds)):
        with pytest.raises(ComparisonError, match="decide one seed's results"):
            decide(*sides, DecisionRule(), tmp_path / "out")
    with pytest.raises(SettingError, match="1 episode or more"):
        decide(a, a, DecisionRule(), tmp_path / "out", block=0)
    with pytest.raises(ResultsError, match="dlr eval decide"):
        load_decision(tmp_path)
    (tmp_path / DECISION).write_text("{}")
    with pytest.raises(ResultsError):
        load_decision(tmp_path)
