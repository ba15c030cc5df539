"""Collection keeps the same number of successes per group and survives kill -9."""

import copy
import functools
import json
import math
import tempfile
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from common.json_files import write_sealed
from generator.collect import CollectionError, CollectReport, collect, read_report
from generator.config import CollectConfig, LearnConfig, NoiseConfig
from generator.learn import learn
from generator.policies.gaussian import GaussianPolicy
from generator.rollout import RELEASED_STEPS
from generator.work.outcomes import compare_collections
from simulation.assets.resolve import AssetPack
from simulation.recordings.earlier import Relation
from simulation.recordings.trajectories import TrajectoryFile
from simulation.tasks import get_task
from tests.generator.conftest import PointMasses, kill_when, point_mass_demonstrations
from tests.generator.test_learn import way_labels

TASK = get_task("KITCHEN_SCENE10_close_the_top_drawer_of_the_cabinet")
PACK = AssetPack("none", Path(), "0" * 64)
CONFIG = CollectConfig(episodes=18, wave=6)
NOISE = NoiseConfig()


def trained(patterns: int) -> GaussianPolicy:
    """Return a clone that succeeds often."""
    return copy.deepcopy(_cloned(patterns))


@functools.cache
def _cloned(patterns: int) -> GaussianPolicy:
    demonstrations = point_mass_demonstrations(45)
    labels = way_labels(demonstrations) if patterns else None
    config = LearnConfig(steps=900, hidden=(128, 128), ema_decay=0.99)
    with tempfile.TemporaryDirectory() as folder:
        return learn(demonstrations, labels, config, patterns, 0, Path(folder))[0]


def run(path: Path, patterns: int = 3, environments: PointMasses | None = None) -> CollectReport:
    """Collect with a fixed policy."""
    environments = environments or PointMasses()
    return collect(trained(patterns), environments, TASK, PACK, "dlr", CONFIG, NOISE, path)


@pytest.mark.parametrize("patterns", [0, 3])
def test_equal_numbers_from_held_out_states(tmp_path: Path, patterns: int) -> None:
    report = run(tmp_path / "x.hdf5", patterns)
    assert report.successes == [6, 6, 6]
    assert all(n >= 6 for n in report.attempts)
    assert all(row["low"] <= row["success"] <= row["high"] for row in report.rates())
    with TrajectoryFile(report.path) as file:
        infos = [e.info for e in file]
    assert len(infos) == 18 and all(i.success and i.seed >= 2_000_000 for i in infos)
    assert all(i.init_index == -1 or i.init_index >= 35 for i in infos)
    counts = np.bincount([i.pattern + 1 for i in infos], minlength=4).tolist()
    assert counts == ([0, 6, 6, 6] if patterns else [18, 0, 0, 0])


def test_same_file_after_sigkill(tmp_path: Path) -> None:
    undisturbed = run(tmp_path / "a.hdf5")
    path = tmp_path / "b.hdf5"
    parts = path.with_name("b.hdf5.parts")
    command = f"from tests.generator.test_collect import run; run(Path({str(path)!r}))"
    kill_when(lambda: bool(list(parts.glob("episode*"))), command)
    assert not path.exists()
    assert run(path).attempts == undisturbed.attempts
    with TrajectoryFile(tmp_path / "a.hdf5") as a, TrajectoryFile(path) as b:
        assert len(a) == len(b)
        for x, y in zip(a, b, strict=True):
            assert x.info == y.info
            np.testing.assert_array_equal(x.states, y.states)
            np.testing.assert_array_equal(x.actions, y.actions)


def test_finished_file_is_not_made_again(tmp_path: Path) -> None:
    first = run(tmp_path / "x.hdf5")
    environments = PointMasses()
    assert run(tmp_path / "x.hdf5", environments=environments) == first
    assert environments.steps == 0
    (tmp_path / "x.hdf5.attempts.json").unlink()
    rows = run(tmp_path / "x.hdf5", environments=environments).rates()
    assert environments.steps == 0 and all(math.isnan(row["success"]) for row in rows)
    assert [(row["low"], row["high"], row["attempts"]) for row in rows] == [(0, 1, 0)] * 3


class Interrupted(PointMasses):
    """Ends the collection as a kill would, when so many episodes have been begun."""

    def __init__(self, most: int) -> None:
        super().__init__(1)
        self.left = most

    def reset(self, *args: Any) -> None:
        self.left -= 1
        if self.left < 0:
            raise KeyboardInterrupt
        super().reset(*args)


def made(path: Path, patterns: int = 3, **settings: Any) -> tuple[CollectReport, int]:
    """Collect with other settings; return the report and the steps that it took."""
    environments = PointMasses()
    config = replace(CONFIG, **settings)
    args = trained(patterns), environments, TASK, PACK, "dlr", config, NOISE, path
    return collect(*args), environments.steps


