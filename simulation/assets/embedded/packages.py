"""Groceries, books and bottles: solid things that are picked up and put somewhere."""

from __future__ import annotations

import math

from simulation.assets.embedded.shapes import (
    ALONG_Y,
    Body,
    Item,
    Look,
    Part,
    Vector,
    bar,
    box,
    lay,
    multiply,
    picture,
    prism,
    revolve,
    span,
    turn,
)

WHITE = (1.0, 1.0, 1.0)
ORIGIN = (0.0, 0.0, 0.0)


def printed(name: str) -> Look:
    """The look of a package with the label of this name."""
    return Look(WHITE, f"label_{name}")


def carton(name: str, half: Vector, mass: float, pos: Vector, **sizes: float) -> Item:
    """A plain printed box."""
    part = box(pos, half, printed(name))
    return _hope(name, (part,), mass, **sizes)


def _hope(name: str, parts: tuple[Part, ...], mass: float, **sizes: float) -> Item:
    body = Body("object", parts, mass=mass)
    return Item(f"stable_hope_objects/{name}/{name}.xml", body, **sizes)


def gabled_carton(name: str, mass: float, radius: float) -> Item:
    """A milk carton along y: a square block, a gable and its ridge."""
    look = printed(name)
    lower = span((-0.0263, -0.0698, -0.0263), (0.0263, 0.0398, 0.0263), look)
    gable = (
        bar((-0.0225, 0, 0.0388), (-0.004, 0, 0.0567), 0.0263, 0.0022, look),
        bar((0.0225, 0, 0.0388), (0.004, 0, 0.0567), 0.0263, 0.0022, look),
    )
    ridge = span((-0.0265, 0.0556, -0.0035), (0.0265, 0.0614, 0.0035), look)
    return _hope(
        name,
        (lower, *lay(gable, multiply(ALONG_Y, turn("z", math.pi / 2))), ridge),
        mass,
        radius=radius,
    )


def can(name: str, mass: float, **sizes: float) -> Item:
    """A food can along y."""
    solids = lay(prism((0, 0, -0.0005), 0.0302, 0.0381), ALONG_Y, (0, 0, -0.0033))
    wrap = Part("cylinder", (0, -0.0005, -0.0033), (0.0315, 0.035), ALONG_Y, False, printed(name))
    tin = Look((0.72, 0.72, 0.74), shininess=0.8)
    lid = Part("cylinder", (0, -0.0005, -0.0033), (0.0305, 0.0381), ALONG_Y, False, tin)
    return _hope(name, (*solids, wrap, lid), mass, **sizes)


def ketchup() -> Item:
    """A flat bottle along y that tapers towards its cap."""
    look = printed("ketchup")
    parts = (
        span((-0.0277, -0.0724, -0.0161), (0.0285, -0.0063, 0.0177), look),
        span((-0.0235, -0.0063, -0.0175), (0.0243, 0.0150, 0.0191), look),
        span((-0.0183, 0.0150, -0.0175), (0.0191, 0.0364, 0.0191), look),
        *lay(prism((0, 0, 0.0548), 0.0158, 0.0184, boxes=3), ALONG_Y, (0, 0, 0.0007)),
        Part(
            "cylinder",
            (0, 0.0548, 0.0007),
            (0.016, 0.0184),
            ALONG_Y,
            False,
            Look((0.95, 0.95, 0.95)),
        ),
    )
    return _hope("ketchup", parts, 0.02322)


def dressing(name: str) -> Item:
    """A flat bottle along y with a round neck; the newer one carries it on a body of its own."""
    look = printed("salad_dressing")
    parts = (
        span((-0.0232, -0.0727, -0.0171), (0.0212, -0.0516, 0.0175), look),
        span((-0.0274, -0.0524, -0.0171), (0.0254, -0.0104, 0.0175), look),
        span((-0.0238, -0.0104, -0.0171), (0.0219, 0.0128, 0.0175), look),
        span((-0.0124, 0.0128, -0.0147), (0.0134, 0.0356, 0.0152), look),
        *lay(prism((0, 0, 0.0542), 0.0165, 0.0186, boxes=3), ALONG_Y),
        Part(
            "cylinder",
            (0, 0.0542, 0),
            (0.0168, 0.0186),
            ALONG_Y,
            False,
            Look((0.16, 0.36, 0.2)),
        ),
    )
    if name == "salad_dressing":
        return _hope(name, parts, 0.02178)
    held = Body("sald_dressing_body", parts, (0.0, 0.05, 0.0), mass=0.02178)
    return Item(f"stable_hope_objects/{name}/{name}.xml", Body("object", children=(held,)))


