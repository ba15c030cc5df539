"""The light axis: lights stand elsewhere, and are of other strength, colour and number."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import mujoco
import numpy as np

from eval_harness.perturbations.base import Perturbation, unit_vector
from eval_harness.perturbations.surfaces import base_height
from simulation.pictures.look import Lamp, Look, Number
from simulation.tasks import Task

_LAMP_HEIGHT = 2.0
"""Of a further lamp above the table, m."""
_SHADOWED = 0.1
"""Share of the episodes with shadows: for these everything is drawn thrice."""
_LAMP_SHARE = 0.6
"""Brightness of a further lamp."""


@dataclass(frozen=True)
class LightChange:
    """How the lights differ."""

    shift: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """Of every light's position, m, world frame."""
    tilt: tuple[float, float] = (0.0, 0.0)
    """Added to every light's direction along the world's x and y, share of its length."""
    brightness: float = 1.0
    """Factor of every diffuse colour."""
    tint: tuple[float, float, float] = (1.0, 1.0, 1.0)
    """Factor of red, green and blue."""
    specular: float = 1.0
    """Factor of every specular colour."""
    shadows: bool = False
    """Whether the first light casts shadows."""
    off: int | None = None
    """A light that is out, counted round; None for none."""
    lamps: tuple[Lamp, ...] = ()
    """Further lights."""

    def look(self, model: mujoco.MjModel) -> Look:
        """Return the look of a model's pictures in this light."""
        numbers = []
        tint = np.array(self.tint) * self.brightness
        for light in range(model.nlight):
            direction = model.light_dir[light] + (*self.tilt, 0.0)
            numbers += [
                Number("light_pos", light, model.light_pos[light] + self.shift),
                Number("light_dir", light, direction / np.linalg.norm(direction)),
                Number("light_diffuse", light, np.clip(model.light_diffuse[light] * tint, 0, 1)),
                Number(
                    "light_specular",
                    light,
                    np.clip(model.light_specular[light] * self.specular, 0, 1),
                ),
            ]
        if self.shadows and model.nlight:
            numbers.append(Number("light_castshadow", 0, True))
        if self.off is not None and model.nlight:
            numbers.append(Number("light_active", self.off % model.nlight, False))
        return Look(tuple(numbers), lamps=self.lamps)


@dataclass(frozen=True)
class Light(Perturbation):
    """Changes the lights: position, direction, strength, colour, highlights, shadows, number.

    Shadows come at levels 2 and above for one episode of ten; a light goes out at 3 and above,
    or another comes on, for two episodes of three.
    """

    axis: ClassVar[str] = "light"
    version: ClassVar[int] = 2
    shift: float = 2.0
    """Most, of the lights' position, m."""
    tilt: float = 0.8
    """Most, of their direction, share of its length."""
    brightness: float = 0.65
    """Most, darker (1 less this) or brighter (1 / (1 less this))."""
    tint: float = 0.45
    """Most that a colour is taken back."""
    specular: float = 3.0
    """Most, times as strong, or weaker."""

    def draw(self, task: Task, seed: int) -> LightChange:
        """Return an episode's change."""
        if not self.active:
            return LightChange()
        rng = self.draws(task, seed)
        amount = self.amount(rng)
        shift = unit_vector(rng, 3) * (self.shift * amount)
        tilt = unit_vector(rng, 2) * (self.tilt * amount)
        dimmer = 1 - self.brightness * amount
        tint = 1 - self.tint * amount * rng.uniform(size=3)
        brighter, glossier, shadows = rng.uniform(size=3) < (0.5, 0.5, _SHADOWED)
        number, at = int(rng.integers(3)), rng.uniform(-1, 1, 2)
        lamp = Lamp(
            (float(at[0]), float(at[1]), _LAMP_HEIGHT),
            (-float(at[0]) / 2, -float(at[1]) / 2, -_LAMP_HEIGHT),
            *((_LAMP_SHARE * amount,) * 3, (_LAMP_SHARE * amount / 2,) * 3),
            shadows=False,
        )
        gloss = 1 + (self.specular - 1) * amount
        return LightChange(
            tuple(shift.tolist()),
            tuple(tilt.tolist()),
            1 / dimmer if brighter else dimmer,
            tuple(tint.tolist()),
            gloss if glossier else 1 / gloss,
            bool(shadows) and self.level >= 2,
            int(rng.integers(8)) if number == 1 and self.level >= 3 else None,
            (lamp,) if number == 2 and self.level >= 3 else (),
        )

    def look(self, model: mujoco.MjModel, task: Task, seed: int) -> Look:
        """Return the look in the changed light."""
        if not self.active:
            return Look()
        look = self.draw(task, seed).look(model)
        height = base_height(model)
        raised = tuple(_raised(lamp, height) for lamp in look.lamps)
        return Look(look.numbers, look.textures, raised)


def _raised(lamp: Lamp, height: float) -> Lamp:
    """Return a lamp as much higher as the table is."""
    x, y, z = lamp.position
    return Lamp((x, y, z + height), lamp.direction, lamp.diffuse, lamp.specular, lamp.shadows)
