"""The robot's looks: robosuite's Panda, gripper and mount as a few tubes, cylinders and boxes.

robosuite's own meshes have 165 thousand faces, which take most of the time that software needs for
a picture. Only pictures change: collision geoms, masses, sites and joints stay robosuite's.
"""

from __future__ import annotations

import math
from xml.etree import ElementTree

from simulation.assets.embedded.lofts import Ring, loft
from simulation.assets.embedded.mjcf import Writer, to_xml
from simulation.assets.embedded.shapes import (
    ALONG_Y,
    PLAIN,
    Look,
    Part,
    Quaternion,
    Vector,
    box,
    lay,
    multiply,
    picture,
    revolve,
    turn,
)

ROBOT_FILE = "robots/panda.xml"
"""Path of the robot's looks in the pack."""

WHITE = Look((1.0, 1.0, 1.0), shininess=0.45)
SILVER = Look((0.90, 0.92, 0.93), shininess=0.45)
DARK = Look((0.25, 0.25, 0.25), shininess=0.45)
GREY = Look((0.499, 0.499, 0.499))
IRON = Look((0.2, 0.2, 0.2))

QUALITY = {"offsamples": "4", "numslices": "16", "numstacks": "8", "numquads": "2"}
"""How finely MuJoCo draws a scene of the pack: multisampling, and facets of its primitives."""


def cylinder(
    look: Look, pos: Vector, radius: float, half: float, quat: Quaternion = (1.0, 0.0, 0.0, 0.0)
) -> Part:
    """A drawn cylinder along the z of `quat`."""
    return Part("cylinder", pos, (radius, half), quat, False, look)


def upright(look: Look, *rings: tuple[float, float, float, float], square: float = 2.0) -> Part:
    """A loft along z through rings of (x, z, half x, half y)."""
    return loft(look, *(Ring((x, 0, z), (rx, ry), square=square) for x, z, rx, ry in rings))


def bent(look: Look, *rings: tuple[float, float, float, float, float], square: float = 2) -> Part:
    """A loft in the y-z plane through rings of (y, z, half x, half y, tilt from z towards y)."""
    return loft(
        look,
        *(Ring((0, y, z), (rx, ry), turn("x", -tilt), square) for y, z, rx, ry, tilt in rings),
    )


def base() -> tuple[Part, ...]:
    """Link 0: a foot plate and a body that narrows to the first joint."""
    return (
        upright(WHITE, (-0.060, 0.0, 0.095, 0.093), (-0.060, 0.010, 0.093, 0.091), square=3.0),
        upright(
            WHITE,
            (-0.034, 0.0, 0.104, 0.074),
            (-0.034, 0.050, 0.096, 0.073),
            (-0.024, 0.080, 0.083, 0.071),
            (-0.006, 0.105, 0.062, 0.060),
            (0.0, 0.120, 0.056, 0.055),
            (0.0, 0.140, 0.0525, 0.0525),
            square=2.6,
        ),
        cylinder(SILVER, (-0.0235, 0.0, 0.048), 0.018, 0.0765, ALONG_Y),
        cylinder(SILVER, (-0.062, 0.0, 0.044), 0.012, 0.0765, ALONG_Y),
    )


def shoulder() -> tuple[Part, ...]:
    """Link 1: a tube from below that bends to -y into the second joint's housing."""
    housing = revolve(WHITE, (0.055, 0), (0.055, 0.075), (0.050, 0.105), (0.036, 0.122), (0, 0.129))
    return (
        *lay((housing,), turn("x", math.pi / 2)),
        bent(
            WHITE,
            (0.0, -0.193, 0.0535, 0.0535, 0.0),
            (0.0, -0.190, 0.055, 0.055, 0.0),
            (0.0, -0.140, 0.055, 0.055, 0.0),
            (-0.008, -0.112, 0.055, 0.053, -0.25),
            (-0.026, -0.085, 0.055, 0.047, -0.55),
            (-0.052, -0.052, 0.055, 0.048, -0.55),
            (-0.062, 0.0, 0.053, 0.050, 0.0),
        ),
    )


