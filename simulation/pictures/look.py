"""What a picture may show otherwise than the model says: cameras, lights, colours and textures."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

import mujoco
import numpy as np
import numpy.typing as npt

from simulation.pictures.graphics import opengl

_MOST_KEPT = 64
"""Textures of looks that stay uploaded: more than those of the episodes that take turns."""
_MOST_LIGHTS = 8
"""Lights that OpenGL's fixed pipeline draws with."""


@dataclass(frozen=True, eq=False)
class Number:
    """One entry of an array of `mjModel` that only pictures read."""

    field: str
    """Name of the array, such as `cam_pos`."""
    index: int
    """Which entry, such as the camera's id."""
    value: npt.ArrayLike
    """What stands there instead."""


@dataclass(frozen=True, eq=False)
class Texture:
    """Pixels of one texture, no larger than its own are."""

    index: int
    """The texture's id."""
    pixels: npt.NDArray[np.uint8]
    """Colours, (height, width, 3)."""


@dataclass(frozen=True)
class Lamp:
    """A light beside the model's own."""

    position: tuple[float, float, float]
    """m, world frame."""
    direction: tuple[float, float, float]
    """Of its axis, world frame."""
    diffuse: tuple[float, float, float]
    """Colour, 0..1."""
    specular: tuple[float, float, float]
    """Colour of highlights, 0..1."""
    shadows: bool
    """Whether it casts shadows."""


@dataclass(frozen=True, eq=False)
class Look:
    """All that pictures show otherwise; physics never reads it."""

    numbers: tuple[Number, ...] = ()
    """Entries of the model's arrays."""
    textures: tuple[Texture, ...] = ()
    """Textures."""
    lamps: tuple[Lamp, ...] = ()
    """Further lights."""

    def __add__(self, other: Look) -> Look:
        """Return both together; of what both change, the other's holds."""
        return Look(
            self.numbers + other.numbers, self.textures + other.textures, self.lamps + other.lamps
        )


class Wardrobe:
    """Changes one renderer's model in place, and back: nothing is compiled.

    Args:
        own: the model as it is, never changed.
        model: the renderer's copy of it.
        context: where the model's textures have been uploaded.
    """

    def __init__(
        self, own: mujoco.MjModel, model: mujoco.MjModel, context: mujoco.MjrContext
    ) -> None:
        self._own, self._model, self._context = own, model, context
        self._worn = Look()
        self._own_textures = context.texture.copy()
        self._kept: OrderedDict[tuple[int, int], tuple[Texture, int]] = OrderedDict()

    def wear(self, look: Look) -> None:
        """Have pictures drawn from now on show this look; the OpenGL context must be current."""
        if look is self._worn:
            return
        for number in self._worn.numbers:
            getattr(self._model, number.field)[number.index] = getattr(self._own, number.field)[
                number.index
            ]
        replaced = {texture.index for texture in look.textures}
        for texture in self._worn.textures:
            if texture.index not in replaced:
                self._context.texture[texture.index] = self._own_textures[texture.index]
        for number in look.numbers:
            getattr(self._model, number.field)[number.index] = number.value
        for texture in look.textures:
            self._context.texture[texture.index] = self._uploaded(texture)
        self._worn = look

    @property
    def casts_shadows(self) -> bool:
        """Whether a light does, the model's or the look's."""
        lamps = any(lamp.shadows for lamp in self._worn.lamps)
        return lamps or bool(self._model.light_castshadow.any())

    def light(self, scene: mujoco.MjvScene) -> None:
        """Add the look's lamps to a scene that has been filled from the model."""
        for lamp in self._worn.lamps[: _MOST_LIGHTS - scene.nlight]:
            light = scene.lights[scene.nlight]
            light.pos[:], light.dir[:] = lamp.position, lamp.direction
            light.diffuse[:], light.specular[:], light.ambient[:] = lamp.diffuse, lamp.specular, 0
            light.attenuation[:] = (1, 0, 0)
            light.cutoff, light.exponent, light.bulbradius = 45, 10, 0.02
            light.headlight = light.directional = 0
            light.castshadow = lamp.shadows
            scene.nlight += 1

    def _uploaded(self, texture: Texture) -> int:
        """Return OpenGL's number of a texture; episodes that take turns find theirs kept."""
        key = texture.index, id(texture.pixels)
        if key not in self._kept:
            number = int(opengl().glGenTextures(1))
            self._context.texture[texture.index] = number
            self._upload(texture.index, texture.pixels)
            self._kept[key] = texture, number
            if len(self._kept) > _MOST_KEPT:
                _, (_, oldest) = self._kept.popitem(last=False)
                opengl().glDeleteTextures([oldest])
        self._kept.move_to_end(key)
        return self._kept[key][1]

    def _upload(self, index: int, pixels: npt.NDArray[np.uint8]) -> None:
        model, (height, width, channels) = self._model, pixels.shape
        start = model.tex_adr[index]
        model.tex_data[start : start + pixels.size] = pixels.ravel()
        model.tex_height[index], model.tex_width[index] = height, width
        model.tex_nchannel[index] = channels
        mujoco.mjr_uploadTexture(model, self._context, index)


def texture_pixels(model: mujoco.MjModel, index: int) -> npt.NDArray[np.uint8]:
    """Return a texture of a model, uint8 (height, width, channels)."""
    shape = model.tex_height[index], model.tex_width[index], model.tex_nchannel[index]
    start = model.tex_adr[index]
    return model.tex_data[start : start + int(np.prod(shape))].reshape(shape)
