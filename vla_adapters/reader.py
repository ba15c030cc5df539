"""Batches of an RLDS dataset for training: shuffled, exactly once an epoch, resumable anywhere."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import DataLoader, Dataset

from common.errors import DatasetError, DlrError, SettingError
from vla_adapters.adapter import Batch
from vla_adapters.order import Order, Share, batches
from vla_adapters.pictures import Pictures
from vla_adapters.records import Numbers, Records, open_records
from vla_adapters.samples import CAMERAS, Sample

_PREFETCH = 4
"""Batches that each worker process prepares ahead."""
_CHOICE_SEED = 0
"""Draws which episodes a limit keeps: the same for every training seed."""

Collate = Callable[[Sequence[Sample]], Batch]
"""Makes a batch of samples: an adapter's `collate`."""


@dataclass(frozen=True)
class ReaderConfig:
    """Which samples to read, in which order and how."""

    batch: int = 32
    """Samples of a batch, for each rank."""
    chunk: int = 1
    """Actions of a sample: the step's own and those after it."""
    cameras: tuple[str, ...] = CAMERAS
    """Pictures of a sample, by their names in the data."""
    split: str = "train"
    """Split of the dataset."""
    seed: int = 0
    """Seed of the order and of the augmentation."""
    window: int = 1024
    """Episodes whose steps are mixed with one another; more mix better, fewer read a disk with
    fewer jumps. It costs no memory."""
    episodes: int | None = None
    """Episodes to use, of those that `where` leaves; by default all. Which ones depends on the
    data alone, and fewer are a subset of more."""
    where: tuple[str, ...] = ()
    """Conditions on an episode's metadata, `name=value`, such as `pattern=1`. Values of one name
    are alternatives; conditions on different names must all hold."""
    pictures: Pictures = Pictures()
    """What is done to pictures; by default they stay as they are stored."""
    workers: int = 2
    """Processes that decode and collate; 0 for none beside this one."""
    drop_last: bool = False
    """Leave out an epoch's last samples if they are too few for a full batch on each rank. With
    several ranks training needs this, for otherwise some ranks may have a batch more."""

    def __post_init__(self) -> None:
        """Check the numbers.

        Raises:
            SettingError: one is out of range.
        """
        least = {"batch": 1, "chunk": 1, "window": 1, "workers": 0, "seed": 0}
        for name, bound in least.items():
            if getattr(self, name) < bound:
                raise SettingError(f"{name} must be at least {bound}, not {getattr(self, name)}")
        if not self.cameras or (self.episodes is not None and self.episodes < 1):
            raise SettingError("cameras must name a picture, and episodes be at least 1")


@dataclass(frozen=True)
class Position:
    """How far a reader has come; what a checkpoint keeps of it."""

    epoch: int = 0
    """Epoch, from 0."""
    batches: int = 0
    """Batches of this epoch that have been read."""