def elbow() -> tuple[Part, ...]:
    """Link 3: a tube from below with a round top, beside it the fourth joint's capped housing."""
    tube = revolve(
        WHITE,
        (0.055, -0.125),
        (0.052, -0.065),
        (0.046, -0.036),
        (0.032, -0.020),
        (0, -0.013),
    )
    housing = revolve(
        WHITE, (0.0545, 0), (0.0545, 0.064), (0.033, 0.064), (0.033, 0.100), (0, 0.111)
    )
    cap = revolve(
        DARK,
        (0.050, 0.062),
        (0.0555, 0.062),
        (0.0545, 0.084),
        (0.048, 0.096),
        (0.038, 0.102),
        (0.030, 0.102),
    )
    neck = Part("capsule", (0.045, 0.024, -0.035), (0.034, 0.028), turn("y", 0.9), False, WHITE)
    return (tube, neck, *lay((housing, cap), ALONG_Y, (0.0825, 0.0, 0.0)))


def forearm() -> tuple[Part, ...]:
    """Link 5: a slim bow from the elbow's joint to the wide sixth joint, dark along its edges."""
    return (
        cylinder(WHITE, (0, 0.062, 0), 0.048, 0.050, ALONG_Y),
        bent(
            WHITE,
            (0.0, -0.259, 0.055, 0.055, 0.0),
            (0.003, -0.222, 0.054, 0.053, 0.1),
            (0.022, -0.190, 0.048, 0.050, 0.6),
            (0.058, -0.158, 0.040, 0.036, 0.6),
            (0.085, -0.115, 0.034, 0.022, 0.15),
            (0.096, -0.050, 0.036, 0.022, 0.1),
            (0.102, -0.010, 0.047, 0.027, 0.0),
            (0.104, 0.025, 0.040, 0.022, 0.0),
            (0.104, 0.046, 0.018, 0.012, 0.0),
        ),
        bent(
            DARK,
            (0.082, -0.213, 0.016, 0.008, 0.2),
            (0.086, -0.200, 0.030, 0.012, 0.15),
            (0.096, -0.150, 0.036, 0.013, 0.15),
            (0.107, -0.050, 0.037, 0.014, 0.1),
            (0.110, -0.010, 0.0505, 0.021, 0.0),
            (0.110, 0.025, 0.043, 0.020, 0.0),
            (0.106, 0.051, 0.018, 0.014, 0.0),
            square=2.6,
        ),
    )


def wrist() -> tuple[Part, ...]:
    """Link 6: the sixth joint's flat housing and, beside it, the seventh's with its display."""
    tube = revolve(
        WHITE,
        (0.043, -0.051),
        (0.042, -0.036),
        (0.039, -0.016),
        (0.042, 0.012),
        (0.044, 0.055),
        (0.041, 0.066),
        (0.035, 0.072),
        (0.034, 0.072),
    )
    display = revolve(DARK, (0.036, 0.071), (0.033, 0.077), (0.0, 0.080))
    return (
        upright(SILVER, (0, -0.016, 0.047, 0.047), (0, 0.036, 0.047, 0.047)),
        upright(
            DARK,
            (0.008, 0.030, 0.055, 0.043),
            (0.008, 0.044, 0.053, 0.041),
            (0.008, 0.056, 0.036, 0.027),
            square=2.6,
        ),
        upright(WHITE, (0.042, -0.016, 0.050, 0.048), (0.046, 0.040, 0.044, 0.044), square=4.0),
        *lay((tube, display), ALONG_Y, (0.088, 0.0, 0.0)),
    )


def flange() -> tuple[Part, ...]:
    """Link 7: the flange, and the block with the two buttons askew on it."""
    block = upright(
        WHITE,
        (0.040, 0.062, 0.020, 0.026),
        (0.050, 0.068, 0.031, 0.031),
        (0.054, 0.090, 0.031, 0.031),
        (0.052, 0.097, 0.027, 0.027),
        square=5.0,
    )
    buttons = cylinder(DARK, (0.058, 0, 0.081), 0.011, 0.0315, ALONG_Y)
    return (
        cylinder(SILVER, (0, 0, 0.0745), 0.044, 0.0225),
        cylinder(SILVER, (0, 0, 0.102), 0.031, 0.005),
        *lay((block, buttons), turn("z", math.pi / 4)),
        cylinder(DARK, (-0.030, -0.030, 0.086), 0.006, 0.012, turn("x", math.pi / 2)),
    )


