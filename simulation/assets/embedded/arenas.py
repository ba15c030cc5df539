"""The five rooms of the 130 tasks: floor, walls, table, background, lights and cameras."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from xml.etree import ElementTree

from simulation.assets.embedded.mjcf import Writer, to_xml
from simulation.assets.embedded.shapes import (
    PLAIN,
    STIFF,
    Body,
    Look,
    Part,
    Quaternion,
    Vector,
    box,
    number,
    picture,
    span,
    turn,
)

FLOOR_TEXTURE = "tile_grigia_caldera_porcelain_floor"
WALL_TEXTURE = "smooth_light_gray_plaster"

CAMERAS: dict[str, tuple[Vector, Quaternion]] = {
    "frontview": ((1.0, 0, 1.45), (0.56, 0.43, 0.43, 0.56)),
    "birdview": ((-0.2, 0, 3.0), (0.7071, 0, 0, 0.7071)),
    "agentview": ((0.5, 0, 1.35), (0.653, 0.271, 0.271, 0.653)),
    "sideview": (
        (-0.056518, 1.276122, 1.487957),
        (0.009905, 0.006878, 0.591223, 0.806418),
    ),
}
"""Cameras of every room, before upstream's problem classes place theirs: position and w-first
quaternion."""

WALLS: dict[str, tuple[Vector, Quaternion, float]] = {
    "wall_leftcorner_visual": ((-1.25, 2.25, 1.5), (0.653, 0.653, 0.271, 0.271), 1.06),
    "wall_rightcorner_visual": ((-1.25, -2.25, 1.5), (0.653, 0.653, -0.271, -0.271), 1.06),
    "wall_left_visual": ((1.25, 3, 1.5), (0.5**0.5, 0.5**0.5, 0, 0), 1.75),
    "wall_right_visual": ((1.25, -3, 1.5), (0.5**0.5, -(0.5**0.5), 0, 0), 1.75),
    "wall_rear_visual": ((-2, 0, 1.5), (0.5, 0.5, 0.5, 0.5), 1.5),
    "wall_front_visual": ((3, 0, 1.5), (0.5, 0.5, -0.5, -0.5), 3.0),
}
"""Walls of a room with cut corners: centre, orientation and half width (m)."""

KITCHEN_WALLS: dict[str, tuple[Vector, Quaternion, float]] = {
    "wall_left_visual": ((0.5, 3, 1.5), (0.5**0.5, 0.5**0.5, 0, 0), 2.5),
    "wall_right_visual": ((0.5, -3, 1.5), (0.5**0.5, -(0.5**0.5), 0, 0), 2.5),
    "wall_rear_visual": ((-2, 0, 1.5), (0.5, 0.5, 0.5, 0.5), 3.0),
    "wall_front_visual": ((3, 0, 1.5), (0.5, 0.5, -0.5, -0.5), 3.0),
}
"""Walls of the kitchen."""


@dataclass(frozen=True)
class Arena:
    """One room."""

    name: str
    """File stem in the pack's `scenes` folder."""
    walls: dict[str, tuple[Vector, Quaternion, float]]
    """The room's walls."""
    bodies: tuple[Body, ...] = ()
    """Furniture that collides."""
    background: tuple[Part, ...] = ()
    """Furniture that is only seen."""
    floor_body: bool = False
    """Whether the floor is a body of its own, on which tasks place things."""
    overhead: bool = False
    """Whether a third light shines on the background."""
    bare_table: bool = False
    """Whether it has the box table that upstream's table arenas set the size of."""


def seen(parts: Iterable[Part]) -> tuple[Part, ...]:
    """The parts as pictures only."""
    return tuple(picture(part, part.look) for part in parts if part.look is not None)


def kitchen_background() -> tuple[Part, ...]:
    """Counter, hob, wall cupboard, hood, fridge and pots behind the table."""
    wood = Look((0.30, 0.29, 0.24), shininess=0.1)
    dark = Look((0.10, 0.10, 0.10), shininess=0.6)
    metal = Look((0.42, 0.42, 0.43), shininess=0.6)
    return seen(
        (
            span((-1.9536, -1.8, 0.0), (-1.3448, 1.8, 0.90), wood),
            span((-1.9536, -1.8, 1.62), (-1.62, 1.8, 2.5), wood),
            span((-1.9350, -0.4, 0.90), (-1.3637, 0.4, 0.9338), dark),
            span((-1.9705, -2.8355, 0.0), (-1.5286, -1.9665, 1.7737), metal),
            Part("cylinder", (-1.55, 0.26, 1.0), (0.12, 0.07), look=metal),
            Part("cylinder", (-1.85, -0.70, 1.0), (0.08, 0.10), look=dark),
            Part("cylinder", (-1.85, -1.02, 0.99), (0.08, 0.09), look=dark),
        )
    )