class Reader:
    """Batches of one rank. Iterating goes on where the last iteration stopped, to the epoch's end.

        reader = Reader([folder], ReaderConfig(), adapter.collate)
        reader.seek(position)
        while reader.position.epoch < epochs:
            for batch in reader:
                ...  # `reader.position` is the position after this batch

    The batches are a function of the data, the configuration, the position, the rank and the
    number of ranks alone, not of the number of workers. All ranks together read the batches that
    one rank reads with a batch as large as theirs together.

    Args:
        addresses: datasets, as for `open_records`.
        config: what to read.
        collate: makes batches of samples; must be a function of them alone. The worker processes
            are forked where the platform can, so it may hold a large model for free.
        rank: number of this process among those that train together.
        world: number of these.

    Raises:
        DatasetError: the data is missing, damaged or of another layout, or too little is left.
    """

    def __init__(
        self,
        addresses: Sequence[str | Path],
        config: ReaderConfig,
        collate: Collate,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        self.config = config
        self.records = open_records(addresses, config.split, config.cameras)
        self.episodes = choose_episodes(self.records, config.where, config.episodes)
        self._lengths = self.records.steps[self.episodes]
        self._share = Share(config.batch, rank, world)
        self._maker = _BatchMaker(self.records, self.episodes, config, collate)
        self._stream: Iterator[Batch | DlrError] | None = None
        self.position = Position()
        if self.batches_per_epoch == 0:
            raise DatasetError(
                f"{self.steps} steps in {len(self.episodes)} episodes fill no batch of "
                f"{config.batch} on each of {world} ranks: make the batch smaller"
            )

    @property
    def steps(self) -> int:
        """Steps of all chosen episodes."""
        return int(self._lengths.sum())

    @property
    def batches_per_epoch(self) -> int:
        """Batches that this rank reads in an epoch."""
        return self._share.batches(self.steps, self.config.drop_last)

    def seek(self, position: Position) -> None:
        """Go to a position; nothing that lies before it is read."""
        if not 0 <= position.batches <= self.batches_per_epoch or position.epoch < 0:
            raise DatasetError(
                f"{position} is not in this data, which has {self.batches_per_epoch} batches an "
                "epoch: resume with the data and batch size of before"
            )
        self.close()
        self.position = self._normalised(position)

    def close(self) -> None:
        """End the worker processes; iterating starts them again."""
        self._stream = None

    def __iter__(self) -> Iterator[Batch]:
        """Yield what is left of the epoch.

        Raises:
            DatasetError: a shard is damaged or has changed.
        """
        epoch = self.position.epoch
        while self.position.epoch == epoch:
            if self._stream is None:
                self._stream = self._open_stream()
            batch = next(self._stream)
            if isinstance(batch, DlrError):
                self.close()
                raise batch
            next_one = dataclasses.replace(self.position, batches=self.position.batches + 1)
            self.position = self._normalised(next_one)
            yield batch

    def _normalised(self, position: Position) -> Position:
        at_end = position.batches == self.batches_per_epoch
        return Position(position.epoch + 1) if at_end else position

    def _open_stream(self) -> Iterator[Batch | DlrError]:
        """Return the batches from the position on, epoch after epoch without end."""
        workers = self.config.workers
        loader = DataLoader(
            self._maker,
            batch_size=None,
            sampler=self._batches(),
            collate_fn=_as_is,
            num_workers=workers,
            multiprocessing_context="fork" if workers and sys.platform == "linux" else None,
            prefetch_factor=_PREFETCH if workers else None,
            pin_memory=torch.cuda.is_available(),
            generator=torch.Generator(),
        )
        return iter(loader)

    def _batches(self) -> Iterator[tuple[int, Numbers]]:
        """Return each batch's epoch and the numbers of its steps, from the position on."""
        order = Order(self._lengths, self.config.seed, self.config.window)
        epoch, first = self.position.epoch, self.position.batches
        return batches(order, self._share, self.batches_per_epoch, epoch, first)


def choose_episodes(
    records: Records, where: Sequence[str] = (), limit: int | None = None
) -> Numbers:
    """Return the numbers of the episodes that fulfil all conditions, at most `limit`, ascending.

    Args:
        records: the data.
        where: conditions, as in `ReaderConfig`.
        limit: how many to choose, at random but always the same; fewer are a subset of more.

    Raises:
        DatasetError: the metadata lacks a name, no episode is left, or fewer than `limit` are.
    """
    chosen: Numbers = np.arange(len(records))
    accepted: dict[str, set[str]] = {}
    for condition in where:
        name, equals, value = condition.partition("=")
        if not equals or name not in records.metadata:
            raise DatasetError(
                f"{condition!r} is no condition on the metadata: give name=value with one of the "
                f"names {', '.join(records.metadata) or '(none)'}"
            )
        accepted.setdefault(name, set()).add(value)
    for name, values in accepted.items():
        column = records.metadata[name]
        chosen = chosen[[str(column[episode]) in values for episode in chosen]]
        if not chosen.size:
            raise DatasetError(
                f"no episode has {name} {' or '.join(sorted(values))}; there are "
                f"{', '.join(sorted({str(value) for value in column})[:20])}"
            )
    if limit is None:
        return chosen
    if limit > len(chosen):
        raise DatasetError(f"{limit} episodes are asked for, but the data has {len(chosen)}")
    return np.sort(np.random.default_rng(_CHOICE_SEED).permutation(chosen)[:limit])


class _BatchMaker(Dataset[Batch | DlrError]):
    """Makes the batch of given steps; runs in the worker processes."""

    def __init__(
        self,
        records: Records,
        episodes: Numbers,
        config: ReaderConfig,
        collate: Collate,
    ) -> None:
        self._records, self._episodes = records, episodes
        self._ends = np.cumsum(records.steps[episodes])
        self._config, self._collate = config, collate

    def __getitem__(self, numbers: tuple[int, Numbers]) -> Batch | DlrError:
        """Return a batch, or the error that a user can mend, whose message stays as it is."""
        epoch, steps = numbers
        try:
            return self._collate([self._sample(epoch, int(step)) for step in steps])
        except DlrError as error:
            return error

    def _sample(self, epoch: int, number: int) -> Sample:
        place = int(np.searchsorted(self._ends, number, side="right"))
        name = int(self._episodes[place])
        episode = self._records.episode(name)
        length = len(episode.actions)
        step = number - int(self._ends[place]) + length
        wanted = np.arange(step, step + self._config.chunk)
        return Sample(
            images=self._images(epoch, name, step),
            state=episode.states[step],
            actions=episode.actions[np.minimum(wanted, length - 1)],
            is_pad=wanted >= length,
            instruction=episode.instructions[step],
            episode=name,
            step=step,
        )

    def _images(self, epoch: int, episode: int, step: int) -> dict[str, npt.NDArray[np.uint8]]:
        config, images = self._config, {}
        generator = np.random.default_rng((config.seed, epoch, episode, step))
        for camera in config.cameras:
            picture = self._records.picture(episode, step, camera)
            images[camera] = config.pictures(picture, generator)
        return images


def _as_is(batch: Any) -> Any:
    return batch
