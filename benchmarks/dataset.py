"""Speed of building an RLDS dataset, beside the usual scripts and what the renderer allows."""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.measure import (
    BenchmarkError,
    Result,
    Setting,
    Target,
    benchmark,
    in_fresh_process,
    summarise,
    wall_rate,
    wall_time,
)
from benchmarks.peers.scripts import CAMERAS, encode_pictures, render_pictures
from benchmarks.tasks import DRAWER, random_actions
from simulation.assets.resolve import AssetPack

_SIZE_PX = 256
_USUAL = Target(1 / 3, at_most=True)
"""Of the time that the usual way takes."""
_MAX_WORKERS = 4
"""On larger machines the peer, which does not scale, would take too long."""


@dataclass(frozen=True)
class _Plan:
    """What both sides build."""

    assets: AssetPack
    workers: int
    """Our rendering processes, and the episodes of one step in the dataset that times start-up."""
    episodes: int
    steps: int
    """Control steps of an episode."""

    @property
    def name(self) -> str:
        """What every comparison is of."""
        return (
            f"{self.episodes} episodes of {self.steps} steps, 2 x {_SIZE_PX} px, "
            f"{self.workers} processes"
        )


@benchmark
def dataset(setting: Setting) -> list[Result]:
    """Seconds per episode of short trajectories: render, encode, write.

    Each side also builds a dataset of next to nothing, whose time is that of starting up. A quick
    run leaves that, and thus the limit, out.
    """
    workers = min(len(os.sched_getaffinity(0)), _MAX_WORKERS)
    plan = _Plan(setting.assets, workers, 4 * workers, 10 if setting.quick else 40)
    with tempfile.TemporaryDirectory(prefix="dlr-benchmark-") as name:
        large, small = Path(name) / "large", Path(name) / "small"
        in_fresh_process(record, _trajectories(large), plan.episodes, plan.steps, plan.assets)
        if setting.quick:
            return [_whole([_build_both(large, 0, plan)], plan)]
        in_fresh_process(record, _trajectories(small), workers, 1, plan.assets)
        limit = workers * in_fresh_process(_frames_per_second, _trajectories(large), plan.assets)
        pairs = [
            [_build_both(folder, repetition, plan) for folder in (large, small)]
            for repetition in range(setting.repetitions(2))
        ]
    return [_whole([pair[0] for pair in pairs], plan), *_started(np.array(pairs), limit, plan)]


def _whole(seconds: list[tuple[float, float]], plan: _Plan) -> Result:
    """Return the comparison of all that a build takes."""
    return summarise(
        f"building a dataset / sequential scripts, {plan.name}",
        "s/episode",
        [(ours / plan.episodes, theirs / plan.episodes) for ours, theirs in seconds],
        _USUAL,
    )


def _started(seconds: np.ndarray, limit: float, plan: _Plan) -> list[Result]:
    """Return the comparisons without start-up, from seconds (repetition, dataset, side)."""
    lasted = seconds[:, 0] - seconds[:, 1]
    if (lasted <= 0).any():
        raise BenchmarkError(
            "building a dataset took no longer than starting to: the machine is too busy to "
            "measure this; try again later"
        )
    steps = plan.episodes * plan.steps - plan.workers
    per_episode = [(ours, theirs) for ours, theirs in lasted / steps * plan.steps]
    frames = [(len(CAMERAS) * steps / ours, limit) for ours, _ in lasted]
    return [
        summarise(
            f"building a dataset, start-up taken off / sequential scripts, {plan.name}",
            "s/episode",
            per_episode,
            _USUAL,
        ),
        summarise(
            f"building a dataset, start-up taken off / renderers alone, {plan.name}",
            "frames/s",
            frames,
        ),
    ]


def _trajectories(folder: Path) -> Path:
    return folder / "trajectories" / "episodes.hdf5"


def _build_both(folder: Path, repetition: int, plan: _Plan) -> tuple[float, float]:
    """Return the seconds that ours and the peer take to build a folder's trajectories."""
    source, target = _trajectories(folder), folder / f"built_{repetition}"
    ours = wall_time(lambda: _build_ours(source, target, plan))
    return ours, wall_time(lambda: _build_peer(source, target, plan))


def _build_ours(source: Path, target: Path, plan: _Plan) -> None:
    from dataset_builders.build import BuildConfig, build

    build(
        BuildConfig(
            source.parent,
            target / "ours",
            resolution=_SIZE_PX,
            assets=str(plan.assets.path),
            workers=plan.workers,
        )
    )


def _build_peer(source: Path, target: Path, plan: _Plan) -> None:
    target.mkdir(parents=True, exist_ok=True)
    pictures = target / "pictures.hdf5"
    in_fresh_process(render_pictures, source, pictures, DRAWER, plan.assets, _SIZE_PX)
    in_fresh_process(encode_pictures, pictures, target / "peer", _SIZE_PX)


def record(path: Path, count: int, steps: int, assets: AssetPack) -> None:
    """Write episodes of random actions, which publish as the `dlr` recipe's would."""
    from simulation.environment import Environment
    from simulation.recordings.recorder import Recorder
    from simulation.recordings.trajectories import TrajectoryWriter

    env = Environment(DRAWER, assets)
    writer = TrajectoryWriter(path, DRAWER, assets, {"actions": "random"})
    for index in range(count):
        env.reset(seed=index, init_index=index)
        env.settle()
        recorder = Recorder(env)
        for action in random_actions(steps):
            recorder.before(action)
            env.step(action)
        writer.add(index, recorder.finish(success=True, method="dlr"))
    writer.finish().close()


def _frames_per_second(path: Path, assets: AssetPack) -> float:
    """Return what one renderer draws of an episode that it has drawn before."""
    from simulation.pictures.rendering import DEFAULT_CAMERAS, Renderer
    from simulation.recordings.trajectories import TrajectoryFile

    with TrajectoryFile(path) as file, Renderer(DRAWER, assets, _SIZE_PX, _SIZE_PX) as render:
        episode = file[0]

        def draw() -> None:
            for _ in render.iterate(episode, DEFAULT_CAMERAS, _SIZE_PX, _SIZE_PX):
                pass

        draw()
        return wall_rate(draw, len(episode) * len(DEFAULT_CAMERAS))
