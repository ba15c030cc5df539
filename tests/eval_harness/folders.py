"""Results folders for tests, as the harness's own writer leaves them."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from common.json_files import sealed_line
from eval_harness.plan import make_item
from eval_harness.protocols import Protocol, get_protocol
from eval_harness.results import EPISODES, EpisodeResult, ResultsWriter, make_config
from simulation.assets.resolve import embedded_pack
from simulation.environment import Environment
from simulation.recordings.recorder import Recorder
from simulation.recordings.trajectories import Episode, EpisodeInfo, simulator_versions
from simulation.scene import Fixtures
from simulation.tasks import get_task

DRAWER = "libero_90/KITCHEN_SCENE10_close_the_top_drawer_of_the_cabinet"
BOWL = "libero_goal/put_the_bowl_on_the_plate"

Outcome = bool | str | None
"""Success or failure, an error's text, or None for an episode that has not run."""


def write_folder(
    folder: Path,
    outcomes: Mapping[str, Sequence[Outcome]],
    protocol: str | Protocol = "openpi",
    policy: Mapping[str, Any] | None = None,
    seed: int = 0,
    simulator: Mapping[str, str] | None = None,
    assets: Mapping[str, Any] | None = None,
    trajectories: Mapping[tuple[str, int], Episode] | None = None,
    init_index: int | None = None,
    episodes: int | None = None,
    **details: Any,
) -> Path:
    """Write an evaluation with these outcomes of each task's episodes."""
    chosen = get_protocol(protocol) if isinstance(protocol, str) else protocol
    pack = embedded_pack()
    config = make_config(
        chosen,
        policy or {"kind": "test", "path": folder.name},
        seed,
        assets or {"name": pack.name, "digest": pack.digest},
        simulator or simulator_versions(),
        list(outcomes),
        episodes or max(map(len, outcomes.values())),
        **details,
    )
    writer, lines = ResultsWriter(folder, config), []
    for task, found in outcomes.items():
        for episode, outcome in enumerate(found):
            if outcome is None:
                continue
            key = make_item(chosen, get_task(task), episode, seed).key
            trajectory = (trajectories or {}).get((task, episode))
            result = EpisodeResult(
                task,
                episode,
                key.init_index if init_index is None else init_index,
                key.seed,
                outcome is True,
                len(trajectory.actions) if trajectory else 40 + episode,
                1.5,
                outcome if isinstance(outcome, str) else None,
                3 if isinstance(outcome, str) else 1,
            )
            if trajectory is None:
                lines.append(sealed_line(asdict(result)))
            else:
                writer.add(result, trajectory)
    with (folder / EPISODES).open("ab") as file:
        file.write(b"".join(lines))
    writer.close()
    return folder


@functools.cache
def trajectory(task: str = DRAWER, init_index: int = 0, steps: int = 12) -> Episode:
    """Simulate a hand that moves to one side, from a settled official init state."""
    env = Environment(get_task(task), embedded_pack())
    env.reset(0, init_index)
    env.settle()
    action = np.array([0.3, -0.5 if init_index % 2 else 0.5, 0.2, 0, 0, 0, -1.0])
    recorder = Recorder(env)
    for _ in range(steps):
        recorder.before(action)
        env.step(action)
    return recorder.finish(False)


def made_up(states: np.ndarray, fixture: float = 1.0) -> Episode:
    """Return an episode of these states (T, N), in which nothing else is of interest."""
    steps = len(states)
    return Episode(
        states=states,
        actions=np.zeros((steps, 7)),
        proprio=np.zeros((steps, 8)),
        joints=np.zeros((steps, 7)),
        final_state=states[-1],
        final_proprio=np.zeros(8),
        fixtures=Fixtures(("cabinet",), np.full((1, 3), fixture), np.array([[1.0, 0, 0, 0]])),
        info=EpisodeInfo(seed=0),
    )
