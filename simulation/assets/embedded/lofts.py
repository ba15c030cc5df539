"""Smooth tubes through rings: the one shape of the pack that is neither a solid nor turned."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

from simulation.assets.embedded.shapes import (
    UPRIGHT,
    Look,
    Part,
    Quaternion,
    Vector,
    number,
    rotate,
)

SEGMENTS = 16


@dataclass(frozen=True)
class Ring:
    """One cross section of a tube."""

    pos: Vector
    """Centre in the part's frame, m."""
    half: tuple[float, float]
    """Half widths along the ring's own x and y, m."""
    quat: Quaternion = UPRIGHT
    """Orientation, w first; the tube leaves the ring along its z."""
    square: float = 2.0
    """Exponent of the superellipse: 2 is an ellipse, 4 and more a box with round corners."""


def ring_points(ring: Ring) -> list[Vector]:
    """The ring's `SEGMENTS` points, counterclockwise about its z."""
    points = []
    for index in range(SEGMENTS):
        angle = 2 * math.pi * (index + 0.5) / SEGMENTS
        x, y = (
            math.copysign(abs(value) ** (2 / ring.square), value)
            for value in (math.cos(angle), math.sin(angle))
        )
        dx, dy, dz = rotate(ring.quat, (ring.half[0] * x, ring.half[1] * y, 0.0))
        points.append((ring.pos[0] + dx, ring.pos[1] + dy, ring.pos[2] + dz))
    return points


def loft(look: Look, *rings: Ring) -> Part:
    """A picture of a tube through the rings, closed at its ends, along the rings' z."""
    return Part("mesh", (0.0, 0.0, 0.0), (), UPRIGHT, False, look, tube(rings))


def tube(rings: Sequence[Ring]) -> tuple[str, str]:
    """Vertices and faces, as MJCF text, of the tube with both ends closed."""
    vertices = [point for ring in rings for point in ring_points(ring)]
    faces: list[int] = []
    for row, index in itertools.product(range(len(rings) - 1), range(SEGMENTS)):
        low = row * SEGMENTS
        a, b = low + index, low + (index + 1) % SEGMENTS
        c, d = b + SEGMENTS, a + SEGMENTS
        faces += [a, b, c, a, c, d]
    for ring, outwards in ((rings[0], -1), (rings[-1], 1)):
        center = len(vertices)
        vertices += [ring.pos, *ring_points(ring)]  # not the wall's: the edge would look round
        for index in range(SEGMENTS):
            faces += [center, center + 1 + index, center + 1 + (index + 1) % SEGMENTS][::outwards]
    flat = itertools.chain.from_iterable(vertices)
    return number(flat), " ".join(map(str, faces))
