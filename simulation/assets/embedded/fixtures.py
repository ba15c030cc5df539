"""Cabinets, stove, microwave, rack, shelf and caddy: what stands fixed and may open or turn."""

from __future__ import annotations

import math
from dataclasses import replace

from simulation.assets.embedded.shapes import (
    ALONG_Y,
    APPLIANCE,
    PLAIN,
    Body,
    Item,
    Joint,
    Look,
    Part,
    Site,
    Vector,
    box,
    picture,
    prism,
    span,
    turn,
)

SQUARE = 1 / math.sqrt(2)
METAL = Look((0.46, 0.46, 0.48), shininess=0.3)
BLACK = Look((0.13, 0.13, 0.14), shininess=0.6)
CLEAR = (0.8, 0.8, 0.8, 0.0)


def drawer(joint: str, front: float, wall: float, floor: float, handle: float, look: Look) -> Body:
    """A drawer that slides along -y by 16 cm; arguments are heights (m) of its parts' centres."""
    region = Site(
        f"{joint}_region",
        (0.00328, 0.01128, {"top": 0.18563, "middle": 0.11690, "bottom": 0.04701}[joint]),
        (0.02993, 0.07561, 0.10224),
        (SQUARE, 0, SQUARE, 0),
    )
    parts = (
        span((-0.1060, -0.0779, front - 0.03427), (0.1127, -0.0725, front + 0.03427), look),
        span((-0.1035, -0.0725, wall - 0.0321), (0.1101, -0.0648, wall + 0.0321)),
        box((0.0033, 0.0908, wall), (0.1068, 0.0036, 0.0321), look),
        box((-0.1019, 0.0111, wall), (0.0027, 0.0815, 0.0316), look),
        box((0.1089, 0.0111, wall), (0.0027, 0.0815, 0.0313), look),
        box((0.0035, 0.0105, floor), (0.1070, 0.0810, 0.0040), look),
        box((-0.0028, -0.1016, handle), (0.0445, 0.0077, 0.0082), METAL),
        box((0.0292, -0.0835, handle), (0.0051, 0.0106, 0.0055), METAL),
        box((-0.0356, -0.0835, handle), (0.0051, 0.0106, 0.0055), METAL),
    )
    return Body(
        f"cabinet_{joint}",
        parts,
        mass=3.0,
        inertia=(1.0, 1.0, 1.0),
        joint=Joint(f"{joint}_level", "slide", (0, 1, 0), (-0.16, 0.01), 50.0),
        sites=(region,),
    )


def cabinet(name: str, look: Look) -> Item:
    """The chest of three drawers."""
    front = replace(look, rgb=(look.rgb[0] * 0.9, look.rgb[1] * 0.9, look.rgb[2] * 0.9))
    parts = (
        span((-0.1170, 0.1074, 0.0085), (0.1212, 0.1117, 0.2201), look),
        span((-0.1188, -0.0735, 0.0046), (0.1269, 0.1061, 0.0104), look),
        box((-0.1122, 0.0163, 0.1143), (0.0052, 0.0954, 0.1058), look),
        box((0.1190, 0.0163, 0.1143), (0.0052, 0.0954, 0.1058), look),
        box((0.0039, 0.0187, 0.0793), (0.1118, 0.0896, 0.0011), look),
        box((0.0038, 0.0187, 0.1494), (0.1118, 0.0896, 0.0011), look),
        span((-0.1234, -0.0783, 0.2186), (0.1312, 0.1099, 0.2230), look),
    )
    drawers = (
        drawer("top", 0.18309, 0.18358, 0.15514, 0.18393, front),
        drawer("middle", 0.11338, 0.11387, 0.08543, 0.11041, front),
        drawer("bottom", 0.04476, 0.04525, 0.01682, 0.04114, front),
    )
    top = Site("top_side", (0.00354, 0.01567, 0.22152), (0.12534, 0.09438, 0.00147))
    base = Body("base", parts, mass=0.17624, sites=(top,), children=drawers)
    body = Body("object", children=(base,))
    return Item(f"articulated_objects/{name}.xml", body, -0.045, 0.045, 0.045, 0.05)


