"""Bowls, plates, mugs, pans, baskets and trays: hollow things with rims that a gripper holds."""

from __future__ import annotations

import math

from simulation.assets.embedded.shapes import (
    Body,
    Item,
    Look,
    Part,
    Site,
    Vector,
    bar,
    box,
    disc,
    multiply,
    picture,
    prism,
    revolve,
    ring,
    span,
    turn,
)

WHITE = Look((0.78, 0.77, 0.75), shininess=0.3)
BLACK = Look((0.10, 0.095, 0.09), shininess=0.6)
SQUARE = 1 / math.sqrt(2)


def _scanned(
    name: str,
    parts: tuple[Part, ...],
    mass: float,
    *sites: Site,
    center: Vector = (0, 0, 0),
    inertia: Vector | None = None,
    pos: Vector = (0, 0, 0),
) -> Item:
    body = Body("object", parts, pos, mass=mass, inertia=inertia, center=center, sites=sites)
    return Item(f"stable_scanned_objects/{name}/{name}.xml", body)


def _turbosquid(name: str, parts: tuple[Part, ...], mass: float, *sites: Site) -> Item:
    body = Body("object", parts, mass=mass, sites=sites)
    return Item(f"turbosquid_objects/{name}/{name}.xml", body)


def akita_black_bowl() -> Item:
    """The black bowl: rim radius 52 mm, wall 2.6 mm thick, 52 mm high."""
    parts = (
        *disc((0, 0, 0.00417), 0.0240, 0.00258),
        *ring((0, 0, 0.0098), 0.0335, 0.0119, 0.0008, 10, math.radians(60.5), 1.25),
        *ring((0, 0, 0.03367), 0.0472, 0.01875, 0.00128, 16, math.radians(14.5)),
        revolve(
            BLACK,
            (0, 0.0016),
            (0.0240, 0.0016),
            (0.0440, 0.0150),
            (0.0535, 0.0515),
            (0.0515, 0.0521),
            (0.0420, 0.0165),
            (0.0230, 0.0068),
            (0, 0.0068),
        ),
    )
    return _scanned(
        "akita_black_bowl",
        parts,
        0.00559,
        center=(0.0023, 0.0005, 0.0227),
        inertia=(5.72e-6, 6.10e-6, 9.08e-6),
        pos=(0.0, -0.1, 0.0),
    )


def white_bowl() -> Item:
    """The small white bowl: rim radius 39 mm, 35 mm high."""
    parts = (
        box((0, 0, 0.0030), (0.0175, 0.0175, 0.0024)),
        *ring((0, 0, 0.0070), 0.0240, 0.0085, 0.0006, 8, math.radians(60.5), 1.25),
        *ring((0, 0, 0.0226), 0.0357, 0.0127, 0.0010, 14, math.radians(16.3)),
        revolve(
            WHITE,
            (0, 0.0006),
            (0.0175, 0.0006),
            (0.0325, 0.0105),
            (0.0412, 0.0350),
            (0.0392, 0.0353),
            (0.0305, 0.0120),
            (0.0170, 0.0042),
            (0, 0.0042),
        ),
    )
    return _scanned(
        "white_bowl",
        parts,
        0.00209,
        center=(0.0017, 0.0004, 0.0156),
        inertia=(1.17e-6, 1.26e-6, 1.97e-6),
    )


def plate() -> Item:
    """The dinner plate: 137 mm across, 16 mm high, its well 5 mm above the table."""
    parts = (
        span((-0.0300, -0.0300, -0.00253), (0.0300, 0.0300, 0.0053)),
        *ring((0, 0, 0.0071), 0.0483, 0.0190, 0.0025, 8, math.radians(70.6), 1.3),
        revolve(
            WHITE,
            (0, -0.0024),
            (0.0340, -0.0024),
            (0.0685, 0.0145),
            (0.0680, 0.0165),
            (0.0330, 0.0053),
            (0, 0.0053),
        ),
        revolve(
            Look((0.55, 0.12, 0.10)),
            (0.0560, 0.0127),
            (0.0600, 0.0142),
            (0.0600, 0.0147),
            (0.0560, 0.0132),
            (0.0560, 0.0127),
        ),
    )
    return _scanned(
        "plate",
        parts,
        0.01152,
        center=(0.0003, 0.0051, 0.0064),
        inertia=(15.07e-6, 12.92e-6, 27.63e-6),
    )


def ramekin() -> Item:
    """The glazed ramekin: rim radius 41 mm, 43 mm high."""
    glaze = Look((0.36, 0.40, 0.44), shininess=0.7)
    parts = (
        *disc((0, 0, 0.0041), 0.0350, 0.0034),
        *ring((0, 0, 0.0223), 0.0382, 0.0204, 0.0026, 12, math.radians(8.7)),
        revolve(
            glaze,
            (0, 0.0007),
            (0.0370, 0.0007),
            (0.0440, 0.0430),
            (0.0385, 0.0430),
            (0.0330, 0.0073),
            (0, 0.0073),
        ),
    )
    return _scanned(
        "glazed_rim_porcelain_ramekin",
        parts,
        0.00966,
        center=(-0.0025, 0.0001, 0.0168),
        inertia=(7.37e-6, 8.00e-6, 12.18e-6),
    )


