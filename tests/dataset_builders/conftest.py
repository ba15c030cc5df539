"""A folder of real, very short trajectories, and the dataset built from it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dataset_builders.build import BuildConfig, build
from simulation.assets.resolve import embedded_pack
from simulation.environment import Environment
from simulation.recordings.recorder import Recorder
from simulation.recordings.trajectories import Episode, EpisodeInfo, TrajectoryWriter
from simulation.tasks import get_task

TASK = "libero_90/KITCHEN_SCENE10_close_the_top_drawer_of_the_cabinet"
PIXELS = 64
EPISODES = {
    "libero_90.hdf5": [
        EpisodeInfo(seed=2_000_000, pattern=0, method="dlr", policy_hash="ab12"),
        EpisodeInfo(seed=7, init_index=36, pattern=1, method="dlr", policy_hash="ab12"),
        EpisodeInfo(seed=8, init_index=37, pattern=1, method="dlr", success=False),
    ],
    "nested/baseline.hdf5": [EpisodeInfo(seed=2_000_001, method="o2o_rl", policy_hash="cd34")],
}


def record(environment: Environment, info: EpisodeInfo, steps: int) -> Episode:
    """Return a few steps of random actions under the given provenance."""
    environment.reset(info.seed, None if info.init_index < 0 else info.init_index)
    recorder = Recorder(environment)
    rng = np.random.default_rng(info.seed)
    for _ in range(steps):
        action = rng.uniform(-1, 1, 7)
        recorder.before(action)
        environment.step(action)
    fields = {"pattern": info.pattern, "method": info.method, "policy_hash": info.policy_hash}
    return recorder.finish(info.success, **fields)


@pytest.fixture(scope="session")
def trajectories(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with the files of EPISODES, simulated with the embedded pack."""
    folder = tmp_path_factory.mktemp("trajectories")
    task, assets = get_task(TASK), embedded_pack()
    environment = Environment(task, assets)
    for name, infos in EPISODES.items():
        writer = TrajectoryWriter(folder / name, task, assets, {"recipe": name})
        for index, info in enumerate(infos):
            writer.add(index, record(environment, info, steps=4 - index))
        writer.finish().close()
    return folder


@pytest.fixture(scope="session")
def dataset(trajectories: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The `dlr` episodes of these trajectories as small pictures, from the process pool."""
    folder = tmp_path_factory.mktemp("data")
    return build(BuildConfig(trajectories, folder, resolution=PIXELS, workers=1))