def flat_stove() -> Item:
    """The single burner with its knob; the burner's red site shows when it is on."""
    steel = Look((0.44, 0.44, 0.46), shininess=0.3)
    plate = span((-0.095, -0.095, -0.02), (0.095, 0.095, 0.0255))
    case = span((-0.095, -0.095, -0.02), (0.095, 0.095, 0.0200))
    coil = Part("cylinder", (0, 0, 0.0222), (0.0650, 0.0028), solid=False, look=BLACK)
    burner = Body(
        "burner",
        (plate, picture(case, steel)),
        (0.15, 0, 0),
        mass=1.4801,
        surface=PLAIN,
        sites=(
            Site("cook_region", (0, 0, 0), (0.075, 0.075, 0.0025), rgba=(0.8, 0.8, 0, 0)),
            Site(
                "burner",
                (0, 0, 0.0255),
                (0.0625, 0.0005),
                kind="cylinder",
                rgba=(0.9, 0.05, 0.05, 1),
            ),
        ),
        children=(Body("burner_plate", (coil,)),),
    )
    grip = (
        span((-0.0108, -0.0172, 0.0014), (0.0135, 0.0519, 0.0500), BLACK),
        span((-0.0109, -0.0424, 0.0070), (0.0133, -0.0172, 0.0424), BLACK),
    )
    button = Body(
        "button",
        (
            *prism((0.0012, 0.0045, 0.00657), 0.0435, 0.0062, boxes=3, feet=3),
            *grip,
            Part("cylinder", (0.0012, 0.0045, 0.00657), (0.047, 0.0062), look=BLACK, solid=False),
            picture(
                span((-0.0012, 0.0250, 0.0495), (0.0038, 0.0515, 0.0510)),
                Look((0.85, 0.15, 0.12)),
            ),
        ),
        quat=(SQUARE, 0, 0, SQUARE),
        mass=3.0,
        inertia=(1.0, 1.0, 1.0),
        joint=Joint("button", "hinge", (0, 0, 1), (-0.005, 2.1), 1.0),
    )
    base = Body("base", children=(burner, button))
    body = Body("object", children=(base,))
    return Item("articulated_objects/flat_stove.xml", body, -0.045, 0.045, 0.045, 0.05)


def microwave() -> Item:
    """The microwave oven, its door hinged at -x and opening towards -y."""
    case = Look((0.17, 0.17, 0.18), shininess=0.6)
    inside = Look((0.42, 0.42, 0.43), shininess=0.2)
    solids = (
        box((-0.158, 0.0115, 0.0935), (0.0145, 0.09955, 0.0935), case),
        box((0.118, 0.0115, 0.0935), (0.0545, 0.09955, 0.0935), case),
        box((-0.0405, 0.0955, 0.0935), (0.1035, 0.015, 0.0935), inside),
        box((-0.04, -0.0035, 0.1775), (0.1035, 0.0845, 0.0095), case),
        box((-0.04, -0.004, 0.012), (0.1035, 0.084, 0.012), inside),
        box((0.13, -0.0985, 0.0935), (0.0425, 0.012, 0.0935), case),
    )
    keys = picture(span((0.0950, -0.1120, 0.0120), (0.1580, -0.1100, 0.0300)), METAL)
    handle = (
        Part("capsule", (0.2375, -0.054, 0), (0.01, 0.065), look=METAL),
        Part("capsule", (0.2375, -0.0375, 0.065), (0.01, 0.015), ALONG_Y, look=METAL),
        Part("capsule", (0.2375, -0.0375, -0.065), (0.01, 0.015), ALONG_Y, look=METAL),
    )
    window = span((0.0425, -0.0262, -0.0614), (0.2163, -0.0240, 0.0611))
    door = Body(
        "microdoorroot",
        (
            *handle,
            box((0.1295, -0.013, 0), (0.1295, 0.012, 0.0925), case),
            picture(window, Look((0.05, 0.06, 0.08), shininess=0.9)),
        ),
        (-0.1725, -0.088, 0.096),
        mass=0.26,
        joint=Joint("microjoint", "hinge", (0, 0, 1), (-2.094, 0.0), 0.5),
        surface=APPLIANCE,
    )
    body = Body(
        "object",
        (*solids, keys),
        mass=3.0,
        sites=(
            Site("top_side", (0, 0.01, 0.20), (0.12, 0.0835, 0.005), rgba=(1, 0, 0, 0)),
            Site("heating_region", (0, 0.01, 0.096), (0.12, 0.0835, 0.08), rgba=(1, 0, 0, 0)),
        ),
        children=(door,),
        surface=APPLIANCE,
    )
    return Item("articulated_objects/microwave.xml", body, -0.06, 0.06, 0.015)


def _fixed(name: str, parts: tuple[Part, ...], mass: float, *sites: Site) -> Item:
    body = Body("object", parts, mass=mass, sites=sites)
    return Item(f"turbosquid_objects/{name}/{name}.xml", body)


def wooden_two_layer_shelf() -> Item:
    """The open shelf: a board half way up and one on top."""
    look = Look((1, 1, 1), "wood_dark", 0.1)
    parts = (
        box((-0.1538, 0.0163, 0.1046), (0.0071, 0.0954, 0.1044), look),
        box((0.1631, 0.0163, 0.1046), (0.0071, 0.0954, 0.1044), look),
        span((-0.1604, 0.1071, 0.0002), (0.1662, 0.1117, 0.2090), look),
        span((-0.1481, -0.0709, 0.0660), (0.1585, 0.1083, 0.0712), look),
        box((0.0050, 0.0163, 0.2082), (0.1758, 0.0953, 0.0025), look),
    )
    return _fixed(
        "wooden_two_layer_shelf",
        parts,
        0.20633,
        Site("top_side", (0.00496, 0.01567, 0.20688), (0.17557, 0.09438, 0.00147), rgba=CLEAR),
        Site(
            "top_region",
            (0.00538, 0.01687, 0.13672),
            (0.06739, 0.08564, 0.15093),
            (SQUARE, 0, -SQUARE, 0),
        ),
        Site(
            "bottom_region",
            (0.00555, 0.01687, 0.01407),
            (0.03528, 0.08564, 0.15580),
            (SQUARE, 0, SQUARE, 0),
        ),
    )


