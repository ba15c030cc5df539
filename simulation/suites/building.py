"""Has LIBERO build the scene of a published task: its problem, robot, camera and objects."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation

from common.errors import AssetError, UnknownTaskError
from simulation.suites.classes import (
    ROBOT_CLASSES,
    ProblemClass,
    object_file,
    problem_class,
    robot_posture,
    style_files,
)
from simulation.suites.variant import (
    OBJECT_FOLDERS,
    Variant,
    View,
    categories_of,
    problem_of,
    read_definition,
)

ROBOT = "Panda"
PIVOT = np.array([0.0, 0.0, 0.8])
"""Point about which LIBERO-Plus turns and scales the agent's camera, m."""
_DIGITS = 4
"""LIBERO-Plus rounds a camera's pose to these."""
_LIKE = {
    "yellow_cabinet": "white_cabinet",
    "yellow_stove": "flat_stove",
    "white_bottle": "wine_bottle",
    "brown_rack": "wine_rack",
}
"""LIBERO-PRO's kinds of object -> LIBERO's that behave alike, where the words do not tell."""


@contextmanager
def published_parts(variant: Variant | None, assets: Path) -> Iterator[str]:
    """Give LIBERO's tables what a variant needs while it builds; yield the robot's name.

    Args:
        variant: of the task; None for LIBERO's own tasks.
        assets: folder of the asset pack.

    Raises:
        AssetError: the pack lacks a scene or an object.
        UnknownTaskError: the definition asks for what LIBERO and the checkout have not.
    """
    if variant is None:
        yield ROBOT
        return
    from libero.libero.envs import bddl_base_domain
    from libero.libero.envs.arenas.style import STYLE_MAPPING
    from libero.libero.envs.base_object import OBJECTS_DICT
    from libero.libero.envs.regions import REGION_SAMPLERS

    text = read_definition(variant.definition, variant.remedy)
    problems: dict[str, Any] = bddl_base_domain.TASK_MAPPING
    with ExitStack() as stack:
        name = problem_of(text)
        own = _own_class(variant, name, problems, assets)
        made = _variant_class(name, problems[own.base], own, variant.view)
        stack.enter_context(_entries(problems, {name: made}))
        stack.enter_context(_entries(REGION_SAMPLERS, {name: REGION_SAMPLERS[own.base]}))
        for part, styles in _styles(own, variant, assets).items():
            stack.enter_context(_entries(STYLE_MAPPING[part], styles))
        missing = sorted(categories_of(text) - OBJECTS_DICT.keys() - _ARENAS)
        objects = {kind: _object(kind, variant, OBJECTS_DICT, assets) for kind in missing}
        stack.enter_context(_entries(OBJECTS_DICT, objects))
        yield _robot(variant)


_ARENAS = {"table", "floor", "kitchen_table", "living_room_table", "study_table", "coffee_table"}
"""Kinds that are parts of a scene."""


@contextmanager
def _entries(table: dict[str, Any], entries: Mapping[str, Any]) -> Iterator[None]:
    """Have entries in a table meanwhile."""
    before = {name: table[name] for name in entries if name in table}
    table.update(entries)
    try:
        yield
    finally:
        for name in entries:
            del table[name]
        table.update(before)


def _own_class(variant: Variant, name: str, known: Mapping[str, Any], assets: Path) -> ProblemClass:
    """Return what a variant's problem sets beside the one of LIBERO's that it is made of."""
    own = ProblemClass(name)
    if name not in known:
        own = problem_class(variant.root, name, variant.remedy) or own
    if own.base not in known:
        raise UnknownTaskError(
            f"{variant.definition} is of the problem {name!r}, which neither LIBERO nor "
            f"{variant.root / 'envs' / 'problems'} has: {variant.remedy}"
        )
    if own.scene is not None and not (assets / own.scene).is_file():
        raise AssetError(_no_asset(variant, own.scene, assets))
    return own


def _styles(own: ProblemClass, variant: Variant, assets: Path) -> dict[str, dict[str, str]]:
    """Return part of the scene -> style -> texture, of the styles that a class names."""
    found: dict[str, dict[str, str]] = {}
    for key, style in own.styles:
        part = key.removesuffix("_style")
        texture = style_files(variant.root, variant.remedy).get(part, {}).get(style)
        if texture is None:
            continue  # LIBERO's own
        if not (assets / "textures" / texture).is_file():
            raise AssetError(_no_asset(variant, f"textures/{texture}", assets))
        found[part] = {style: texture}
    return found


def _variant_class(name: str, base: Any, own: ProblemClass, view: View | None) -> Any:
    class Published(base):
        """LIBERO's problem with another scene file, other styles, another camera."""

        def __init__(self, bddl_file_name: str, *args: Any, **kwargs: Any) -> None:
            if own.scene is not None and kwargs.get("scene_xml") is None:
                kwargs["scene_xml"] = own.scene
            if own.styles and kwargs.get("scene_properties") is None:
                kwargs["scene_properties"] = dict(own.styles)
            super().__init__(bddl_file_name, *args, **kwargs)

        def _setup_camera(self, mujoco_arena: Any) -> None:
            super()._setup_camera(mujoco_arena)
            if view is not None and view.moved:
                _move_camera(mujoco_arena, view)

    Published.__name__ = name  # LIBERO compares it with the definition's
    return Published


def _move_camera(arena: Any, view: View) -> None:
    camera = arena.worldbody.find("./camera[@name='agentview']")
    position, quaternion = (
        np.array([float(x) for x in camera.get(name).split()]) for name in ("pos", "quat")
    )
    position, quaternion = camera_pose(position, quaternion, view)
    arena.set_camera(camera_name="agentview", pos=position.tolist(), quat=quaternion.tolist())


