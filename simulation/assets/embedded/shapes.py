"""A small shape language for MuJoCo objects: solids, looks, bodies and items."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

Vector = tuple[float, float, float]
Quaternion = tuple[float, float, float, float]

UPRIGHT: Quaternion = (1.0, 0.0, 0.0, 0.0)
ALONG_Y: Quaternion = (math.sqrt(0.5), -math.sqrt(0.5), 0.0, 0.0)
"""Turns a part drawn along z so that it points along +y."""

REVOLVE_SEGMENTS = 20


@dataclass(frozen=True)
class Look:
    """How a part is drawn."""

    rgb: Vector
    """Colour, each channel 0..1; multiplies the texture where there is one."""
    texture: str = ""
    """Stem of a picture in the pack's `textures` folder, mapped onto the part as a cube."""
    shininess: float = 0.3
    """MuJoCo's shininess and specular, 0..1."""
    alpha: float = 1.0
    """Opacity, 0..1."""


@dataclass(frozen=True)
class Surface:
    """Contact parameters of a solid part, in MuJoCo's own units."""

    friction: str = "0.95 0.3 0.1"
    """Sliding, torsional and rolling friction."""
    solref: str = "0.001 1"
    """Time constant (s) and damping ratio of the contact."""
    solimp: str = "0.998 0.998 0.001"
    """Contact impedance."""
    contype: int = 1
    """Collision bit mask offered to others."""
    margin: str = "0"
    """Distance (m) at which a contact is detected."""


STIFF = Surface()
PLAIN = Surface("1 0.005 0.0001", "0.02 1", "0.9 0.95 0.001")
APPLIANCE = Surface("1 0.005 0.0001", "0.02 1", "0.8 0.9 0.01", 0, "0.001")


@dataclass(frozen=True)
class Part:
    """One convex solid, one picture of a solid, or both at once."""

    kind: str
    """MuJoCo geom type: box, cylinder, capsule, sphere, ellipsoid; or mesh (drawn only)."""
    pos: Vector
    """Centre in the body's frame, m."""
    size: tuple[float, ...]
    """MuJoCo half sizes, m."""
    quat: Quaternion = UPRIGHT
    """Orientation in the body's frame, w first."""
    solid: bool = True
    """Whether it collides and weighs."""
    look: Look | None = None
    """How it is drawn; not at all when None."""
    mesh: tuple[str, str] = ("", "")
    """For mesh: vertices and faces as MJCF text."""

    @property
    def volume(self) -> float:
        """Volume in cubic metres, overlaps counted as MuJoCo counts them."""
        size = self.size
        match self.kind:
            case "box":
                return 8.0 * size[0] * size[1] * size[2]
            case "cylinder":
                return 2.0 * math.pi * size[0] ** 2 * size[1]
            case "capsule":
                return 2.0 * math.pi * size[0] ** 2 * size[1] + 4 / 3 * math.pi * size[0] ** 3
            case "sphere":
                return 4 / 3 * math.pi * size[0] ** 3
            case "ellipsoid":
                return 4 / 3 * math.pi * size[0] * size[1] * size[2]
        raise ValueError(f"a part of kind {self.kind!r} has no volume")


@dataclass(frozen=True)
class Site:
    """A named region of a body that LIBERO's predicates and samplers look up."""

    name: str
    """Name without the object's prefix."""
    pos: Vector
    """Centre in the body's frame, m."""
    size: tuple[float, ...]
    """Half sizes, m."""
    quat: Quaternion = UPRIGHT
    """Orientation, w first."""
    kind: str = "box"
    """MuJoCo site type."""
    rgba: tuple[float, float, float, float] = (0.8, 0.8, 0.8, 0.0)
    """Colour; alpha 0 keeps it out of pictures."""


@dataclass(frozen=True)
class Joint:
    """A hinge or a slide with limits."""

    name: str
    """Name without the object's prefix."""
    kind: str
    """hinge or slide."""
    axis: Vector
    """Axis in the body's frame."""
    range: tuple[float, float]
    """Limits, rad or m."""
    damping: float
    """Damping, N m s/rad or N s/m."""


