"""Evaluations under perturbation, run for real: the control, each arm, and what is kept."""

from __future__ import annotations

import dataclasses
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from common.errors import BusyError
from eval_harness.evaluation import evaluate, is_complete
from eval_harness.perturbations.arms import (
    Arm,
    list_arms,
    load_arms,
    make_arms,
    merge_arms,
    run_arms,
)
from eval_harness.perturbations.base import PerturbationError
from eval_harness.perturbations.retained import measure_retained
from eval_harness.perturbations.table import AXES, make_condition
from eval_harness.plan import Shard
from eval_harness.policies.random import RandomPolicy
from eval_harness.protocols import Protocol, get_protocol
from eval_harness.results import Results, ResultsError, load_results
from eval_harness.runner import RunConfig
from simulation.assets.resolve import AssetPack, embedded_pack
from tests.eval_harness.folders import BOWL, write_folder
from tests.eval_harness.test_runner import DRAWER, LookingPolicy, outcomes, short

NEUTRAL = tuple(kind for kind in AXES.values() if kind.neutral)


@pytest.fixture(scope="module")
def pack() -> AssetPack:
    return embedded_pack()


def changed(level: int, *kinds: type) -> Protocol:
    """Return short episodes under these axes, or under all that physics does not read."""
    return short(perturbations=make_condition([kind(level) for kind in kinds or NEUTRAL]))


class Watcher(LookingPolicy):
    """Acts on a fixed sequence whatever it sees, and keeps pictures and instructions."""

    def __init__(self) -> None:
        super().__init__(("agentview",))
        self.looked: dict[tuple, tuple] = {}

    def _chunk(self, o) -> np.ndarray:
        pixels = o.images["agentview"].tobytes()
        self.looked[o.key.episode, o.step] = (pixels, o.instruction)
        return np.sin(np.arange(28).reshape(4, 7) + o.step + o.key.seed % 97)


def test_axes_that_physics_does_not_read_leave_every_state(pack: AssetPack, tmp_path: Path) -> None:
    found, watchers = [], []
    for name, protocol in (("a", short()), ("b", changed(0)), ("c", changed(5))):
        watchers.append(Watcher())
        results = evaluate(watchers[-1], protocol, [DRAWER], tmp_path / name, 2, assets=pack)
        found.append((results.config["protocol_digest"], outcomes(results)))
    assert found[0] == found[1], "level 0 is the protocol itself"
    assert watchers[0].looked == watchers[1].looked
    assert found[2][1] == found[0][1] and found[2][0] != found[0][0]
    assert len(watchers[0].looked) == 6
    for key, (pixels, instruction) in watchers[0].looked.items():
        other, otherwise = watchers[2].looked[key]
        assert pixels != other and instruction == DRAWER.language != otherwise


def test_perturbed_episodes_do_not_depend_on_how_they_are_run(
    pack: AssetPack, tmp_path: Path
) -> None:
    protocol = changed(4)

    def run(arms_of: str, config: RunConfig, shard: Shard = Shard()) -> dict[Arm, Results]:
        arms = make_arms("camera+light+background+noise", "4")
        return run_arms(
            arms,
            tmp_path / arms_of,
            lambda arm, out: evaluate(
                LookingPolicy(("agentview",)), arm.protocol(short()), [DRAWER], out, 3,
                shard=shard, config=config, assets=pack,
            ),
        )  # fmt: skip

    expected = {arm: outcomes(one) for arm, one in run("one", RunConfig(1, 1)).items()}
    assert len(expected) == 2
    control, arm = expected.values()
    assert control != arm, "the policy acts on what it sees"
    for i in range(2):
        run(f"shard{i}", RunConfig(3, 2), Shard(i, 2))
    merged = merge_arms([tmp_path / "shard0", tmp_path / "shard1"], tmp_path / "merged")
    assert {arm: outcomes(one) for arm, one in merged.items()} == expected
    assert all(map(is_complete, merged.values()))
    assert protocol.digest() != short().digest()


def test_arms_of_a_folder(pack: AssetPack, tmp_path: Path) -> None:
    arms = make_arms("camera,light+noise", "0-2")
    assert [arm.name for arm in arms] == [
        "control", "camera-1", "camera-2", "light+noise-1", "light+noise-2",
    ]  # fmt: skip
    with pytest.raises(PerturbationError, match="besides the control"):
        make_arms("camera", "0")
    with pytest.raises(ResultsError, match="no evaluation under perturbation"):
        list_arms(tmp_path)

    def run(arm: Arm, out: Path) -> Results:
        policy = RandomPolicy()
        return evaluate(policy, arm.protocol(short()), [DRAWER], out, 1, assets=pack)

    run_arms(arms[:2], tmp_path / "x", run)
    run_arms((arms[0], arms[3]), tmp_path / "x", run)
    assert list_arms(tmp_path / "x") == (arms[0], arms[1], arms[3])
    found = load_arms(tmp_path / "x")
    assert [len(one.episodes) for one in found.values()] == [1, 1, 1]
    with pytest.raises(ResultsError, match="another protocol digest"):
        evaluate(RandomPolicy(), short(), [DRAWER], tmp_path / "x" / "camera-1", 1, assets=pack)


def _arms(tmp_path: Path, control: list, **arms: list) -> dict[Arm, Results]:
    """Return arms with these outcomes of the bowl task's episodes."""
    found = {
        Arm("", 0): load_results(
            write_folder(tmp_path / "c", {BOWL: control}, policy={"kind": "x"})
        )
    }
    for axis, outcome in arms.items():
        folder = write_folder(tmp_path / axis, {BOWL: outcome}, policy={"kind": "x"})
        found[Arm(axis, 3)] = load_results(folder)
    return found


