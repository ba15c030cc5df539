"""Ranks turns of the hand about an object by how clear it is of what stands beside it."""

from __future__ import annotations

import math
from itertools import product

import numpy as np

from demonstrations.amplify.shapes import support_height
from simulation.environment import Environment

_PROBES = ((0.055, 0.0), (0.08, 0.04), (0.11, 0.04))
"""Distance from the grip site along the line on which the fingers close, and height over the
site of what the hand has there: the outside of the open fingers, and the palm; m."""
_BREADTH = 0.03
"""Half the hand's size across that line, m."""
_WORTH = 0.02
"""Least sum of heights that is cleared, m, for which the hand turns."""
_EFFORT = 0.01
"""Height, m, that a turn of the hand by 1 rad is worth."""


def obstruction(env: Environment, grip: np.ndarray, closing: float, without: int) -> float:
    """Return by how much things stand higher than a hand allows, m, summed over its width.

    Args:
        env: the scene.
        grip: grip site, world frame, m, (3,).
        closing: direction along which the fingers close, rad.
        without: root body of the object that is grasped.
    """
    along = np.array([math.cos(closing), math.sin(closing), 0.0])
    across, total = np.array([-along[1], along[0], 0.0]), 0.0
    for distance, height in _PROBES:
        for side, breadth in product((-1.0, 1.0), (-_BREADTH, 0.0, _BREADTH)):
            place = grip + side * distance * along + breadth * across
            carried = support_height(env, place, without, from_above=True)
            total += max(carried - (grip[2] + height), 0.0)
    return total


def by_clearance(obstructions: dict[float, float]) -> list[float]:
    """Return turns, rad, the clearest first; the first given is first where it is clear enough."""
    usual = next(iter(obstructions))

    def cost(turn: float) -> float:
        effort = abs((turn + 0.5 * math.pi) % math.pi - 0.5 * math.pi)
        return obstructions[turn] + _EFFORT * effort

    ranked = sorted(obstructions, key=cost)
    if obstructions[usual] - obstructions[ranked[0]] <= _WORTH:
        ranked = [usual, *(turn for turn in ranked if turn != usual)]
    return ranked
