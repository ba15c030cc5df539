"""The order in which training reads the steps of a dataset: a pure function of seed and epoch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from vla_adapters.records import Numbers


@dataclass(frozen=True)
class Order:
    """What decides the order of the steps."""

    lengths: Numbers
    """Steps of each episode, (episodes,)."""
    seed: int
    """Seed of the permutations."""
    window: int
    """Episodes whose steps are mixed with one another."""

    def of_epoch(self, epoch: int) -> Numbers:
        """Return all steps in the order of an epoch, counted through all episodes, (steps,).

        The episodes are permuted and dealt into windows, within which the steps are permuted.
        """
        generator = np.random.default_rng((self.seed, epoch))
        episodes = generator.permutation(len(self.lengths))
        starts = np.cumsum(self.lengths) - self.lengths
        parts = []
        for first in range(0, len(episodes), self.window):
            members = episodes[first : first + self.window]
            steps = [starts[number] + np.arange(self.lengths[number]) for number in members]
            parts.append(generator.permutation(np.concatenate(steps)))
        return np.concatenate(parts)


@dataclass(frozen=True)
class Share:
    """Which samples of the order one rank reads: every `world`-th."""

    batch: int
    """Samples of a batch of one rank."""
    rank: int
    """Number of the rank."""
    world: int
    """Number of ranks."""

    def batches(self, steps: int, drop_last: bool) -> int:
        """Return how many batches of an epoch of so many steps are this rank's."""
        together = self.batch * self.world
        has_more = self.rank < steps % together and not drop_last
        return steps // together + int(has_more)


def batches(
    order: Order, share: Share, count: int, epoch: int, first: int
) -> Iterator[tuple[int, Numbers]]:
    """Yield the epoch and the steps of each batch, epoch after epoch without end.

    Args:
        order: of the steps.
        share: the rank's part of it.
        count: batches of an epoch.
        epoch: epoch to begin in.
        first: batch of it to begin with.
    """
    together = share.batch * share.world
    while True:
        steps = order.of_epoch(epoch)
        for batch in range(first, count):
            taken = steps[batch * together : (batch + 1) * together]
            yield epoch, taken[share.rank :: share.world]
        epoch, first = epoch + 1, 0
