"""What a perturbation is: one axis at one level, and a pure function of task, level and seed."""

from __future__ import annotations

import hashlib
from abc import ABC
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import mujoco
import numpy as np
import numpy.typing as npt

from common.errors import DlrError
from simulation.environment import Environment
from simulation.pictures.look import Look
from simulation.scene import Fixtures, Scene
from simulation.tasks import Task

CONTROL, MOST = 0, 5
"""Least level, which changes nothing, and greatest."""
Picture = npt.NDArray[np.uint8]
"""(H, W, 3), RGB, row 0 the lowest, as LIBERO's arrays are."""


class PerturbationError(DlrError, ValueError):
    """A perturbation is unknown or out of range, or what it asks for cannot stand."""


@dataclass(frozen=True, eq=False)
class WorldStart:
    """Where an episode starts."""

    state: npt.NDArray[np.float64]
    """Simulator state, (1 + nq + nv,)."""
    fixtures: Fixtures
    """Poses of the fixtures."""
    arm_moved: bool = False
    """Whether the arm stands elsewhere than where the controller remembers it."""


@dataclass(frozen=True)
class Perturbation(ABC):
    """One axis at one level. What it does depends on task, axis, level and seed alone.

    The fields beside the level are the axis's range: level L of 1 to 5 draws how far it goes
    from the L-th fifth of it. Which way it goes depends on the seed, not on the level, so that
    the levels of an episode lie on one line.
    """

    level: int
    """0 changes nothing; 1 to 5 change more and more."""
    axis: ClassVar[str]
    """Name of the axis."""
    version: ClassVar[int] = 1
    """Raised when the same fields come to mean another change."""
    neutral: ClassVar[bool] = True
    """Whether physics never reads what is changed: the same actions lead to the same states."""

    def __post_init__(self) -> None:
        """Check the level.

        Raises:
            PerturbationError: it is out of range.
        """
        if not CONTROL <= self.level <= MOST:
            raise PerturbationError(
                f"the axis {self.axis} has levels {CONTROL} (control) to {MOST}, not {self.level}"
            )

    @property
    def active(self) -> bool:
        """Whether it changes anything."""
        return self.level > CONTROL

    def describe(self) -> dict[str, Any]:
        """Return all that decides what it does, as JSON can hold it."""
        return {"axis": self.axis, "version": self.version, **asdict(self)}

    def draws(self, task: Task, seed: int) -> np.random.Generator:
        """Return the generator of an episode's draws, the same at every level."""
        words = f"{self.axis}\0{self.version}\0{task.key}\0{seed}"
        return np.random.default_rng(list(hashlib.sha256(words.encode()).digest()))

    def amount(self, rng: np.random.Generator) -> float:
        """Draw how far of the range to go: uniform in the level's fifth of 0..1."""
        return float((self.level - 1 + rng.uniform()) / MOST)

    def scene(self, scene: Scene) -> Scene:
        """Return the scene that episodes are simulated in; for all seeds one."""
        return scene

    def start(self, start: WorldStart, env: Environment, seed: int) -> WorldStart:
        """Return where an episode starts instead; the environment may be used to try poses.

        Raises:
            PerturbationError: nothing fits.
        """
        return start

    def look(self, model: mujoco.MjModel, task: Task, seed: int) -> Look:
        """Return what an episode's pictures show otherwise.

        Args:
            model: the task's own visual model.
            task: the task.
            seed: the episode's.

        Raises:
            PerturbationError: what it asks for cannot be seen.
        """
        return Look()

    def picture(self, picture: Picture, task: Task, seed: int, step: int, camera: str) -> Picture:
        """Return a picture as this camera gives it at this step of an episode."""
        return picture

    def instruction(self, instruction: str, task: Task, seed: int) -> str:
        """Return how an episode's instruction is put."""
        return instruction


def unit_vector(rng: np.random.Generator, size: int) -> npt.NDArray[np.float64]:
    """Draw a direction, uniform on the sphere. Shape: (size,)."""
    vector = rng.standard_normal(size)
    return vector / np.linalg.norm(vector)