def test_rates_leave_out_the_success_that_an_attempt_had_to_be() -> None:
    report = CollectReport(Path("x"), [6, 13, 0], [6, 6, 0], wanted=6)
    assert [row["success"] for row in report.rates()] == [
        1,
        5 / 12,
        pytest.approx(math.nan, nan_ok=True),
    ]
    lines = report.describe()
    assert lines[1] == "group 1: 6 successes took 13 attempts, a rate of 42% (19% to 72%)"
    assert lines[2] == "group 2: attempts are not known"


def test_settings_that_change_no_episode_need_not_be_the_same(tmp_path: Path) -> None:
    path = tmp_path / "x.hdf5"
    first, _ = made(path)
    assert made(path, wave=9, maximum_attempts=7) == (first, 0)
    attempts = json.loads((tmp_path / "x.hdf5.attempts.json").read_text())
    assert not {"wave", "maximum_attempts"} & attempts["settings"]["collect"].keys()
    assert (
        compare_collections(
            {"collect": asdict(replace(CONFIG, groups=3))},
            {"collect": attempts["settings"]["collect"]},
        )
        is Relation.SAME
    )  # (as files of before say it)
    assert made(path, wave=6) == (first, 0)
    assert len(list(tmp_path.iterdir())) == 2


def test_another_wave_goes_on_from_a_killed_collection(tmp_path: Path) -> None:
    path = tmp_path / "x.hdf5"
    with pytest.raises(KeyboardInterrupt):
        run(path, environments=Interrupted(9))
    assert list((tmp_path / "x.hdf5.parts").glob("*.part")) and not path.exists()
    whole, steps = made(tmp_path / "y.hdf5")
    again, fewer = made(path, wave=48)
    assert again.attempts == whole.attempts and fewer < steps
    assert path.read_bytes() == (tmp_path / "y.hdf5").read_bytes()


@pytest.mark.parametrize("patterns", [0, 3])
def test_more_episodes_go_on_from_those_that_are_there(tmp_path: Path, patterns: int) -> None:
    """The file is bit for bit that of a collection that was asked for all of them at once."""
    path, whole = tmp_path / "x.hdf5", tmp_path / "y.hdf5"
    _, first = made(path, patterns, episodes=9)
    report, further = made(path, patterns)
    expected, steps = made(whole, patterns)
    assert (report.attempts, report.successes) == (expected.attempts, expected.successes)
    assert first + further == steps
    assert path.read_bytes() == whole.read_bytes()
    names = {"x.hdf5", "x.hdf5.attempts.json", "y.hdf5", "y.hdf5.attempts.json"}
    assert {entry.name for entry in tmp_path.iterdir()} == names


def test_more_attempts_go_on_where_not_all_is_required(tmp_path: Path) -> None:
    path, whole = tmp_path / "x.hdf5", tmp_path / "y.hdf5"
    some = {"episodes": 60, "require_all": False, "maximum_attempts": 1}
    made(path, 0, **some)
    report, _ = made(path, 0, **some | {"maximum_attempts": 2})
    expected, _ = made(whole, 0, **some | {"maximum_attempts": 2})
    assert report.attempts == expected.attempts
    assert path.read_bytes() == whole.read_bytes()


def test_a_killed_extension_leaves_what_there_was(tmp_path: Path) -> None:
    path, whole = tmp_path / "x.hdf5", tmp_path / "y.hdf5"
    first, _ = made(path, episodes=9)
    before, attempts = path.read_bytes(), tmp_path / "x.hdf5.attempts.json"
    listed = attempts.read_bytes()
    with pytest.raises(KeyboardInterrupt):
        run(path, environments=Interrupted(7))
    assert attempts.read_bytes() != listed and path.read_bytes() == before
    assert read_report(path).attempts == first.attempts
    assert made(path, episodes=9)[0].attempts == first.attempts
    made(path), made(whole)
    assert path.read_bytes() == whole.read_bytes()


