"""Writes the shape language's bodies and items as MJCF text."""

from __future__ import annotations

from collections.abc import Iterator
from xml.etree import ElementTree

from simulation.assets.embedded.shapes import Body, Item, Look, Part, Surface, number


class Writer:
    """Collects the assets that an object's parts need while its bodies are written."""

    def __init__(self, name: str, depth: int) -> None:
        """`name` prefixes the assets; `depth` is how many folders the file lies below the pack."""
        self.name = name
        self.textures = "../" * depth + "textures/"
        self.asset = ElementTree.Element("asset")
        self.materials: dict[Look, str] = {}
        self.meshes = 0

    def material(self, look: Look) -> str:
        """Name of the material for a look, declared on first use."""
        if look not in self.materials:
            name = f"{self.name}_{len(self.materials)}"
            self.materials[look] = name
            attributes = {
                "name": name,
                "rgba": number((*look.rgb, look.alpha)),
                "specular": number((look.shininess,)),
                "shininess": number((look.shininess,)),
            }
            if look.texture:
                file = f"{self.textures}{look.texture}.png"
                ElementTree.SubElement(
                    self.asset, "texture", type="cube", name=f"tex-{name}", file=file
                )
                attributes["texture"] = f"tex-{name}"
            ElementTree.SubElement(self.asset, "material", attributes)
        return self.materials[look]

    def mesh(self, part: Part) -> str:
        """Name of a mesh declared for the part."""
        name = f"{self.name}_turned_{self.meshes}"
        self.meshes += 1
        vertex, face = part.mesh
        ElementTree.SubElement(self.asset, "mesh", name=name, vertex=vertex, face=face)
        return name

    def geoms(self, part: Part, density: float, surface: Surface) -> Iterator[dict[str, str]]:
        """Attributes of the part's collision geom (group 0) and of its picture (group 1)."""
        frame = {"pos": number(part.pos), "quat": number(part.quat)}
        if part.solid:
            yield frame | {
                "type": part.kind,
                "size": number(part.size),
                "group": "0",
                "rgba": "0.8 0.8 0.8 0.3",
                "density": number((density,)),
                "friction": surface.friction,
                "solref": surface.solref,
                "solimp": surface.solimp,
                "contype": str(surface.contype),
                "margin": surface.margin,
            }
        if part.look is not None:
            shape = (
                {"type": "mesh", "mesh": self.mesh(part)}
                if part.kind == "mesh"
                else {"type": part.kind, "size": number(part.size)}
            )
            yield (
                frame
                | shape
                | {
                    "group": "1",
                    "contype": "0",
                    "conaffinity": "0",
                    "mass": "0",
                    "material": self.material(part.look),
                }
            )

    def body(self, body: Body) -> ElementTree.Element:
        """The body as an element, children included."""
        element = ElementTree.Element(
            "body", name=body.name, pos=number(body.pos), quat=number(body.quat)
        )
        if body.inertia is not None:
            ElementTree.SubElement(
                element,
                "inertial",
                pos=number(body.center),
                mass=number((body.mass,)),
                diaginertia=number(body.inertia),
            )
        if body.joint is not None:
            joint = body.joint
            ElementTree.SubElement(
                element,
                "joint",
                name=joint.name,
                type=joint.kind,
                axis=number(joint.axis),
                limited="true",
                range=number(joint.range),
                damping=number((joint.damping,)),
            )
        volume = sum(part.volume for part in body.parts if part.solid)
        density = body.mass / volume if volume else 0.0
        for part in body.parts:
            for attributes in self.geoms(part, density, body.surface):
                ElementTree.SubElement(element, "geom", attributes)
        for site in body.sites:
            ElementTree.SubElement(
                element,
                "site",
                name=site.name,
                type=site.kind,
                pos=number(site.pos),
                quat=number(site.quat),
                size=number(site.size),
                rgba=number(site.rgba),
            )
        element.extend(self.body(child) for child in body.children)
        return element


def markers(item: Item) -> Iterator[ElementTree.Element]:
    """The three sites by which robosuite's samplers know an object's size."""
    places = {
        "bottom_site": (0.0, 0.0, item.bottom),
        "top_site": (0.0, 0.0, item.top),
        "horizontal_radius_site": (item.radius, item.radius, 0.0),
    }
    for name, pos in places.items():
        yield ElementTree.Element(
            "site", name=name, pos=number(pos), size=number((item.marker,)), rgba="0 0 0 0"
        )


def to_xml(root: ElementTree.Element) -> bytes:
    """The document as indented UTF-8."""
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="utf-8") + b"\n"


def item_xml(item: Item) -> bytes:
    """The item's MJCF file in the layout that robosuite's MujocoXMLObject reads."""
    name = item.path.rsplit("/", 1)[-1].removesuffix(".xml")
    writer = Writer(name, item.path.count("/"))
    root = ElementTree.Element("mujoco", model=name)
    ElementTree.SubElement(root, "compiler", angle="radian")
    root.append(writer.asset)
    outer = ElementTree.SubElement(ElementTree.SubElement(root, "worldbody"), "body")
    outer.append(writer.body(item.body))
    outer.extend(markers(item))
    return to_xml(root)