def basket() -> Item:
    """The wicker basket: a square box open at the top."""
    look = Look((1, 1, 1), "wicker", 0.05)
    half = (0.0067, 0.0724, 0.0637)
    walls = [
        box(center, half, look, multiply(turn("z", quarter * math.pi / 2), turn("y", lean)))
        for quarter, (center, lean) in enumerate(
            (
                ((0.0756, 0.0, 0.0766), 0.05),
                ((0.0005, 0.0690, 0.0818), 0.04),
                ((-0.0727, 0.0, 0.0766), 0.08),
                ((0.0005, -0.0690, 0.0818), 0.04),
            )
        )
    ]
    parts = (span((-0.0741, -0.0724, 0.0046), (0.0791, 0.0724, 0.0220), look), *walls)
    region = Site(
        "contain_region",
        (0, 0, 0.07185),
        (0.06108, 0.06108, 0.06949),
        (0, 0, 0, 1),
        rgba=(0.8, 0, 0, 0),
    )
    return _scanned("basket", parts, 0.13611, region)


def frypan() -> Item:
    """The frying pan: 196 mm across with a raised handle along +x."""
    handle = bar((0.1260, 0, 0.0350), (0.2586, 0, 0.0530), 0.0127, 0.0062, BLACK)
    shank = bar((0.1010, 0, 0.0200), (0.1340, 0, 0.0340), 0.0105, 0.0080, BLACK)
    center = (0.0072, -0.0005, 0.0223)
    parts = (
        *disc((0.0020, -0.0015, 0.0067), 0.0690, 0.0060),
        *ring(center, 0.0888, 0.0213, 0.0036, 12, math.radians(31.4), 1.1),
        shank,
        handle,
        revolve(
            BLACK,
            (0, 0.0007),
            (0.0740, 0.0007),
            (0.1010, 0.0400),
            (0.0970, 0.0420),
            (0.0700, 0.0127),
            (0, 0.0127),
            pos=(0.0050, -0.0005, 0),
        ),
    )
    return _scanned("chefmate_8_frypan", parts, 0.05025)


def moka_pot() -> Item:
    """The stovetop coffee pot: an octagonal body, spout towards -y, handle towards +y."""
    steel = Look((0.66, 0.65, 0.64), shininess=0.9)
    spout = (
        span((-0.0176, -0.0417, 0.0181), (0.0176, -0.0301, 0.0671)),
        span((-0.0080, -0.0563, 0.0325), (0.0080, -0.0417, 0.0599)),
    )
    handle = (
        span((-0.0066, 0.0310, 0.0533), (0.0066, 0.0724, 0.0673)),
        # along y, so the bar in x-z is turned a quarter about z
        box((0, 0.0725, 0.0282), (0.0066, 0.0071, 0.0275), None, (0.97237, -0.23345, 0, 0)),
        span((-0.0066, 0.0500, -0.0080), (0.0066, 0.0640, 0.0090)),
    )
    knob = span((-0.0055, -0.0065, 0.0660), (0.0055, 0.0047, 0.0857))
    parts = (
        *prism((0, 0.0010, 0.0004), 0.0335, 0.0665),
        box((0, 0.0010, 0.0004), (0.0390, 0.0060, 0.0661)),
        *spout,
        *handle,
        knob,
        *(picture(part, steel) for part in spout),
        *(picture(part, BLACK) for part in (*handle, knob)),
        revolve(
            steel,
            (0, -0.0661),
            (0.0390, -0.0661),
            (0.0310, -0.0050),
            (0.0310, 0.0050),
            (0.0380, 0.0650),
            (0.0200, 0.0690),
            (0, 0.0700),
        ),
    )
    return _turbosquid("moka_pot", parts, 0.06824)


def porcelain_mug() -> Item:
    """The white mug: a cone below, straight above, handle towards -x."""
    x, y = 0.0148, -0.0006
    handle = (
        span((-0.0633, -0.0080, 0.0362), (-0.0557, 0.0080, 0.0758)),
        bar((-0.0240, 0, 0.0190), (-0.0595, 0, 0.0385), 0.0080, 0.0038),
        bar((-0.0240, 0, 0.0950), (-0.0610, 0, 0.0720), 0.0080, 0.0038),
    )
    parts = (
        *disc((x, y, 0.0076), 0.0250, 0.0052),
        *ring((x, y, 0.0252), 0.0340, 0.0180, 0.0016, 6, math.radians(23.5), 1.15),
        *ring((x, y, 0.0759), 0.0412, 0.0326, 0.0024, 8),
        *handle,
        *(picture(part, WHITE) for part in handle),
        revolve(
            WHITE,
            (0, 0.0024),
            (0.0270, 0.0024),
            (0.0432, 0.0420),
            (0.0440, 0.1085),
            (0.0390, 0.1085),
            (0.0380, 0.0440),
            (0.0240, 0.0128),
            (0, 0.0128),
            pos=(x, y, 0),
        ),
    )
    return _turbosquid("porcelain_mug", parts, 0.01646)


