"""Seeds: each draws something of its own, and several make one result that does not overcount."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from common.errors import SettingError
from common.intervals import wilson_interval
from demonstrations.config import DemonstrationConfig
from demonstrations.make import make_demonstrations
from eval_harness.compare import ComparisonError, compare_folders
from eval_harness.evaluation import evaluate
from eval_harness.merging import merge, merge_seeds
from eval_harness.perturbations.arms import Arm
from eval_harness.perturbations.retained import measure_retained
from eval_harness.plan import Start
from eval_harness.policies.random import RandomPolicy
from eval_harness.policies.replay import RecordedActions, ReplayPolicy
from eval_harness.results import ResultsError, load_results, summarise
from eval_harness.sequential.rules import StoppingRule
from eval_harness.statistics import clustered_bootstrap, clustered_interval
from reports.evaluation_tables import print_comparison, print_summary
from reports.robustness.table import notes
from simulation.assets.resolve import AssetPack, embedded_pack
from tests.eval_harness.folders import BOWL, DRAWER, made_up, write_folder
from tests.eval_harness.test_runner import DRAWER as DRAWER_TASK
from tests.eval_harness.test_runner import short


@pytest.fixture(scope="module")
def pack() -> AssetPack:
    return embedded_pack()


@pytest.fixture(scope="module")
def recorded(pack: AssetPack, tmp_path_factory: pytest.TempPathFactory) -> ReplayPolicy:
    folder = tmp_path_factory.mktemp("recorded")
    config = DemonstrationConfig(episodes_per_way=1, fresh_share=1.0)
    make_demonstrations(DRAWER_TASK, folder / "drawer.hdf5", config, pack).close()
    return ReplayPolicy.of_folder(folder, pack)


def test_another_seed_takes_other_recordings(
    recorded: ReplayPolicy, pack: AssetPack, tmp_path: Path
) -> None:
    def starts(seed: int) -> list[bytes]:
        results = evaluate(
            RandomPolicy(4), short(), [DRAWER_TASK], tmp_path / str(seed), 1,
            seed=seed, starts=recorded, assets=pack,
        )  # fmt: skip
        return [results.trajectory(r).states[0].tobytes() for r in results.episodes]

    found = [starts(seed) for seed in range(3)]
    assert len({start for seed in found for start in seed}) == 3
    with pytest.raises(SettingError, match="recordings 3 to 3, but there are 3"):
        starts(3)
    with pytest.raises(SettingError, match="recordings 3 to 5"):
        evaluate(
            RandomPolicy(4), short(), [DRAWER_TASK], tmp_path / "all", seed=1, starts=recorded,
            assets=pack,
        )  # fmt: skip
    with pytest.raises(ComparisonError, match="evaluation seed"):
        compare_folders(tmp_path / "0", tmp_path / "1")


def test_a_replay_has_one_outcome_for_all_seeds(
    recorded: ReplayPolicy, pack: AssetPack, tmp_path: Path
) -> None:
    with pytest.raises(SettingError, match="same with every seed"):
        evaluate(recorded, short(), [DRAWER_TASK], tmp_path / "out", seed=1, assets=pack)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("moved", [0.0, 0.1])
def test_seeds_that_change_no_start_are_compared(tmp_path: Path, moved: float) -> None:
    """As in scenes without fixtures; what was stored shows it."""
    folders = [
        write_folder(
            tmp_path / str(seed),
            {DRAWER: [True]},
            seed=seed,
            trajectories={(DRAWER, 0): made_up(np.zeros((2, 5)), moved * seed)},
        )
        for seed in (0, 1)
    ]
    if moved:
        with pytest.raises(ComparisonError, match="where the fixtures stand"):
            compare_folders(folders[0], folders[1])
    else:
        found = compare_folders(folders[0], folders[1])
        assert found.all.complete and "all shared episodes start alike" in found.notes[0]


def draw(seed: int, ease: np.ndarray, noise: float) -> dict[str, list[bool]]:
    """Outcomes of two tasks whose starts are easy or hard in every seed alike."""
    rng = np.random.default_rng(seed)
    return {
        task: [bool(x) for x in (1 - noise) * row + noise * rng.random(len(row)) < 0.6]
        for task, row in zip((DRAWER, BOWL), ease, strict=True)
    }


def merged(root: Path, outcomes: list[dict[str, list[bool]]], **settings) -> Path:
    folders = [
        write_folder(root / str(seed), found, seed=seed, policy={"kind": root.name})
        for seed, found in enumerate(outcomes)
    ]
    merge_seeds(folders, root / "all")
    return root / "all"


def test_seeds_make_one_result(tmp_path: Path) -> None:
    ease = np.random.default_rng(0).random((2, 50))
    outcomes = [draw(seed, ease, 0.3) for seed in range(3)]
    results = load_results(merged(tmp_path / "a", outcomes))
    summary = summarise(results)
    rates = [np.mean([*found[DRAWER], *found[BOWL]]) for found in outcomes]
    assert summary["complete"] and summary["all"]["done"] == 300
    assert summary["seeds"]["rates"] == pytest.approx(rates)
    assert summary["all"]["rate"] == pytest.approx(np.mean(rates))
    width = summary["all"]["high"] - summary["all"]["low"]
    blind = wilson_interval(summary["all"]["successes"], 300)
    seldom = wilson_interval(round(summary["all"]["rate"] * 100), 100)
    assert 1.2 * (blind[1] - blind[0]) < width < 1.05 * (seldom[1] - seldom[0])
    console = Console(file=io.StringIO(), width=80, record=True)
    print_summary(summary, console)
    assert "Seeds 0, 1, 2" in console.export_text()


def test_repeated_rollouts_do_not_narrow_the_interval(tmp_path: Path) -> None:
    ease = np.random.default_rng(1).random((2, 40))
    once = draw(0, ease, 0.3)
    alone = summarise(load_results(write_folder(tmp_path / "one", once)))["all"]
    summary = summarise(load_results(merged(tmp_path / "a", [once] * 3)))
    assert summary["seeds"]["repeated"] == summary["seeds"]["starts"] == 80
    assert summary["all"]["low"] == pytest.approx(alone["low"], abs=0.005)
    assert summary["all"]["high"] == pytest.approx(alone["high"], abs=0.005)


def test_the_interval_covers_where_starts_differ() -> None:
    rng = np.random.default_rng(2)
    covered = []
    for _ in range(1500):
        hard = rng.beta(1, 0.5, 60)
        low, high = clustered_interval((rng.random((3, 60)) < hard).T.astype(float))
        covered.append(low <= 1 / 1.5 <= high)
    assert 0.93 <= np.mean(covered) <= 0.97
    assert clustered_interval(np.ones((20, 3)))[0] == pytest.approx(wilson_interval(20, 20)[0])


def test_two_policies_of_several_seeds(tmp_path: Path) -> None:
    ease = np.random.default_rng(3).random((2, 40))
    a = [draw(seed, ease, 0.2) for seed in range(3)]
    b = [draw(seed + 10, ease - 0.2, 0.2) for seed in range(3)]
    folders = merged(tmp_path / "a", a), merged(tmp_path / "b", b)
    found = compare_folders(*folders)
    assert found.all.pairs == 240 and found.all.difference is not None and found.all.test
    assert found.all.difference.value > 0.1 and found.all.test.p_value < 0.01
    repeated = compare_folders(merged(tmp_path / "c", a[:1] * 3), merged(tmp_path / "d", b[:1] * 3))
    single = compare_folders(tmp_path / "c" / "0", tmp_path / "d" / "0")
    assert repeated.all.difference and single.all.difference
    assert repeated.all.difference.low == pytest.approx(single.all.difference.low, abs=0.02)
    console = Console(file=io.StringIO(), width=80, record=True)
    print_comparison(found, console)
    assert "sign-flip test of starts" in console.export_text().replace("\n", " ")
    with pytest.raises(ComparisonError, match="of 3 seeds of 40 episodes and one seed"):
        compare_folders(folders[0], tmp_path / "b" / "0")
    longer = merged(tmp_path / "e", [draw(seed, np.zeros((2, 80)), 0.2) for seed in range(3)])
    for allowed in (False, True):
        with pytest.raises(ComparisonError, match="3 seeds of 40 episodes and 3 seeds of 80"):
            compare_folders(folders[0], longer, allowed)
    alike = clustered_bootstrap([np.zeros(25)] * 2)
    assert alike.high == -alike.low == pytest.approx(1 - 0.025 ** (1 / 50))


def again(first: list[bool], *, second: int = 50) -> list[bool]:
    """Outcomes of 50 starts, and of the first of them again, alike."""
    return first + first[:second]


def test_starts_that_come_again_are_not_counted_twice(tmp_path: Path) -> None:
    once = [i % 2 == 0 for i in range(50)]
    other = [i % 2 == 0 or i % 5 == 0 for i in range(50)]
    alone, beside = (
        write_folder(tmp_path / name, {DRAWER: found})
        for name, found in (("a", once), ("b", other))
    )
    twice, both = (
        write_folder(tmp_path / name, {DRAWER: again(found)})
        for name, found in (("c", once), ("d", other))
    )
    single, double = (summarise(load_results(folder)) for folder in (alone, twice))
    assert single["starts"] is None and double["starts"] == 50
    for end in ("low", "high"):
        assert double["all"][end] == pytest.approx(single["all"][end], abs=0.005)
    few = summarise(load_results(write_folder(tmp_path / "e", {DRAWER: again(once, second=10)})))
    blind = wilson_interval(30, 60)
    assert few["starts"] == 50 and few["all"]["high"] > blind[1] + 0.002
    found, doubled = compare_folders(alone, beside), compare_folders(twice, both)
    assert found.all.test and doubled.all.test and found.all.difference and doubled.all.difference
    assert found.all.test.p_value == pytest.approx(doubled.all.test.p_value) == 2 * 0.5**5
    assert doubled.all.difference.low == pytest.approx(found.all.difference.low, abs=0.02)
    assert "come again" in doubled.notes[0] and found.notes == ()
    console = Console(file=io.StringIO(), width=80, record=True)
    print_summary(double, console)
    assert "begin at 50 starts" in console.export_text()


def test_what_an_arm_keeps_counts_starts(tmp_path: Path) -> None:
    control, lower = [True] * 50, [i >= 8 for i in range(50)]

    def retained(name: str, times: int):
        arms = {}
        for arm, found in ((Arm("", 0), control), (Arm("camera", 3), lower)):
            folder = tmp_path / f"{name}-{arm.name}"
            write_folder(folder, {DRAWER: found * times}, policy={"kind": "x"})
            arms[arm] = load_results(folder)
        return measure_retained(arms)

    once, twice = retained("once", 1), retained("twice", 2)
    (a,), (b,) = once.arms, twice.arms
    assert a.adjusted == pytest.approx(b.adjusted) and a.share_kept and b.share_kept
    assert b.share_kept == pytest.approx(a.share_kept, abs=0.005)
    assert "sign-flip test of starts" in notes(twice)[-1] and len(notes(once)) == 1


def test_starts_of_unlike_numbers_of_outcomes() -> None:
    rng = np.random.default_rng(4)
    covered = []
    for _ in range(1500):
        hard, sizes = rng.beta(1, 0.5, 60), rng.integers(1, 5, 60)
        found = [rng.random(n) < p for n, p in zip(sizes, hard, strict=True)]
        low, high = clustered_interval(found)
        covered.append(low <= 1 / 1.5 <= high)
    assert 0.925 <= np.mean(covered) <= 0.975
    ragged = [[np.ones(3)] * 5 + [np.zeros(1)] * 10] * 2
    of_all = clustered_bootstrap(ragged)
    assert of_all.value == pytest.approx(0.6) and of_all.low < 0.6 < of_all.high


@pytest.mark.parametrize("options", [{"rule": StoppingRule(0.5)}, {"rounds": 1}])
def test_what_stops_early_takes_no_start_twice(pack: AssetPack, tmp_path: Path, options) -> None:
    with pytest.raises(SettingError, match=r"51 episodes of .* begin at 50 starts.*--episodes 50"):
        evaluate(
            RandomPolicy(4), short(), [DRAWER_TASK], tmp_path / "a", 51, assets=pack, **options
        )
    assert not (tmp_path / "a").exists()


def test_recordings_that_begin_alike_are_one_start(
    recorded: ReplayPolicy, pack: AssetPack, tmp_path: Path
) -> None:
    """As episodes of several patterns, or several people's, from one start are."""
    key, shown = DRAWER_TASK.key, recorded.recordings[DRAWER_TASK.key]
    first, second = shown[0].start, shown[1].start
    assert first.state is not None
    nearly = replace(first, state=first.state + 1e-15)
    assert nearly.digest == first.digest != second.digest
    again = ReplayPolicy(
        {key: [*shown, RecordedActions(nearly, shown[1].actions)]}, {"folder": "again"}
    )
    found = evaluate(RandomPolicy(4), short(), [DRAWER_TASK], tmp_path / "a", 4, starts=again,
                     assets=pack)  # fmt: skip
    assert summarise(found)["starts"] == 3
    for options in ({"rule": StoppingRule(0.5)}, {"rounds": 1}):
        with pytest.raises(SettingError, match=r"4 episodes .* begin at 3 starts.*--episodes 3"):
            evaluate(RandomPolicy(4), short(), [DRAWER_TASK], tmp_path / "b", 4, starts=again,
                     assets=pack, **options)  # fmt: skip
    assert not (tmp_path / "b").exists()


