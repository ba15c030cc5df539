"""A run's report: what it is made of is of one training, and drawn with that one's assets."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from analysis.profile import profile
from common.errors import UsageError
from common.json_files import write_sealed
from generator.checkpoints import load_policy, policy_hash, save_policy
from generator.policies.gaussian import GaussianPolicy
from generator.recipes import RECIPES, SUMMARY
from generator.run_folder import LEARN, RunFolder
from generator.stages import RECORD, read_record
from reports.run_gather import (
    check_learned,
    check_packs,
    check_training,
    gather,
    pack_of,
    to_trajectory,
)
from simulation.assets.embedded import write_embedded_pack
from simulation.assets.resolve import ASSETS_VARIABLE, AssetPack, embedded_pack, resolve_assets
from simulation.environment import Environment
from simulation.recordings.recorder import Recorder
from simulation.recordings.trajectories import Episode, TrajectoryFile, TrajectoryWriter
from simulation.tasks import get_task

TASK = get_task("KITCHEN_SCENE10_close_the_top_drawer_of_the_cabinet")


def write_step(path: Path, pack: AssetPack) -> None:
    """Write a file of one episode of one step."""
    env, writer = Environment(TASK, pack), TrajectoryWriter(path, TASK, pack, {})
    env.reset(seed=0, init_index=0)
    recorder = Recorder(env)
    recorder.before(np.zeros(7))
    env.step(np.zeros(7))
    writer.add(0, recorder.finish(success=False))
    writer.finish().close()


def test_the_recorded_pack_is_found_whatever_the_default_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_embedded_pack(tmp_path / "other")
    (tmp_path / "other/README.md").write_text("another pack")
    monkeypatch.setenv(ASSETS_VARIABLE, str(tmp_path / "other"))
    other = resolve_assets()
    for pack in (embedded_pack(), other):
        path = tmp_path / f"{pack.name}.hdf5"
        write_step(path, pack)
        with TrajectoryFile(path) as file:
            assert pack_of(file, None) == pack
    with (
        TrajectoryFile(tmp_path / "embedded-v1.hdf5") as file,
        pytest.raises(UsageError, match=r"not local .*give the right one with --assets"),
    ):
        pack_of(file, other)


def test_an_episode_of_any_source_is_measured(tmp_path: Path) -> None:
    write_step(tmp_path / "step.hdf5", embedded_pack())
    with TrajectoryFile(tmp_path / "step.hdf5") as file:
        episode = file[0].with_info(way="left", success=True)
    found = to_trajectory(episode)
    assert found.proprio.shape == (2, 8) and found.embedding is None
    assert (found.start, found.way, found.success) == ((0, 0), "left", True)
    assert found.actions is not None and found.actions.shape == (1, 7)
    assert profile([found]).figures["episode_length"].value == 1


@pytest.fixture(scope="module")
def episode(tmp_path_factory: pytest.TempPathFactory) -> Episode:
    path = tmp_path_factory.mktemp("episode") / "step.hdf5"
    write_step(path, embedded_pack())
    with TrajectoryFile(path) as file:
        return file[0]


def train(run: RunFolder, recipe: str, mark: str, until: str = "") -> None:
    """Make up a training's stages, or those up to one, after which it was killed."""
    folder, digests = run.policies(TASK, recipe, 0), {"demonstrations": "all"}
    for stage in RECIPES[recipe].stages:
        inputs = {name: digests[name] for name in ("demonstrations", *stage.reads)}
        digests[stage.name] = f"{stage.name} {mark}"
        empty: dict[str, Any] = {"settings": {}, "versions": {}, "report": {}}
        place = folder / stage.name
        place.mkdir(parents=True, exist_ok=True)
        write_sealed(place / RECORD, {**empty, "inputs": inputs, "result": digests[stage.name]})
        save_policy(place / "policy.safetensors", GaussianPolicy(2, 0, (4,)), {"mark": mark})
        if stage.name == until:
            return
    write_sealed(folder / SUMMARY, {"recipe": recipe, "config": {}, "results": digests})


def collect(
    run: RunFolder, recipe: str, stage: str, episode: Episode, pack: AssetPack | None = None
) -> None:
    """Write an episode of a stage's policy, in the place of others."""
    place = run.learned if stage == LEARN else run.trajectories
    path = place(TASK, recipe, 0)
    path.unlink(missing_ok=True)
    policy = load_policy(run.policies(TASK, recipe, 0) / stage / "policy.safetensors")[0]
    with TrajectoryWriter(path, TASK, pack or embedded_pack(), {}) as writer:
        writer.add(0, episode.with_info(policy_hash=policy_hash(policy)))
        writer.finish().close()


@pytest.fixture
def trained(tmp_path: Path, episode: Episode) -> RunFolder:
    """A run of both recipes, trained and collected."""
    run = RunFolder(tmp_path)
    for recipe in ("o2o_rl", "dlr"):
        train(run, recipe, "first")
        for stage in (LEARN, "reinforce"):
            collect(run, recipe, stage, episode)
        check_training(run, TASK, recipe, 0)
        check_learned(run, TASK, recipe, 0)
    return run


def test_stages_of_different_trainings_are_refused(trained: RunFolder, episode: Episode) -> None:
    """As another training replaces the first, until its episodes are collected."""
    for until, message in (
        ("discover", "dlr: learn and discover are of different trainings: finish `dlr train`"),
        ("learn", "filter and discover are of different trainings"),
        ("reinforce", "reinforce and the settings in recipe.json are of different trainings"),
        ("", r"dlr/seed_0.hdf5 and the policy of reinforce .* run `dlr collect`"),
    ):
        train(trained, "dlr", "second", until)
        with pytest.raises(UsageError, match=message):
            gather(trained, TASK, 0, None)
    collect(trained, "dlr", "reinforce", episode)
    check_training(trained, TASK, "dlr", 0)
    with pytest.raises(UsageError, match=r"learned/.* and the policy of learn .* `dlr generate`"):
        gather(trained, TASK, 0, None)


def test_demonstrations_of_stages_are_the_same(trained: RunFolder) -> None:
    path = trained.policies(TASK, "o2o_rl", 0) / LEARN / RECORD
    record = read_record(path.parent)
    write_sealed(path, {**record, "inputs": {"demonstrations": "others"}})
    with pytest.raises(UsageError, match="o2o_rl: filter and demonstrations are of different"):
        gather(trained, TASK, 0, None)


def test_what_was_collected_after_learn_needs_no_later_stage(
    tmp_path: Path, episode: Episode
) -> None:
    run = RunFolder(tmp_path)
    check_learned(run, TASK, "dlr", 0)
    train(run, "dlr", "first", until=LEARN)
    collect(run, "dlr", LEARN, episode)
    check_learned(run, TASK, "dlr", 0)
    shutil.rmtree(run.root / "policies")
    check_learned(run, TASK, "dlr", 0)


def test_what_is_compared_is_of_one_asset_pack(
    trained: RunFolder, episode: Episode, tmp_path: Path
) -> None:
    shown = trained.demonstrations(TASK)
    shown.parent.mkdir(parents=True)
    write_step(shown, embedded_pack())
    check_packs(trained, TASK, ("o2o_rl", "dlr"), 0)
    other = AssetPack("local", tmp_path, "0" * 64)
    collect(trained, "dlr", "reinforce", episode, other)
    with pytest.raises(UsageError, match=r"embedded-v1 .*dlr/seed_0.hdf5 with .* local \(000"):
        gather(trained, TASK, 0, None)
