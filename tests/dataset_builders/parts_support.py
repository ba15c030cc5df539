"""Tiny episodes, a plan of three shards for them, and a backend of this very process."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from common.workers import After, Outcome
from dataset_builders.episodes import PictureConfig
from dataset_builders.shards import Finished, Shard, plan_shards
from dataset_builders.sources import EpisodeRef, list_episodes
from simulation.assets.resolve import embedded_pack
from simulation.environment import Environment
from simulation.recordings.trajectories import EpisodeInfo, TrajectoryWriter
from simulation.tasks import get_task
from tests.dataset_builders.conftest import TASK, record

IN_ANY_ORDER = After()
EPISODES, PIXELS = 9, 24
PICTURES = PictureConfig(PIXELS)


class Here:
    """Runs work items in this very process."""

    def run(
        self, function: Callable[[Any], Any], items: Sequence[Any], description: str
    ) -> Iterator[Any]:
        return map(function, items)

    def attempt(
        self,
        function: Callable[[Any], Any],
        items: Sequence[Any],
        description: str,
        after: After = IN_ANY_ORDER,
    ) -> Iterator[Outcome[Any]]:
        raise NotImplementedError


def make_episodes(folder: Path) -> list[EpisodeRef]:
    """Write a trajectory file of short episodes and return them."""
    task = get_task(TASK)
    environment = Environment(task, embedded_pack())
    writer = TrajectoryWriter(folder / "x.hdf5", task, embedded_pack(), {})
    for index in range(EPISODES):
        info = EpisodeInfo(seed=2_000_000 + index, method="dlr", policy_hash="ab")
        writer.add(index, record(environment, info, steps=2))
    writer.finish().close()
    return list_episodes(folder, "dlr")


def plan(episodes: list[EpisodeRef], work: Path, file_format: str = "tfrecord") -> list[Shard]:
    """Return a plan of three shards."""
    size = round(0.3 * 2 * PIXELS**2 * 2 * EPISODES / 3) + 1
    shards = plan_shards("x", {"train": episodes}, PICTURES, work, file_format, frozenset(), size)
    assert len(shards) == 3
    return shards


def contents(finished: Sequence[Finished]) -> list[bytes]:
    return [item.path.read_bytes() for item in finished]