@dataclass(frozen=True)
class Body:
    """A rigid body with its parts, sites, joint and children."""

    name: str
    """Name without the object's prefix."""
    parts: tuple[Part, ...] = ()
    """Solids and pictures."""
    pos: Vector = (0.0, 0.0, 0.0)
    """Origin in the parent's frame, m."""
    quat: Quaternion = UPRIGHT
    """Orientation in the parent's frame, w first."""
    mass: float = 0.0
    """Mass (kg) spread evenly over the solid parts; with `inertia`, the body's mass outright."""
    inertia: Vector | None = None
    """Inertia (kg m^2) about axes through `center`, in place of the parts' own."""
    center: Vector = (0.0, 0.0, 0.0)
    """Centre of mass (m) that goes with `inertia`."""
    joint: Joint | None = None
    """Joint to the parent; none welds it."""
    sites: tuple[Site, ...] = ()
    """Regions."""
    children: tuple[Body, ...] = ()
    """Bodies carried by this one."""
    surface: Surface = STIFF
    """Contact parameters of all its solid parts."""


@dataclass(frozen=True)
class Item:
    """One object file of the pack."""

    path: str
    """Path of the MJCF file in the pack."""
    body: Body
    """The body LIBERO names `object`."""
    bottom: float = -0.06
    """Height (m) that upstream's samplers take for the object's underside."""
    top: float = 0.04
    """Height (m) that upstream's samplers take for its top."""
    radius: float = 0.025
    """Horizontal radius (m) that upstream's samplers keep clear."""
    marker: float = 0.005
    """Radius (m) of the marker sites."""


def multiply(a: Quaternion, b: Quaternion) -> Quaternion:
    """Quaternion product: the rotation `b` followed by `a`, w first."""
    return (
        a[0] * b[0] - a[1] * b[1] - a[2] * b[2] - a[3] * b[3],
        a[0] * b[1] + a[1] * b[0] + a[2] * b[3] - a[3] * b[2],
        a[0] * b[2] - a[1] * b[3] + a[2] * b[0] + a[3] * b[1],
        a[0] * b[3] + a[1] * b[2] - a[2] * b[1] + a[3] * b[0],
    )


def rotate(quat: Quaternion, vector: Vector) -> Vector:
    """The vector turned by the quaternion."""
    conjugate = (quat[0], -quat[1], -quat[2], -quat[3])
    _, x, y, z = multiply(multiply(quat, (0.0, *vector)), conjugate)
    return (x, y, z)


def turn(axis: str, angle: float) -> Quaternion:
    """Rotation by `angle` (rad) about the x, y or z axis."""
    half = math.sin(angle / 2)
    return (
        math.cos(angle / 2),
        half * (axis == "x"),
        half * (axis == "y"),
        half * (axis == "z"),
    )


def box(pos: Vector, half: Vector, look: Look | None = None, quat: Quaternion = UPRIGHT) -> Part:
    """A solid box by centre and half sizes; drawn when it has a look."""
    return Part("box", pos, half, quat, True, look)


def picture(part: Part, look: Look, grow: float = 0.0) -> Part:
    """The same shape drawn only, its half sizes grown by `grow` metres."""
    size = tuple(length + grow for length in part.size)
    return replace(part, solid=False, look=look, size=size)


def span(low: Vector, high: Vector, look: Look | None = None) -> Part:
    """A solid box from its lowest to its highest corner."""
    pos = (low[0] + high[0]) / 2, (low[1] + high[1]) / 2, (low[2] + high[2]) / 2
    half = (high[0] - low[0]) / 2, (high[1] - low[1]) / 2, (high[2] - low[2]) / 2
    return box(pos, half, look)


def bar(start: Vector, end: Vector, width: float, depth: float, look: Look | None = None) -> Part:
    """A solid box along the x-z plane from start to end; half width along y, half depth across."""
    dx, dz = end[0] - start[0], end[2] - start[2]
    pos = (start[0] + end[0]) / 2, (start[1] + end[1]) / 2, (start[2] + end[2]) / 2
    half = (depth, width, math.hypot(dx, dz) / 2)
    return box(pos, half, look, turn("y", math.atan2(dx, dz)))