def test_starts_without_a_state_are_told_apart_by_seed() -> None:
    starts = [Start(seed, settle_steps=10) for seed in (3, 3, 4)]
    one, same, other = (start.digest for start in starts)
    assert one == same != other


def test_what_is_no_set_of_seeds(tmp_path: Path) -> None:
    a = write_folder(tmp_path / "a", {DRAWER: [True]}, policy={"kind": "x"})
    b = write_folder(tmp_path / "b", {DRAWER: [True]}, policy={"kind": "x"}, seed=1)
    c = write_folder(tmp_path / "c", {DRAWER: [True]}, policy={"kind": "y"}, seed=2)
    with pytest.raises(ResultsError, match="all different"):
        merge_seeds([a, a], tmp_path / "out")
    with pytest.raises(ResultsError, match="another policy"):
        merge_seeds([a, c], tmp_path / "out")
    with pytest.raises(ResultsError, match="--seeds"):
        merge([a, b], tmp_path / "out")
    assert [r.episode for r in merge_seeds([a, b], tmp_path / "out").episodes] == [0, 1]


def test_shards_of_merged_seeds_keep_their_own_trajectories(tmp_path: Path) -> None:
    states = {(seed, e): np.full((2, 3), 10.0 * seed + e) for seed in (0, 1) for e in range(4)}
    for shard in (0, 1):
        for seed in (0, 1):
            write_folder(
                tmp_path / f"{shard}-{seed}",
                {DRAWER: [True if e % 2 == shard else None for e in range(4)]},
                policy={"kind": "x"},
                seed=seed,
                trajectories={(DRAWER, e): made_up(states[seed, e]) for e in range(4)},
                episodes=4,
            )
        merge_seeds([tmp_path / f"{shard}-{s}" for s in (0, 1)], tmp_path / str(shard))
    whole = merge([tmp_path / "0", tmp_path / "1"], tmp_path / "whole")
    found = [whole.trajectory(result).states[0, 0] for result in whole.episodes]
    assert found == [0, 1, 2, 3, 10, 11, 12, 13]


def test_a_seed_is_small_enough_for_the_simulator(pack: AssetPack, tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="the largest seed is 4294, not 4295"):
        evaluate(RandomPolicy(4), short(), [DRAWER_TASK], tmp_path / "a", 1, seed=4295, assets=pack)
    assert not (tmp_path / "a").exists()
    protocol = short()
    largest = protocol.largest_seed(50)
    assert protocol.fixture_seed(49, largest) < 2**32 <= protocol.fixture_seed(49, largest + 1)


def test_a_seed_is_not_negative(pack: AssetPack, tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="seed is 0 or more"):
        evaluate(RandomPolicy(4), short(), [DRAWER_TASK], tmp_path / "a", 1, seed=-1, assets=pack)
    assert not (tmp_path / "a").exists()
