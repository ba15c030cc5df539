"""A run's report: pictures are drawn with the assets that the trajectories were made with."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from analysis.profile import profile
from common.errors import UsageError
from reports.run_gather import pack_of, to_trajectory
from simulation.assets.embedded import write_embedded_pack
from simulation.assets.resolve import ASSETS_VARIABLE, AssetPack, embedded_pack, resolve_assets
from simulation.environment import Environment
from simulation.recordings.recorder import Recorder
from simulation.recordings.trajectories import TrajectoryFile, TrajectoryWriter
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