def living_room_background() -> tuple[Part, ...]:
    """Wall unit with a screen, and a picture."""
    wood = Look((0.40, 0.36, 0.33), shininess=0.1)
    return seen(
        (
            span((-1.910, -1.1766, 0.0), (-1.527, 1.1553, 0.36), wood),
            span((-1.910, -1.1766, 0.36), (-1.60, -0.72, 1.5958), wood),
            span((-1.910, 0.70, 0.36), (-1.60, 1.1553, 1.5958), wood),
            span((-1.80, -0.58, 0.48), (-1.77, 0.56, 1.12), Look((0.05, 0.05, 0.06))),
            span((-1.950, 0.1494, 1.63), (-1.946, 1.0119, 1.966), Look((0.70, 0.66, 0.62))),
        )
    )


def study_background() -> tuple[Part, ...]:
    """Painting, book shelf, plant and the lamp on the desk."""
    black = Look((0.10, 0.10, 0.09), shininess=0.3)
    white = Look((0.94, 0.94, 0.92), shininess=0.1)
    boards = [
        span((-1.870, -1.6065, z), (-1.555, -0.3832, z + 0.03), white)
        for z in (0.05, 0.47, 0.87, 1.30, 1.76)
    ]
    return seen(
        (
            span((-1.9484, 0.005, 1.0), (-1.9056, 0.984, 1.979), Look((0.26, 0.19, 0.10))),
            span((-1.870, -1.6065, 0.0), (-1.555, -1.575, 1.79), white),
            span((-1.870, -0.4150, 0.0), (-1.555, -0.3832, 1.79), white),
            *boards,
            span((-1.820, -0.5256, 0.90), (-1.622, -0.4230, 1.1418), black),
            Part("cylinder", (-1.82, 0.57, 0.2), (0.16, 0.2), look=Look((0.75, 0.72, 0.68))),
            Part(
                "ellipsoid", (-1.82, 0.57, 0.82), (0.28, 0.26, 0.42), look=Look((0.30, 0.42, 0.2))
            ),
            Part("cylinder", (0.30, -0.70, 0.915), (0.11, 0.015), look=black),
            Part("capsule", (0.30, -0.72, 1.24), (0.012, 0.33), look=black),
            Part("ellipsoid", (0.30, -0.36, 1.55), (0.10, 0.12, 0.09), look=black),
            Part(
                "capsule",
                (0.30, -0.56, 1.57),
                (0.012, 0.16),
                turn("x", math.pi / 2),
                look=black,
            ),
        )
    )


def living_room_table() -> Body:
    """The coffee table, 44 cm high: a long top with rounded ends on a block."""
    look = Look((1, 1, 1), "wood_table", 0.1)
    top = (
        span((-0.8693, -0.4443, 0.41308), (0.4741, 0.4443, 0.43676), look),
        span((0.4481, -0.4168, 0.41308), (0.6507, 0.4168, 0.43676), look),
        span((-1.0714, -0.4168, 0.41308), (-0.8688, 0.4168, 0.43676), look),
        span((-0.8693, -0.5887, 0.41308), (0.4741, -0.4337, 0.43676), look),
        span((-0.8693, 0.4191, 0.41308), (0.4741, 0.5741, 0.43676), look),
        box((0, 0, 0.2041), (0.4352, 0.4116, 0.2088), look),
    )
    held = Body(
        "living_room_table_col",
        top,
        (-0.25, 0.25, 0.0),
        turn("z", math.pi / 2),
        mass=34.53941,
        surface=STIFF,
    )
    return Body("living_room_table", children=(held,))


def study_table() -> Body:
    """The desk, 88.5 cm high."""
    look = Look((1, 1, 1), "wood_desk", 0.1)
    legs = [
        box((x, y, 0.3943), (0.0200, 0.0503, 0.3941), look)
        for x in (-0.5005, 0.4962)
        for y in (-0.6906, 0.7120)
    ]
    feet = [box((-0.0049, y, 0.0253), (0.5127, 0.0503, 0.0215), look) for y in (-0.6976, 0.7147)]
    top = span((-0.68946, -1.39273, 0.81345), (0.68946, 1.39273, 0.88513), look)
    return Body("study_table", (top, *legs, *feet), mass=29.62812)