def hand() -> tuple[Part, ...]:
    """The gripper's body, fingers towards z, and the plug behind it."""
    rings = (
        (0.0, -0.008, 0.072, 0.021),
        (0.0, -0.002, 0.084, 0.025),
        (0.0, 0.005, 0.090, 0.026),
        (0.0, 0.012, 0.095, 0.020),
        (0.0, 0.056, 0.100, 0.0185),
        (0.0, 0.066, 0.096, 0.0165),
    )
    return (
        upright(WHITE, *rings, square=6.0),
        cylinder(WHITE, (0, 0, 0.001), 0.031, 0.009),
        Part("capsule", (0.073, 0, -0.012), (0.0065, 0.022), turn("y", math.pi / 2), False, WHITE),
        picture(box((0.073, 0, -0.004), (0.024, 0.006, 0.010)), WHITE),
    )


def finger() -> tuple[Part, ...]:
    """The left finger: a foot, a slanted stem and the tip."""
    return (
        picture(box((0, 0.0140, 0.0020), (0.0105, 0.0115, 0.0020)), GREY),
        picture(box((0, 0.0180, 0.0100), (0.0102, 0.0070, 0.0090)), GREY),
        picture(box((0, 0.0155, 0.0275), (0.0095, 0.0042, 0.0135), quat=turn("x", 0.45)), GREY),
        picture(box((0, 0.0072, 0.0450), (0.0085, 0.0072, 0.0090)), GREY),
    )


def pedestal() -> tuple[Part, ...]:
    """The mount: plate, column, controller box, crossed feet on wheels."""
    handrail = loft(
        IRON,
        *(
            Ring(
                (0.110 * math.cos(angle), 0.168 * math.sin(angle), -0.022),
                (0.017, 0.020),
                multiply(turn("z", angle), turn("x", -math.pi / 2)),
            )
            for angle in (2 * math.pi * index / 16 for index in range(17))
        ),
    )
    legs = [
        picture(
            box((x / 2 - 0.06, y / 2, -0.73), (0.19, 0.06, 0.045), quat=turn("z", heading)), IRON
        )
        for x, y, heading in (
            (0.30, 0.29, 0.76),
            (0.30, -0.29, -0.76),
            (-0.42, 0.29, -0.76),
            (-0.42, -0.29, 0.76),
        )
    ]
    feet = [
        cylinder(IRON, (x, y, -0.77), 0.035, 0.14) for x in (-0.46, 0.23) for y in (-0.30, 0.30)
    ]
    wheels = [
        Part("ellipsoid", (x, y, -0.845), (0.08, 0.03, 0.08), look=IRON, solid=False)
        for x in (-0.35, 0.15)
        for y in (-0.16, 0.16)
    ]
    return (
        handrail,
        cylinder(IRON, (0, 0, -0.022), 0.105, 0.018),
        cylinder(IRON, (0, 0, -0.36), 0.100, 0.32),
        picture(box((-0.325, 0, -0.395), (0.105, 0.170, 0.265)), IRON),
        picture(box((-0.11, 0, -0.72), (0.30, 0.19, 0.05)), IRON),
        *legs,
        *feet,
        *wheels,
    )


def robot() -> dict[str, tuple[Part, ...]]:
    """What is drawn of each of the robot's bodies, by robosuite's name of the body."""
    return {
        "robot0_link0": base(),
        "robot0_link1": shoulder(),
        "robot0_link2": lay(shoulder(), turn("x", -math.pi / 2)),
        "robot0_link3": elbow(),
        "robot0_link4": lay(elbow(), turn("x", math.pi / 2), (-0.0825, 0.0, 0.0)),
        "robot0_link5": forearm(),
        "robot0_link6": wrist(),
        "robot0_link7": flange(),
        "gripper0_right_gripper": hand(),
        "gripper0_leftfinger": finger(),
        "gripper0_rightfinger": lay(finger(), turn("z", math.pi)),
        "mount0_pedestal": pedestal(),
    }


def robot_files() -> dict[str, bytes]:
    """The robot's looks by their path in the pack: MJCF whose bodies hold nothing but pictures."""
    writer = Writer("looks", 1)
    root = ElementTree.Element("mujoco", model="panda looks")
    ElementTree.SubElement(ElementTree.SubElement(root, "visual"), "quality", QUALITY)
    root.append(writer.asset)
    world = ElementTree.SubElement(root, "worldbody")
    for name, parts in robot().items():
        body = ElementTree.SubElement(world, "body", name=name)
        for part in parts:
            for attributes in writer.geoms(part, 0.0, PLAIN):
                ElementTree.SubElement(body, "geom", attributes)
    return {ROBOT_FILE: to_xml(root)}
