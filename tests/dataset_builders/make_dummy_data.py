"""Write the builder's `dummy_data` anew, for another embedded pack or trajectory format: run it."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from simulation.assets.resolve import embedded_pack
from simulation.environment import Environment
from simulation.recordings.recorder import Recorder
from simulation.recordings.trajectories import TrajectoryWriter
from simulation.tasks import get_task

TASK = "libero_90/KITCHEN_SCENE10_close_the_top_drawer_of_the_cabinet"
FOLDER = Path(__file__).parents[2] / "dataset_builders" / "libero_rl" / "dummy_data"
STEPS, PATTERNS = 3, 2


def main() -> None:
    """Write an episode of random actions for each pattern, which say that they succeeded."""
    task, pack = get_task(TASK), embedded_pack()
    environment = Environment(task, pack)
    writer = TrajectoryWriter(FOLDER / "drawer.hdf5", task, pack, {"recipe": "dlr"})
    for pattern in range(PATTERNS):
        environment.reset(2_000_000 + pattern, None)
        recorder, rng = Recorder(environment), np.random.default_rng(pattern)
        for _ in range(STEPS):
            recorder.before(action := rng.uniform(-1, 1, 7))
            environment.step(action)
        writer.add(
            pattern, recorder.finish(True, pattern=pattern, method="dlr", policy_hash="ab12")
        )
    writer.finish().close()


if __name__ == "__main__":
    main()