def arenas() -> tuple[Arena, ...]:
    """All rooms that the 130 tasks use."""
    return (
        Arena("libero_tabletop_base_style", WALLS, bare_table=True),
        Arena(
            "libero_kitchen_tabletop_base_style",
            KITCHEN_WALLS,
            background=kitchen_background(),
            overhead=True,
            bare_table=True,
        ),
        Arena(
            "libero_living_room_tabletop_base_style",
            WALLS,
            (living_room_table(),),
            living_room_background(),
            floor_body=True,
        ),
        Arena("libero_study_base_style", WALLS, (study_table(),), study_background()),
        Arena("libero_floor_base_style", WALLS, floor_body=True),
    )


def _room_assets(writer: Writer) -> None:
    """Sky, and the floor and wall textures that upstream's arenas swap for another style's."""
    asset = writer.asset
    ElementTree.SubElement(
        asset,
        "texture",
        type="skybox",
        builtin="gradient",
        width="64",
        height="64",
        rgb1=".9 .9 1.",
        rgb2=".2 .3 .4",
    )
    for name, texture, material, repeat in (
        ("texplane", FLOOR_TEXTURE, "floorplane", "2 2"),
        ("tex-wall", WALL_TEXTURE, "walls_mat", "1 1"),
    ):
        file = f"{writer.textures}{texture}.png"
        ElementTree.SubElement(asset, "texture", type="2d", name=name, file=file)
        ElementTree.SubElement(
            asset,
            "material",
            name=material,
            texture=name,
            texrepeat=repeat,
            texuniform="true",
            reflectance="0",
            shininess="0",
            specular="0",
        )


def _bare_table(writer: Writer) -> ElementTree.Element:
    """The box table with the geoms and the site whose size and place upstream sets."""
    table = ElementTree.Element("body", name="table", pos="0 0 0.4")
    look = writer.material(Look((1, 1, 1), "martin_novak_wood_table", 0.1))
    size = number((0.4, 0.4, 0.4))
    ElementTree.SubElement(
        table,
        "geom",
        name="table_collision",
        type="box",
        size=size,
        group="0",
        friction=PLAIN.friction,
    )
    drawn = {"contype": "0", "conaffinity": "0", "group": "1", "material": look}
    ElementTree.SubElement(
        table, "geom", drawn | {"name": "table_visual", "type": "box", "size": size}
    )
    ElementTree.SubElement(
        table, "site", name="table_top", pos="0 0 0.4", size="0.001", rgba="0 0 0 0"
    )
    for leg in range(1, 5):
        shape = {"name": f"table_leg{leg}_visual", "type": "cylinder", "size": "0.05 0.1"}
        ElementTree.SubElement(table, "geom", drawn | shape)
    return table


def arena_xml(arena: Arena) -> bytes:
    """The room's MJCF file in the layout that upstream's arena classes read."""
    writer = Writer(arena.name, 1)
    root = ElementTree.Element("mujoco", model=arena.name)
    ElementTree.SubElement(root, "compiler", angle="radian")
    root.append(writer.asset)
    world = ElementTree.SubElement(root, "worldbody")
    _room_assets(writer)
    floor = (
        ElementTree.SubElement(world, "body", name="floor", pos="0 0 0")
        if arena.floor_body
        else world
    )
    ElementTree.SubElement(
        floor,
        "geom",
        name="floor",
        type="plane",
        size="3 3 0.125",
        condim="3",
        group="1",
        material="floorplane",
    )
    for name, (pos, quat, half_width) in arena.walls.items():
        ElementTree.SubElement(
            world,
            "geom",
            name=name,
            type="box",
            pos=number(pos),
            quat=number(quat),
            size=number((half_width, 1.5, 0.01)),
            contype="0",
            conaffinity="0",
            group="1",
            material="walls_mat",
        )
    for part in arena.background:
        for attributes in writer.geoms(part, 0.0, PLAIN):
            ElementTree.SubElement(world, "geom", attributes)
    if arena.bare_table:
        world.append(_bare_table(writer))
    world.extend(writer.body(body) for body in arena.bodies)
    for name, place in (("light1", (1, 1, 4)), ("light2", (-3, -3, 4))):
        ElementTree.SubElement(
            world,
            "light",
            name=name,
            pos=number(place),
            dir="0 -0.15 -1",
            diffuse="0.8 0.8 0.8",
            specular="0.3 0.3 0.3",
            directional="false",
            castshadow="false",
        )
    if arena.overhead:
        ElementTree.SubElement(
            world,
            "light",
            name="light_kitchen",
            pos="-1.75 0 1.6",
            dir="0 0 -1",
            diffuse="0.8 0.8 0.8",
            specular="0.8 0.8 0.8",
            directional="true",
            castshadow="false",
        )
    for name, (pos, quat) in CAMERAS.items():
        ElementTree.SubElement(
            world, "camera", name=name, mode="fixed", pos=number(pos), quat=number(quat)
        )
    return to_xml(root)
