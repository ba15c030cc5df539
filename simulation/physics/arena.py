"""The memory that MuJoCo sets aside for contacts: as much as scenes need, not 1.3 GB for each."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from xml.etree import ElementTree

_ARENA = "64M"
"""For contacts and constraints. The most that any scene has used is 5.7 MB, upstream's reset with
all objects in one place."""


def with_arena(xml: str) -> str:
    """Return upstream's MJCF with a bounded arena.

    robosuite asks for 5,000 contacts, and MuJoCo reserves 1.3 GB for them in every `MjData`. They
    are hardly touched, but the kernel joins neighbours into one mapping, and refuses to fork a
    process with a mapping that is larger than the machine's memory. Motion is the same to the bit
    as long as the arena suffices, and MuJoCo warns where it does not.
    """
    scene = ElementTree.fromstring(xml)
    size = scene.find("size")
    if size is None:
        size = ElementTree.SubElement(scene, "size")
    size.attrib = {"memory": _ARENA}
    return ElementTree.tostring(scene, encoding="unicode")


@contextmanager
def bounded_arenas() -> Iterator[None]:
    """Have robosuite's simulations that are made inside this have a bounded arena."""
    from robosuite.utils.binding_utils import MjSim

    original = MjSim.__dict__["from_xml_string"]

    def from_xml_string(cls: type[Any], xml: str) -> Any:
        return original.__func__(cls, with_arena(xml))

    setattr(MjSim, "from_xml_string", classmethod(from_xml_string))  # noqa: B010 (untyped class)
    try:
        yield
    finally:
        setattr(MjSim, "from_xml_string", original)  # noqa: B010