def red_coffee_mug() -> Item:
    """The red mug: a tall cone, handle towards +x."""
    red = Look((0.66, 0.10, 0.10), shininess=0.6)
    x, y = -0.0165, -0.0018
    handle = (
        bar((0.0135, 0.0011, 0.0250), (0.0603, 0.0011, 0.0757), 0.0076, 0.0029),
        bar((0.0566, 0.0011, 0.0755), (0.0528, 0.0011, 0.1130), 0.0069, 0.0027),
        bar((0.0200, 0.0011, 0.1136), (0.0530, 0.0011, 0.1096), 0.0069, 0.0027),
    )
    parts = (
        *disc((x, y, 0.0030), 0.0235, 0.0048),
        *ring((x, y, 0.0650), 0.0328, 0.0660, 0.0035, 8, math.radians(6.8), 1.1),
        *handle,
        *(picture(part, red) for part in handle),
        revolve(
            red,
            (0, -0.0018),
            (0.0285, -0.0018),
            (0.0448, 0.1308),
            (0.0370, 0.1308),
            (0.0250, 0.0078),
            (0, 0.0078),
            pos=(x, y, 0),
        ),
    )
    return _turbosquid("red_coffee_mug", parts, 0.02935)


def white_yellow_mug() -> Item:
    """The white mug with a yellow band, handle towards +x."""
    x = -0.0181
    handle = (
        span((0.0600, -0.0088, 0.0268), (0.0682, 0.0088, 0.0852)),
        bar((0.0160, 0, 0.0200), (0.0645, 0, 0.0310), 0.0088, 0.0041),
        bar((0.0250, 0, 0.0820), (0.0670, 0, 0.0780), 0.0088, 0.0041),
    )
    yellow = Look((0.93, 0.74, 0.14), shininess=0.5)
    parts = (
        *disc((x, 0, 0.0026), 0.0262, 0.0027),
        *ring((x, 0, 0.0110), 0.0314, 0.0098, 0.0038, 8, math.radians(36)),
        *ring((x, 0, 0.0593), 0.0424, 0.0436, 0.0041, 12, math.radians(7.5)),
        *handle,
        *(picture(part, WHITE) for part in handle),
        revolve(
            WHITE,
            (0, -0.0001),
            (0.0300, -0.0001),
            (0.0415, 0.0170),
            (0.0520, 0.1025),
            (0.0440, 0.1030),
            (0.0330, 0.0170),
            (0.0260, 0.0053),
            (0, 0.0053),
            pos=(x, 0, 0),
        ),
        revolve(
            yellow,
            (0.0440, 0.0400),
            (0.0450, 0.0400),
            (0.0512, 0.0900),
            (0.0490, 0.0900),
            (0.0440, 0.0400),
            pos=(x, 0, 0),
        ),
    )
    return _turbosquid("white_yellow_mug", parts, 0.03091)


def wooden_tray() -> Item:
    """The wooden crate: low walls, corner posts and two raised handles."""
    look = Look((1, 1, 1), "wood_light", 0.1)
    posts = [
        span((x - 0.0062, y - 0.0055, 0.0016), (x + 0.0062, y + 0.0055, 0.0800), look)
        for x in (-0.1321, 0.1453)
        for y in (-0.0785, 0.0685)
    ]
    grips = [
        span((x - 0.0067, -0.0835, 0.0785), (x + 0.0067, 0.0737, 0.0809), look)
        for x in (-0.1335, 0.1471)
    ]
    parts = (
        span((-0.1362, -0.0851, -0.0006), (0.1518, 0.0748, 0.0080), look),
        span((-0.1415, -0.0833, 0.0053), (-0.1369, 0.0723, 0.0545), look),
        span((0.1509, -0.0833, 0.0053), (0.1555, 0.0723, 0.0545), look),
        span((-0.1362, -0.0876, 0.0038), (0.1518, -0.0814, 0.0626), look),
        span((-0.1362, 0.0727, 0.0028), (0.1518, 0.0789, 0.0596), look),
        *posts,
        *grips,
    )
    region = Site(
        "contain_region",
        (0.00863, -0.00471, 0.04255),
        (0.04038, 0.07839, 0.13549),
        (SQUARE, 0, SQUARE, 0),
        rgba=(1, 0, 0, 0),
    )
    return _turbosquid("wooden_tray", parts, 0.05715, region)


def containers() -> tuple[Item, ...]:
    """All objects of this file."""
    return (
        akita_black_bowl(),
        white_bowl(),
        plate(),
        ramekin(),
        basket(),
        frypan(),
        moka_pot(),
        porcelain_mug(),
        red_coffee_mug(),
        white_yellow_mug(),
        wooden_tray(),
    )