def camera_pose(
    position: np.ndarray, quaternion: np.ndarray, view: View
) -> tuple[np.ndarray, np.ndarray]:
    """Return where LIBERO-Plus puts a camera: turned up, turned round, moved away, panned, tilted.

    Args:
        position: of LIBERO's camera, m (3,).
        quaternion: of LIBERO's camera, (w, x, y, z).
        view: how it is moved.

    Returns:
        Position, m (3,), and quaternion (w, x, y, z), each rounded to four digits.
    """
    up = Rotation.from_euler("y", -view.vertical, degrees=True)
    about = Rotation.from_euler("z", view.horizontal, degrees=True)
    if view.vertical:
        position = (PIVOT + up.apply(position - PIVOT)).round(_DIGITS)
        quaternion = _turned(quaternion, up)
    position, quaternion = about.apply(position).round(_DIGITS), _turned(quaternion, about)
    position = (PIVOT + (position - PIVOT) * view.scale / 100).round(_DIGITS)
    if view.pan:
        quaternion = _turned(quaternion, Rotation.from_euler("z", view.pan, degrees=True))
    if view.tilt:
        quaternion = _turned(quaternion, Rotation.from_euler("y", -view.tilt, degrees=True))
    return position, quaternion


def _turned(quaternion: np.ndarray, rotation: Rotation) -> np.ndarray:
    """Return a (w, x, y, z) quaternion turned further, rounded."""
    turned = rotation * Rotation.from_quat(np.roll(quaternion, -1))
    return np.roll(turned.as_quat(), 1).round(_DIGITS)


def _robot(variant: Variant) -> str:
    """Return the robot's name, which LIBERO puts `Mounted` or `OnTheGround` before."""
    if not variant.robot:
        return ROBOT
    from libero.libero.envs import robots
    from robosuite.robots import ROBOT_CLASS_MAPPING

    name = f"{ROBOT}{variant.robot}"
    found = False
    for kind in ROBOT_CLASSES:
        own = f"{kind}{variant.robot}"
        numbers = robot_posture(variant.root, own, variant.remedy)
        if numbers is not None:
            found, joints = True, np.array(numbers)
            posture = property(functools.partial(_copied, joints))
            type(own, (getattr(robots, kind),), {"init_qpos": posture})  # registers itself
            ROBOT_CLASS_MAPPING[own] = ROBOT_CLASS_MAPPING[kind]
    if not found:
        raise UnknownTaskError(
            f"{variant.root / 'envs' / 'robots'} has no posture {variant.robot}: {variant.remedy}"
        )
    return name


def _copied(joints: np.ndarray, _robot: Any) -> np.ndarray:
    return joints.copy()


def _object(kind: str, variant: Variant, known: Mapping[str, Any], assets: Path) -> Any:
    """Return what makes an object of a kind that LIBERO has not."""
    like = known.get(_LIKE.get(kind, kind.partition("_")[2]))
    if like is not None:
        file = _own_file(like, kind)
        if (assets / file).is_file():
            return _named(like, kind)
    for folder in OBJECT_FOLDERS:
        file = f"{folder}/{kind}/{kind}.xml"
        if (assets / file).is_file():
            return _placed(assets / file)
    own = object_file(variant.root, kind, variant.remedy)
    if own is None or not (assets / own).is_file():
        raise AssetError(_no_asset(variant, own or f"an object {kind}", assets))
    return _placed(assets / own)


def _own_file(like: Any, kind: str) -> str:
    """Return where an object of this name lies if it is of a class's own family."""
    families = {base.__name__ for base in like.__mro__}
    if "ArticulatedObject" in families:
        return f"articulated_objects/{kind}.xml"
    folder = {"HopeBaseObject": OBJECT_FOLDERS[1], "TurbosquidObjects": OBJECT_FOLDERS[2]}
    family = next((folder[name] for name in folder if name in families), OBJECT_FOLDERS[0])
    return f"{family}/{kind}/{kind}.xml"


_FREE = [{"type": "free", "damping": "0.0005"}]
"""The joint of what LIBERO lets lie about."""


def _named(like: Any, kind: str) -> Callable[..., Any]:
    def make(name: str = kind, **options: Any) -> Any:
        """Make an object that behaves like one of LIBERO's and looks like another."""
        made = like(name=name, obj_name=kind, **options)
        made.category_name = kind
        return made

    return make


def _placed(file: Path) -> Callable[..., Any]:
    """Return what makes a plain object of an MJCF file."""
    from robosuite.models.objects import MujocoXMLObject

    class Plain(MujocoXMLObject):
        """An object that is picked up, with no joints or sites of its own."""

        def __init__(self, name: str, joints: Any = _FREE) -> None:
            super().__init__(
                str(file),
                name=name,
                joints=joints,
                obj_type="all",
                duplicate_collision_geoms=False,
            )
            self.category_name = file.stem
            self.rotation, self.rotation_axis = (np.pi / 2, np.pi / 2), "x"
            self.object_properties: dict[str, Any] = {"vis_site_names": {}}

        def _get_object_subtree(self) -> Any:
            """Return the object's body, which LIBERO-Plus's files have without one around it."""
            body = self.worldbody.find("./body[@name='object']")
            if body is not None:
                self.worldbody.remove(body)
                around = type(body)("body")
                around.append(body)
                around.extend(self.worldbody.findall("./site"))
                self.worldbody.append(around)
            return super()._get_object_subtree()

    return Plain


def _no_asset(variant: Variant, what: str, assets: Path) -> str:
    """Return what is missing of a pack, and where it is to be had."""
    return (
        f"the assets in {assets} lack {what}, which {variant.definition.name} needs: give the "
        f"suite's own, --assets {variant.assets}; where they are not there, {variant.assets_remedy}"
    )
