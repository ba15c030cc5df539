"""The background axis: table, wall and floor in other colours and patterns."""

from __future__ import annotations

import colorsys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import mujoco
import numpy as np
import numpy.typing as npt
from PIL import Image

from eval_harness.perturbations.base import Perturbation
from simulation.pictures.look import Look, Number, Texture, texture_pixels
from simulation.tasks import Task

PATTERNS = ("plain", "checks", "stripes", "planks", "marble", "dots")
"""What a surface may be covered with."""
_SIDE = 128
"""Pixels of a drawn texture's side, at most; the model's own is not enlarged."""
_CUBE, _SKY = int(mujoco.mjtTexture.mjTEXTURE_CUBE), int(mujoco.mjtTexture.mjTEXTURE_SKYBOX)


@dataclass(frozen=True)
class Covering:
    """How one surface is covered."""

    share: float
    """Of the covering in each colour, 0..1; the rest is the surface's own."""
    pattern: str
    """One of `PATTERNS`."""
    first: tuple[float, float, float]
    """One colour, 0..1."""
    second: tuple[float, float, float]
    """The other, 0..1."""
    seed: int
    """Of what the pattern leaves open."""

    def paint(self, height: int, width: int) -> npt.NDArray[np.float64]:
        """Return the covering, colours 0..1, (height, width, 3)."""
        mix = _pattern(self.pattern, height, width, np.random.default_rng(self.seed))
        return mix[..., None] * np.array(self.first) + (1 - mix[..., None]) * np.array(self.second)


@dataclass(frozen=True)
class Background(Perturbation):
    """Blends the surfaces of table, walls and floor with drawn coverings."""

    axis: ClassVar[str] = "background"
    share: float = 1.0
    """Most of the covering in the colours."""
    contrast: float = 0.8
    """Most, between the brightness of a pattern's two colours."""

    def draw(self, task: Task, seed: int) -> dict[str, Covering]:
        """Return an episode's covering of each surface: table, walls and floor."""
        rng = self.draws(task, seed)
        amount = self.amount(rng)
        return {
            surface: self._covering(rng, amount)
            if self.active
            else Covering(0.0, PATTERNS[0], (0.0, 0.0, 0.0), (0.0, 0.0, 0.0), 0)
            for surface in ("table", "wall", "floor")
        }

    def _covering(self, rng: np.random.Generator, amount: float) -> Covering:
        hue, saturation, value = rng.uniform(0, 1), rng.uniform(0.2, 0.9), rng.uniform(0.35, 0.95)
        darker = value * (1 - self.contrast * amount)
        other = (hue + rng.uniform(-0.15, 0.15)) % 1
        return Covering(
            self.share * amount,
            PATTERNS[int(rng.integers(len(PATTERNS)))],
            colorsys.hsv_to_rgb(hue, saturation, value),
            colorsys.hsv_to_rgb(other, saturation, darker),
            int(rng.integers(2**31)),
        )

    def look(self, model: mujoco.MjModel, task: Task, seed: int) -> Look:
        """Return the look with the covered surfaces."""
        if not self.active:
            return Look()
        coverings = self.draw(task, seed)
        numbers, textures = [], []
        for surface, material in surfaces(model):
            covering = coverings[surface]
            texture = int(model.mat_texid[material, int(mujoco.mjtTextureRole.mjTEXROLE_RGB)])
            if texture < 0:
                own = model.mat_rgba[material]
                mixed = own[:3] * (1 - covering.share) + covering.share * np.array(covering.first)
                numbers.append(Number("mat_rgba", material, np.append(mixed, own[3])))
            elif model.tex_type[texture] != _SKY:
                textures.append(Texture(texture, covered(model, texture, covering)))
        return Look(tuple(numbers), tuple(textures))


def covered(model: mujoco.MjModel, texture: int, covering: Covering) -> npt.NDArray[np.uint8]:
    """Return a texture's pixels under a covering, uint8 (height, width, 3)."""
    own = texture_pixels(model, texture)
    height, width = (min(_SIDE, size) for size in own.shape[:2])
    faces = 1
    if model.tex_type[texture] == _CUBE and own.shape[0] == 6 * own.shape[1]:
        faces, own, height = 6, own[: own.shape[1]], width
    small = Image.fromarray(own[..., :3]).resize((width, height), Image.Resampling.BOX)
    blend = (1 - covering.share) * np.asarray(small, np.float64)
    blend += covering.share * 255 * covering.paint(height, width)
    return np.tile(np.clip(np.rint(blend), 0, 255).astype(np.uint8), (faces, 1, 1))


def surfaces(model: mujoco.MjModel) -> Iterator[tuple[str, int]]:
    """Yield (table, wall or floor; material) of the room's materials, each once."""
    seen = set()
    for geom in range(model.ngeom):
        material = int(model.geom_matid[geom])
        surface = _surface(model, geom)
        if surface and material >= 0 and material not in seen:
            seen.add(material)
            yield surface, material


def _surface(model: mujoco.MjModel, geom: int) -> str | None:
    """Return which surface a geom is of, by its form and its names, or None."""
    name = model.geom(geom).name
    body = model.body(int(model.geom_bodyid[geom])).name
    if model.body_weldid[model.geom_bodyid[geom]] != 0:
        return None
    if model.geom_type[geom] == mujoco.mjtGeom.mjGEOM_PLANE:
        return "floor"
    if name.startswith("wall_"):
        return "wall"
    return "table" if "table" in body else None


def _pattern(
    name: str, height: int, width: int, rng: np.random.Generator
) -> npt.NDArray[np.float64]:
    """Return how much of the first colour is where, 0..1, (height, width); it can be tiled."""
    y, x = np.mgrid[0 : 1 : height * 1j, 0 : 1 : width * 1j]
    y, x = y * (height - 1) / height, x * (width - 1) / width
    count = int(rng.integers(2, 7))
    if name == "checks":
        return ((np.floor(x * 2 * count) + np.floor(y * 2 * count)) % 2).astype(np.float64)
    if name == "stripes":
        along = x if rng.uniform() < 0.5 else y
        return np.floor(along * 2 * count) % 2
    if name == "planks":
        row = np.floor(y * count).astype(int)
        tone = rng.uniform(0.3, 1.0, count)[row]
        return np.where((y * count) % 1 < 0.06, 0.0, tone)
    if name == "dots":
        dx, dy = (x * 2 * count) % 1 - 0.5, (y * 2 * count) % 1 - 0.5
        return (np.hypot(dx, dy) < 0.3).astype(np.float64)
    if name == "marble":
        waves = sum(
            np.sin(2 * np.pi * (a * x + b * y + phase)) / (1 + abs(a) + abs(b))
            for a, b, phase in zip(*rng.integers(-5, 6, (2, 8)), rng.uniform(size=8), strict=True)
        )
        return np.clip(0.5 + waves, 0, 1)
    return np.ones((height, width))
