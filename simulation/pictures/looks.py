"""The model that pictures are drawn from, where an asset pack brings its own looks of the robot."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import mujoco

from simulation.assets.embedded import ROBOT_FILE


def robot_looks(pack: Path) -> Path | None:
    """Return the file with the pack's looks of the robot; None for robosuite's own."""
    file = pack / ROBOT_FILE
    return file if file.is_file() else None


def with_looks(xml: str, looks: Path) -> mujoco.MjModel:
    """Compile upstream's MJCF with other pictures of the robot, and with their drawing quality.

    The geoms that are only seen (they neither collide nor weigh) of each body that `looks`
    names give way to those that it holds. Bodies, joints, sites, collision geoms and masses stay,
    so states and their indices mean the same.

    Args:
        xml: upstream's MJCF.
        looks: MJCF whose bodies have names of upstream's and hold geoms that are only seen.
    """
    scene = ElementTree.fromstring(xml)
    source = ElementTree.parse(looks).getroot()
    bodies = {body.get("name"): body for body in scene.iter("body")}
    for dressed in source.iterfind("worldbody/body"):
        body = bodies.get(dressed.get("name"))
        if body is None:
            continue
        for geom in body.findall("geom"):
            if geom.get("contype") == "0" and geom.get("conaffinity") == "0":
                body.remove(geom)
        body.extend(dressed)
    _child(scene, "asset").extend(_child(source, "asset"))
    _child(scene, "visual").extend(_child(source, "visual"))
    _drop_unused_meshes(scene)
    return mujoco.MjModel.from_xml_string(ElementTree.tostring(scene, encoding="unicode"))


def _child(root: ElementTree.Element, name: str) -> ElementTree.Element:
    found = root.find(name)
    return ElementTree.SubElement(root, name) if found is None else found


def _drop_unused_meshes(scene: ElementTree.Element) -> None:
    """Remove meshes that no geom shows: reading the robot's takes most of a second."""
    used = {geom.get("mesh") for geom in scene.iter("geom")}
    asset = _child(scene, "asset")
    for mesh in asset.findall("mesh"):
        if mesh.get("name") not in used:
            asset.remove(mesh)
