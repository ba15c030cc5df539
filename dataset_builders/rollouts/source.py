"""An episode's source that is a policy: read as a trajectory file is, it rolls the episode out."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Protocol

from dataset_builders.sources import EpisodeRef
from generator.work.attempts import roll_out
from simulation.recordings.trajectories import Episode, TrajectoryFile, simulator_versions
from simulation.tasks import Task, get_task


class Source(Protocol):
    """What an episode is rendered from."""

    @property
    def path(self) -> Path:
        """The trajectory file, or one of its name."""

    @property
    def task(self) -> Task:
        """The task."""

    @property
    def asset_pack(self) -> str:
        """Name of the asset pack of the physics."""

    @property
    def asset_digest(self) -> str:
        """Its digest."""

    @property
    def versions(self) -> dict[str, str]:
        """Simulator versions."""

    def __getitem__(self, index: int) -> Episode:
        """Return an episode."""


class RolledOut:
    """The source of one episode, which its policy makes again.

    Args:
        ref: the episode, with a `rollout`.
    """

    def __init__(self, ref: EpisodeRef) -> None:
        assert ref.rollout is not None
        self._index, (self._collection, self._kept) = ref.index, ref.rollout
        self.path, self.task = Path(ref.name), get_task(ref.task)
        self.asset_pack = self._collection.asset_pack
        self.asset_digest = self._collection.asset_digest
        self.versions = simulator_versions()

    def __getitem__(self, index: int) -> Episode:
        """Return the episode.

        Raises:
            CollectionError: it came out otherwise than before.
        """
        if index != self._index:
            raise IndexError(f"{self.path} is the source of episode {self._index} alone")
        return roll_out(self._collection, self._kept)


def open_source(ref: EpisodeRef) -> AbstractContextManager[Source]:
    """Return an episode's source.

    Raises:
        TrajectoryError: a trajectory file is missing or damaged.
    """
    return TrajectoryFile(Path(ref.path)) if ref.rollout is None else nullcontext(RolledOut(ref))