def bbq_sauce() -> Item:
    """A flat upright bottle."""
    look = printed("bbq_sauce")
    parts = (
        span((-0.0235, -0.0145, -0.0546), (0.0235, 0.0145, -0.0010), look),
        span((-0.0181, -0.0143, -0.0010), (0.0181, 0.0143, 0.0269), look),
        span((-0.0134, -0.0134, 0.0257), (0.0134, 0.0134, 0.0525), Look((0.1, 0.06, 0.05))),
    )
    return _hope("bbq_sauce", parts, 0.01218, top=0.06, radius=0.015)


def book(name: str, low: Vector, high: Vector, mass: float, cover: Look) -> Item:
    """A closed book standing on its lower edge, spine towards +y."""
    solid = span(low, high)
    pages = span(
        (low[0] + 0.002, low[1] - 0.0008, low[2] - 0.0005),
        (high[0] - 0.002, high[1] - 0.002, high[2] + 0.0008),
    )
    paper = Look((0.93, 0.91, 0.84))
    parts = (solid, picture(solid, cover), picture(pages, paper))
    return Item(f"turbosquid_objects/{name}/{name}.xml", Body("object", parts, mass=mass))


def wine_bottle() -> Item:
    """An upright bottle with a shoulder, a neck, a cork and a label."""
    glass = Look((0.05, 0.16, 0.07), shininess=0.9)
    outline = (
        (0, 0.0011),
        (0.0205, 0.0011),
        (0.0212, 0.012),
        (0.0212, 0.068),
        (0.0150, 0.086),
        (0.0078, 0.100),
        (0.0078, 0.148),
        (0, 0.148),
    )
    parts = (
        *prism((0, 0, 0.0346), 0.0197, 0.0335),
        span((-0.0118, -0.0118, 0.0681), (0.0118, 0.0118, 0.0881)),
        *prism((0, 0, 0.1230), 0.0072, 0.0350, boxes=3),
        revolve(glass, *outline),
        Part("cylinder", (0, 0, 0.150), (0.0070, 0.008), look=Look((0.8, 0.6, 0.4)), solid=False),
        Part("cylinder", (0, 0, 0.036), (0.0215, 0.018), look=printed("wine"), solid=False),
    )
    body = Body("object", parts, mass=0.01539)
    return Item("turbosquid_objects/wine_bottle/wine_bottle.xml", body)


def packages() -> tuple[Item, ...]:
    """All objects of this file."""
    small: dict[str, float] = {"bottom": -0.02, "top": 0.02, "radius": 0.02}
    flat: dict[str, float] = {"bottom": -0.025, "top": 0.025, "radius": 0.03}
    return (
        carton("butter", (0.0381, 0.01977, 0.0087), 0.00525, ORIGIN, **small),
        carton("cream_cheese", (0.0406, 0.0213, 0.0089), 0.00619, ORIGIN, **flat),
        carton("chocolate_pudding", (0.0401, 0.0232, 0.0137), 0.01019, (-0.0005, 0, 0.0006)),
        carton("cookies", (0.031, 0.0413, 0.0094), 0.00964, ORIGIN),
        gabled_carton("milk", 0.03167, 0.03),
        gabled_carton("orange_juice", 0.03167, 0.025),
        can("alphabet_soup", 0.02585, bottom=-0.04),
        can("tomato_sauce", 0.02663),
        ketchup(),
        dressing("salad_dressing"),
        dressing("new_salad_dressing"),
        bbq_sauce(),
        book(
            "black_book",
            (-0.0148, -0.0673, 0.0022),
            (0.0139, 0.043, 0.1366),
            0.04255,
            Look((0.09, 0.09, 0.1)),
        ),
        book(
            "yellow_book",
            (-0.0101, -0.0488, 0.002),
            (0.0134, 0.0489, 0.1242),
            0.02812,
            Look((0.9, 0.74, 0.16)),
        ),
        wine_bottle(),
    )