def test_episodes_of_other_settings_are_set_aside(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "x.hdf5"
    first, _ = made(path)
    before = path.read_bytes()
    fewer, _ = made(path, episodes=9)
    assert fewer.successes == [3, 3, 3]
    told = [line for line in capsys.readouterr().err.splitlines() if line.startswith("dlr:")]
    assert len(told) == 1 and told[0].endswith("kept as x.hdf5.set_aside_1")
    aside = tmp_path / "x.hdf5.set_aside_1"
    assert aside.read_bytes() == before and read_report(aside).attempts == first.attempts
    made(path, fresh_share=0.25)
    assert [ref.name for ref in tmp_path.rglob("*.hdf5")] == ["x.hdf5"]
    assert {e.name for e in tmp_path.glob("*.set_aside_?")} == {
        "x.hdf5.set_aside_1", "x.hdf5.set_aside_2",
    }  # fmt: skip


def test_without_the_list_of_attempts_more_episodes_are_made_anew(tmp_path: Path) -> None:
    path, whole = tmp_path / "x.hdf5", tmp_path / "y.hdf5"
    made(path, episodes=9)
    (tmp_path / "x.hdf5.attempts.json").unlink()
    made(path), made(whole)
    assert (tmp_path / "x.hdf5.set_aside_1").exists()
    assert path.read_bytes() == whole.read_bytes()


def test_attempts_in_another_world_do_not_count(tmp_path: Path) -> None:
    """A file made with one asset pack and then with another is of the other alone."""
    other, policy = AssetPack("other", Path(), "1" * 64), trained(0)

    def made(pack: AssetPack, name: str) -> CollectReport:
        return collect(policy, PointMasses(), TASK, pack, "o2o_rl", CONFIG, NOISE, tmp_path / name)

    first = made(PACK, "x.hdf5")
    attempts = tmp_path / "x.hdf5.attempts.json"
    content = json.loads(attempts.read_text())
    content["outcomes"] |= {str(18 * 3 + n): False for n in range(3)}  # (failures of that world)
    del content["sha256"]
    write_sealed(attempts, content)
    assert sum(read_report(tmp_path / "x.hdf5").attempts) == sum(first.attempts) + 3
    assert made(other, "x.hdf5").attempts == made(other, "y.hdf5").attempts


def test_a_damaged_list_of_attempts_is_refused(tmp_path: Path) -> None:
    run(tmp_path / "x.hdf5")
    attempts = tmp_path / "x.hdf5.attempts.json"
    attempts.write_text(attempts.read_text().replace("true", "null", 1))
    with pytest.raises(CollectionError, match="the attempts are made again"):
        run(tmp_path / "x.hdf5")


def test_hopeless_pattern(tmp_path: Path) -> None:
    torch.manual_seed(0)
    policy = GaussianPolicy(17, 3, (8,))
    config = CollectConfig(episodes=3, maximum_attempts=2)
    with pytest.raises(CollectionError, match="pattern 0 succeeded in 0 of 2"):
        collect(policy, PointMasses(), TASK, PACK, "dlr", config, NOISE, tmp_path / "x.hdf5")


@pytest.mark.parametrize(("patterns", "groups"), [(2, 2), (0, 3)])
def test_groups_are_the_policys_patterns_or_three_repetitions(
    patterns: int, groups: int, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    policy, path = GaussianPolicy(17, patterns, (8,)), tmp_path / "x.hdf5"
    config = CollectConfig(episodes=6, maximum_attempts=1, require_all=False)
    report = collect(policy, PointMasses(), TASK, PACK, "dlr", config, NOISE, path)
    assert report.attempts == [6 // groups] * groups
    assert read_report(path) == report
    wrong = replace(config, groups=5)
    with pytest.raises(CollectionError, match=f"ask for {patterns or 5} groups and a multiple"):
        collect(policy, PointMasses(), TASK, PACK, "dlr", wrong, NOISE, tmp_path / "y.hdf5")


def test_what_a_weak_policy_gives_is_kept_where_not_all_is_required(tmp_path: Path) -> None:
    torch.manual_seed(0)
    policy = GaussianPolicy(17, 3, (8,))
    config = CollectConfig(episodes=3, maximum_attempts=2, require_all=False)
    environments = PointMasses()
    for _ in range(2):
        report = collect(
            policy, environments, TASK, PACK, "dlr", config, NoiseConfig(), tmp_path / "none.hdf5"
        )
        assert (report.attempts, report.successes) == ([2, 2, 2], [0, 0, 0])
        assert not report.path.exists()
        environments.steps = 0
    half = CollectConfig(episodes=60, maximum_attempts=1, require_all=False)
    path = tmp_path / "some.hdf5"
    report = collect(trained(0), PointMasses(), TASK, PACK, "dlr", half, NoiseConfig(), path)
    assert sum(report.attempts) == 60 > sum(report.successes) > 0
    with TrajectoryFile(path) as file:
        assert len(file) == sum(report.successes)
    assert read_report(path) == report


def test_an_episode_goes_on_until_the_fingers_have_let_go(tmp_path: Path) -> None:
    """The point mass lets go as it succeeds; noise may move it off the goal once more."""
    policy, config = trained(0), CollectConfig(episodes=6, wave=6)
    kept = {}
    for through in (False, True):
        path = tmp_path / f"{through}.hdf5"
        chosen = replace(config, through_release=through)
        report = collect(policy, PointMasses(), TASK, PACK, "dlr", chosen, NoiseConfig(), path)
        with TrajectoryFile(path) as file:
            kept[through] = {(e.info.seed, e.info.init_index): e for e in file}
    assert sum(report.unreleased) >= 0 and read_report(path) == report
    both = kept[False].keys() & kept[True].keys()
    assert both
    for start in both:
        short, long = kept[False][start], kept[True][start]
        assert long.info.success and len(long) >= len(short) + RELEASED_STEPS - 1
        np.testing.assert_array_equal(long.states[: len(short)], short.states)
    lasted = [len(kept[True][start]) - len(kept[False][start]) for start in both]
    assert min(lasted) == RELEASED_STEPS - 1
