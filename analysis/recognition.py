"""Which of the demonstrations' named ways episodes are, judged by the hand's path alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import linear_sum_assignment

from analysis.trajectories import DiversityError
from analysis.ways import Accuracy

IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Confusion:
    """How often episodes of a known kind were given a name."""

    known: tuple[str, ...]
    """Kinds, a row each: ways that were meant, or patterns that were asked for."""
    named: tuple[str, ...]
    """Names, a column each."""
    counts: IntArray
    """(rows, columns) episodes."""

    @property
    def named_alike(self) -> Accuracy:
        """Episodes named by their own kind's name, where kinds are names of ways."""
        places = {name: place for place, name in enumerate(self.named)}
        own = [
            row[places[k]] for k, row in zip(self.known, self.counts, strict=True) if k in places
        ]
        return Accuracy(int(sum(own)), int(self.counts.sum()))

    @property
    def matched(self) -> Accuracy:
        """Episodes with their kind's name, kinds being given names one to one as fits best.

        For kinds without names, such as patterns. Names given at random agree by more than one
        in the number of kinds, since the best assignment is taken.
        """
        rows, columns = linear_sum_assignment(self.counts, maximize=True)
        return Accuracy(int(self.counts[rows, columns].sum()), int(self.counts.sum()))


def confusion(known: Sequence[str], named: Sequence[str]) -> Confusion:
    """Return how often N episodes of each known kind were given each name; both sorted.

    Raises:
        DiversityError: there is no episode, or the two differ in number.
    """
    if not len(known) or len(known) != len(named):
        raise DiversityError(f"{len(known)} episodes of known kinds and {len(named)} names")
    rows, columns = tuple(sorted(set(known))), tuple(sorted(set(named)))
    counts = np.zeros((len(rows), len(columns)), np.int64)
    for kind, name in zip(known, named, strict=True):
        counts[rows.index(kind), columns.index(name)] += 1
    return Confusion(rows, columns, counts)