def _slope(pos: Vector, half: Vector, angle: float, look: Look) -> Part:
    return box(pos, half, look, turn("x", angle))


def wine_rack() -> Item:
    """The slanted rack: two planes 31 degrees from level, each with a stopper, on a stand."""
    pale = Look((1, 1, 1), "wood_light", 0.1)
    red = Look((1, 1, 1), "wood_red", 0.2)
    glass = Look((0.25, 0.45, 0.60), shininess=0.5, alpha=0.5)
    tilt = math.asin(0.5225)
    parts = (
        _slope((0, -0.0061, 0.2512), (0.1344, 0.0789, 0.0045), tilt, pale),
        _slope((0, -0.0427, 0.1273), (0.1344, 0.0789, 0.0045), tilt, pale),
        _slope((0, -0.0748, 0.2207), (0.1322, 0.0011, 0.0087), 0.512, glass),
        _slope((0, -0.1091, 0.0974), (0.1322, 0.0011, 0.0087), 0.512, glass),
        box((0, 0, 0.0066), (0.0665, 0.0930, 0.0045), red),
        _slope((0, 0.0693, 0.0101), (0.0900, 0.0600, 0.0045), 0.131, red),
        _slope((0, -0.0643, 0.0126), (0.0900, 0.0600, 0.0045), -0.14, red),
        _slope((0, 0.0089, 0.1703), (0.0076, 0.0091, 0.1616), -0.273, red),
    )
    region = Site(
        "top_region",
        (0, -0.08003, 0.21745),
        (0.10087, 0.02200, 0.00251),
        (0.8549119, -0.5187733, 0, 0),
    )
    return _fixed("wine_rack", parts, 0.15275, region)


def desk_caddy() -> Item:
    """The desk organiser: a box at each side and a low and a high bay between them."""
    look = Look((0.42, 0.43, 0.46), shininess=0.3)
    sides = [
        part
        for y in (0.0706, 0.2084)
        for part in (
            box((0, y, 0.0452), (0.0706, 0.0036, 0.0333), look),
            box((0.0345, y, 0.0748), (0.0299, 0.0036, 0.0368), look),
            box((0.0549, y, 0.1236), (0.0116, 0.0036, 0.0190), look),
        )
    ]
    parts = (
        box((0, 0, 0.0076), (0.0755, 0.2169, 0.0062), look),
        box((0, -0.0680, 0.0850), (0.0706, 0.0062, 0.0824), look),
        box((0, -0.2094, 0.0850), (0.0706, 0.0062, 0.0824), look),
        box((0.0668, 0, 0.0868), (0.0040, 0.2098, 0.0815), look),
        box((-0.0016, 0, 0.0552), (0.0040, 0.0668, 0.0434), look),
        box((-0.0669, 0, 0.0395), (0.0040, 0.2098, 0.0346), look),
        box((-0.0669, -0.1398, 0.0877), (0.0040, 0.0766, 0.0796), look),
        *sides,
    )
    return _fixed(
        "desk_caddy",
        parts,
        0.27796,
        Site(
            "right_contain_region",
            (0.00631, -0.14339, 0.06558),
            (0.06196, 0.06216, 0.06046),
            (0, 0, 1, 0),
        ),
        Site(
            "left_contain_region",
            (0.00631, 0.14551, 0.06558),
            (0.06196, 0.06216, 0.06046),
            (0, 0, 1, 0),
        ),
        Site(
            "back_contain_region",
            (0.03364, -0.00064, 0.08558),
            (0.02775, 0.06216, 0.06046),
            (0, 0, 1, 0),
        ),
        Site(
            "front_contain_region",
            (-0.03102, -0.00064, 0.04054),
            (0.02775, 0.03595, 0.06216),
            (0, 0, SQUARE, -SQUARE),
        ),
    )


def fixtures() -> tuple[Item, ...]:
    """All objects of this file."""
    return (
        cabinet("wooden_cabinet", Look((1, 1, 1), "wood_dark", 0.2)),
        cabinet("white_cabinet", Look((0.60, 0.59, 0.58), shininess=0.05)),
        flat_stove(),
        microwave(),
        wooden_two_layer_shelf(),
        wine_rack(),
        desk_caddy(),
    )
