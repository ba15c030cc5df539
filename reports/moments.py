"""The moments of an episode that tell what was done: when the fingers close, carry and open."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from simulation.physics.control import CONTROL_FREQUENCY

_SHORTEST = 5
"""Control steps for which the fingers stay closed at least where they hold something."""
_MOST_GRASPS = 3
"""Grasps of an episode that are shown; the longest, if there are more."""
_QUARTERS = ("a quarter", "half", "three quarters")


@dataclass(frozen=True)
class Moment:
    """A moment of an episode."""

    step: int
    """Control steps before it, 0 to T."""
    name: str
    """What happens, in a word or two."""

    @property
    def caption(self) -> str:
        """Its name and its time."""
        return f"{self.name}, {self.step / CONTROL_FREQUENCY:.1f} s"


def find_moments(actions: np.ndarray) -> list[Moment]:
    """Return the moments of an episode that are worth a picture, in order.

    These are its start and end, and of each grasp when the fingers have closed, the middle of
    carrying, and when the fingers have opened. Where nothing is grasped, because the hand pushes
    with its fingers as they are from the start, the quarters of its time.

    Args:
        actions: (T, 7), the last number positive to close the fingers.
    """
    steps = len(actions)
    found = [Moment(0, "start")]
    grasps = _grasps(actions[:, 6] > 0)
    for close, open_ in grasps:
        settled = min(close + _SHORTEST, open_)
        found += [Moment(settled, "fingers close"), Moment((settled + open_) // 2, "middle")]
        if open_ + _SHORTEST < steps:
            found.append(Moment(open_ + _SHORTEST, "fingers open"))
    if not grasps:
        found += [Moment(steps * k // 4, name) for k, name in enumerate(_QUARTERS, 1)]
    return [*found, Moment(steps, "end")]


def _grasps(closed: np.ndarray) -> list[tuple[int, int]]:
    """Return (first step, step after the last) of each time that the fingers are closed; (T,).

    Those that are closed from the start grasp nothing.
    """
    edges = np.diff(np.concatenate(([0], closed.astype(int), [0])))
    runs = zip(np.flatnonzero(edges > 0), np.flatnonzero(edges < 0), strict=True)
    long = [(int(a), int(b)) for a, b in runs if a > 0 and b - a >= _SHORTEST]
    longest = sorted(long, key=lambda run: run[0] - run[1])[:_MOST_GRASPS]
    return sorted(longest)