def test_retained_success_is_paired_and_adjusted(tmp_path: Path) -> None:
    control = [True] * 30 + [False] * 10
    arms = _arms(
        tmp_path,
        control,
        camera=[True] * 10 + [False] * 30,
        light=[True] * 29 + [False] * 11,
        noise=control,
    )
    found = measure_retained(arms)
    by_axis = {arm.axes: arm for arm in found.arms}
    camera = by_axis["camera"]
    assert camera.share_kept and camera.difference and camera.test
    assert camera.share_kept[0] == pytest.approx(10 / 30)
    assert camera.difference.value == pytest.approx(-0.5)
    assert camera.verdict == "less"
    assert camera.adjusted == pytest.approx(3 * camera.test.p_value)
    assert by_axis["light"].verdict == "no change found"
    assert by_axis["noise"].adjusted == 1.0


def test_arms_that_are_not_complete_are_counted_in_the_correction(tmp_path: Path) -> None:
    control, missing = [True] * 30 + [False] * 10, [True] * 39 + [None]
    lower = [True] * 22 + [False] * 18
    arms = _arms(tmp_path, control, camera=lower, light=missing, noise=[*missing[:39], "a fault"])
    camera, *rest = measure_retained(arms).arms
    assert camera.test and camera.test.p_value < 0.01
    assert camera.adjusted == pytest.approx(3 * camera.test.p_value)
    assert [(arm.adjusted, arm.verdict) for arm in rest] == [(None, "incomplete")] * 2


def write_shards(tmp_path: Path, outcome: list) -> list[Path]:
    """Return two shards of an evaluation of the bowl task under camera and light."""

    def run(arm: Arm, out: Path) -> Results:
        mine = [x if i % 2 == int(out.parent.name) else None for i, x in enumerate(outcome)]
        protocol, size = arm.protocol(get_protocol("openpi")), len(outcome)
        write_folder(out, {BOWL: mine}, protocol, {"kind": "x"}, episodes=size)
        return load_results(out)

    shards = [tmp_path / "0", tmp_path / "1"]
    for shard in shards:
        run_arms(make_arms("camera,light", "3"), shard, run)
    return shards


def test_arms_that_have_not_begun_are_counted_in_the_correction(tmp_path: Path) -> None:
    def run(arm: Arm, out: Path) -> Results:
        if arm.axes == "light":
            raise ResultsError("cut")
        protocol = arm.protocol(get_protocol("openpi"))
        write_folder(out, {BOWL: [not arm.axes] * 8}, protocol, {"kind": "x"})
        return load_results(out)

    with pytest.raises(ResultsError, match="cut"):
        run_arms(make_arms("camera,light", "3"), tmp_path, run)
    camera, light = measure_retained(load_arms(tmp_path)).arms
    assert camera.test and camera.test.p_value == pytest.approx(2 * 0.5**8)
    assert camera.adjusted == pytest.approx(2 * camera.test.p_value)
    assert (light.name, light.planned, light.pairs) == ("light-3", 8, 0)
    assert (light.adjusted, light.verdict) == (None, "incomplete")


def test_arms_are_merged_whole_or_not_at_all(tmp_path: Path) -> None:
    shards = write_shards(tmp_path, [True] * 8)
    (shards[1] / "light-3").rename(tmp_path / "away")
    with pytest.raises(ResultsError, match="no results folder"):
        merge_arms(shards, tmp_path / "all")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0", "1", "away"]
    (tmp_path / "away").rename(shards[1] / "light-3")
    assert all(map(is_complete, merge_arms(shards, tmp_path / "all").values()))


KILLED = """
import os, signal, sys
from pathlib import Path
from eval_harness.perturbations import arms

def merge(folders, out, merge=arms.merge):
    merge(folders, out)
    if out.name == "camera-3":
        os.kill(os.getpid(), signal.SIGKILL)

arms.merge = merge
out, *shards = map(Path, sys.argv[1:])
arms.merge_arms(shards, out)
"""


def test_a_merge_that_was_killed_goes_well_the_next_time(tmp_path: Path) -> None:
    shards, out = write_shards(tmp_path, [True] * 8), tmp_path / "all"
    command = [sys.executable, "-c", KILLED, str(out), *map(str, shards)]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
    assert not out.exists()
    assert all(map(is_complete, merge_arms(shards, out).values()))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0", "1", "all"]


def test_small_samples_are_said_to_be_too_small(tmp_path: Path) -> None:
    control = [True, True, False, True]
    arms = _arms(
        tmp_path, control, camera=[True, False, True, False], light=[True, "gone", True, True]
    )
    verdicts = {arm.axes: arm.verdict for arm in measure_retained(arms).arms}
    assert verdicts == {"camera": "too few to tell", "light": "incomplete"}
    other = dataclasses.replace(
        arms[Arm("light", 3)], config={**arms[Arm("light", 3)].config, "seed": 4}
    )
    with pytest.raises(ResultsError, match="another seed"):
        measure_retained({**arms, Arm("light", 3): other})


def test_two_runs_into_one_folder_of_arms(tmp_path: Path) -> None:
    def busy(arm: Arm, out: Path) -> Results:
        with pytest.raises(BusyError, match="is being written by process"):
            run_arms(make_arms("light", "1"), tmp_path, busy)
        raise ResultsError("enough")

    with pytest.raises(ResultsError, match="enough"):
        run_arms(make_arms("camera", "1"), tmp_path, busy)
    assert {arm.name for arm in list_arms(tmp_path)} == {"control", "camera-1"}