def ring(
    center: Vector,
    radius: float,
    half_height: float,
    thickness: float,
    count: int,
    lean: float = 0.0,
    widen: float = 1.0,
) -> tuple[Part, ...]:
    """A round wall of `count` solid boxes.

    Args:
        center: centre of the wall, at the boxes' mid height, m.
        radius: radius of the boxes' centres, m.
        half_height: half length of a box along the wall's slope, m.
        thickness: half thickness of the wall, m.
        count: number of boxes.
        lean: angle (rad) by which the wall opens outwards towards the top.
        widen: factor on the boxes' width, which closes the gaps of a leaning wall.
    """
    half = (thickness, radius * math.tan(math.pi / count) * widen, half_height)
    parts = []
    for index in range(count):
        heading = turn("z", 2 * math.pi * index / count)
        x, y, z = rotate(heading, (radius, 0.0, 0.0))
        pos = (center[0] + x, center[1] + y, center[2] + z)
        parts.append(box(pos, half, None, multiply(heading, turn("y", lean))))
    return tuple(parts)


def prism(
    center: Vector, radius: float, half_height: float, boxes: int = 4, feet: int = 2
) -> tuple[Part, ...]:
    """A solid upright prism of 2 x `boxes` sides, `radius` from axis to side, made of boxes.

    Only the first `feet` boxes reach the ends, the others stop 0.4 mm short: fewer contacts.
    """
    width = radius * math.tan(math.pi / (2 * boxes))
    parts = []
    # every second box first, so that the feet stand across each other
    for place, index in enumerate(sorted(range(boxes), key=lambda index: index % 2)):
        short = 0.0 if place < feet else 0.0004
        half = (radius, width, half_height - short)
        parts.append(box(center, half, None, turn("z", math.pi * index / boxes)))
    return tuple(parts)


def disc(center: Vector, radius: float, half_height: float) -> tuple[Part, ...]:
    """A solid flat disc of two crossed boxes: it stands firmly on few contacts."""
    narrow = 0.6 * radius
    return (
        box(center, (radius, narrow, half_height)),
        box(center, (narrow, radius, half_height)),
    )


def revolve(look: Look, *profile: tuple[float, float], pos: Vector = (0.0, 0.0, 0.0)) -> Part:
    """A picture of a body of revolution about z.

    The profile runs from the axis below, up the outside and down the inside back to the axis.
    """
    mesh = surface_of_revolution(profile)
    return Part("mesh", pos, (), UPRIGHT, False, look, mesh)


def lay(parts: Iterable[Part], quat: Quaternion, shift: Vector = (0, 0, 0)) -> tuple[Part, ...]:
    """The parts turned about the origin, then shifted."""
    laid = []
    for part in parts:
        x, y, z = rotate(quat, part.pos)
        pos = (x + shift[0], y + shift[1], z + shift[2])
        laid.append(replace(part, pos=pos, quat=multiply(quat, part.quat)))
    return tuple(laid)


def number(values: Iterable[float]) -> str:
    """Numbers as MJCF text: six digits, without the rounding errors of sines near zero."""
    return " ".join(f"{round(value, 9) + 0.0:.6g}" for value in values)


def surface_of_revolution(profile: Sequence[tuple[float, float]]) -> tuple[str, str]:
    """Vertices and faces, as MJCF text, of the profile turned about z."""
    vertices: list[float] = []
    rows: list[list[int]] = []
    for radius, height in profile:
        first = len(vertices) // 3
        segments = REVOLVE_SEGMENTS if radius > 0 else 1
        for index in range(segments):
            angle = 2 * math.pi * index / REVOLVE_SEGMENTS
            vertices += [radius * math.cos(angle), radius * math.sin(angle), height]
        rows.append([first + index % segments for index in range(REVOLVE_SEGMENTS + 1)])
    faces: list[int] = []
    for low, high in itertools.pairwise(rows):
        for index in range(REVOLVE_SEGMENTS):
            corners = low[index], low[index + 1], high[index + 1], high[index]
            if corners[0] != corners[1]:
                faces += [corners[0], corners[1], corners[2]]
            if corners[2] != corners[3]:
                faces += [corners[0], corners[2], corners[3]]
    return number(vertices), " ".join(map(str, faces))
