"""A task's scene with further objects that the task does not know of."""

from __future__ import annotations

import copy
import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from xml.etree import ElementTree

import mujoco
import numpy as np

from common.errors import InvalidStateError
from simulation.arguments import real_numbers
from simulation.physics.arena import with_arena
from simulation.physics.problem import is_supported
from simulation.pictures.looks import robot_looks, with_looks
from simulation.predicates import compile_atoms, conjunction
from simulation.scene import (
    CONSTRUCTION_LOCK,
    MovableObject,
    Placement,
    Scene,
    physics_model,
)
from simulation.tasks import import_libero

_PARKED = 10.0
"""Where a further object stands until it is placed: so far away, m, beyond all walls."""
_APART = 1.0
_LEVEL = (1.0, 0.0, 0.0, 0.0)
_RAISED = (math.sqrt(0.5), math.sqrt(0.5), 0.0, 0.0)
UPRIGHT: dict[str, tuple[float, float, float, float]] = {
    "bbq_sauce": _LEVEL,
    "butter": _LEVEL,
    "chocolate_pudding": _LEVEL,
    "cream_cheese": _LEVEL,
    "glazed_rim_porcelain_ramekin": _LEVEL,
    "porcelain_mug": _LEVEL,
    "red_coffee_mug": _LEVEL,
    "tomato_sauce": _RAISED,
    "white_bowl": _LEVEL,
    "white_yellow_mug": _LEVEL,
}
"""Categories that both asset packs have, and the quaternion (w, x, y, z) in which the official
init states have them, but for their turn about the vertical."""


@dataclass(frozen=True)
class Stranger(MovableObject):
    """A further object."""

    kind: str
    """LIBERO's category, such as `ketchup`."""
    address: int
    """Where its position begins in qpos; its quaternion follows."""
    upright: tuple[float, float, float, float]
    """Quaternion (w, x, y, z) in which it stands."""


class CrowdedScene(Scene):
    """A scene whose last bodies are further objects, each free to move.

    All indices of the task's own scene mean the same here, and a state is its own with the further
    objects' numbers at the end of qpos and of qvel. States of the task's own size are taken, too:
    the further objects then stand where they were parked, beyond the walls.

    Args:
        scene: the task's own scene.
        kinds: categories of the further objects, of `UPRIGHT`.
    """

    strangers: tuple[Stranger, ...]

    def __init__(self, scene: Scene, kinds: Sequence[str]) -> None:
        self.__dict__.update(scene.__dict__)
        self.__dict__.pop("visual_model", None)
        self._own = scene
        with CONSTRUCTION_LOCK:
            self._xml = _with_objects(scene, kinds)
            self.model = physics_model(with_arena(self._xml))
            if is_supported(scene.model):
                # From 60 degrees of freedom on MuJoCo's own choice is sparse: half as fast here.
                self.model.opt.jacobian = mujoco.mjtJacobian.mjJAC_DENSE
            self.atoms = compile_atoms(scene._upstream, self.model)
        self.success = conjunction(self.atoms)
        names = [_name(i, kind) for i, kind in enumerate(kinds)]
        bodies = [self.model.body(f"{name}_main").id for name in names]
        addresses = self.model.jnt_qposadr[self.model.body_jntadr[bodies]].tolist()
        self.strangers = tuple(
            Stranger(name, body, kind, address, UPRIGHT[kind])
            for name, body, kind, address in zip(names, bodies, kinds, addresses, strict=True)
        )
        self.sample_placement = functools.lru_cache(maxsize=256)(self._extended_placement)

    @functools.cached_property
    def visual_model(self) -> mujoco.MjModel:
        """The model to render, as the task's own is, with the further objects."""
        looks = robot_looks(self.assets.path)
        with CONSTRUCTION_LOCK:
            xml = with_arena(self._xml)
            model = mujoco.MjModel.from_xml_string(xml) if looks is None else with_looks(xml, looks)
        own = self._own.visual_model
        model.body_pos[: own.nbody] = own.body_pos
        model.body_quat[: own.nbody] = own.body_quat
        model.site_rgba[: own.nsite] = own.site_rgba
        return model

    @property
    def parked(self) -> np.ndarray:
        """The further objects' part of qpos while they are parked, (7 n,)."""
        poses = [
            (_PARKED + _APART * i, 0.0, 0.5, *one.upright) for i, one in enumerate(self.strangers)
        ]
        return np.array(poses).ravel()

    def check_state(self, state: np.ndarray) -> np.ndarray:
        """Return `state` with the further objects, float64 (1 + nq + nv,).

        Raises:
            InvalidStateError: it has neither this scene's size nor the task's own, NaN or a
                number that MuJoCo takes for none, or is no array of real numbers.
        """
        array = real_numbers(state, "a simulator state", InvalidStateError)
        if array.shape != (self._own.state_size,):
            return super().check_state(array)
        return self._extended(self._own.check_state(array))

    def _extended(self, state: np.ndarray) -> np.ndarray:
        split = 1 + int(self._own.model.nq)
        still = np.zeros(self.model.nv - self._own.model.nv)
        return np.concatenate((state[:split], self.parked, state[split:], still))

    def _extended_placement(self, seed: int) -> Placement:
        own = self._own.sample_placement(seed)
        still = np.zeros(self.model.nv - self._own.model.nv)
        return Placement(
            np.concatenate((own.qpos, self.parked)),
            own.fixtures,
            np.concatenate((own.warmstart, still)),
        )


@functools.lru_cache(maxsize=8)
def crowd(scene: Scene, kinds: tuple[str, ...]) -> CrowdedScene:
    """Return a scene with further objects, compiled at most once for each of the last few."""
    with CONSTRUCTION_LOCK:
        return CrowdedScene(scene, kinds)


def _with_objects(scene: Scene, kinds: Sequence[str]) -> str:
    """Return upstream's MJCF with further objects as its last bodies."""
    libero = import_libero()
    from libero.libero.envs.objects import get_object_fn

    setattr(libero, "_assets_path_cache", str(scene.assets.path))  # noqa: B010 (untyped module)
    root = ElementTree.fromstring(scene._upstream.model.get_xml())
    assets, world = root.find("asset"), root.find("worldbody")
    assert assets is not None and world is not None
    for i, kind in enumerate(kinds):
        thing = get_object_fn(kind)(name=_name(i, kind))
        assets.extend(copy.deepcopy(list(thing.asset)))
        world.append(copy.deepcopy(thing.get_obj()))
    return ElementTree.tostring(root, encoding="unicode")


def _name(index: int, kind: str) -> str:
    return f"stranger_{index}_{kind}"
