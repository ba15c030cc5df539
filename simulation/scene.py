"""A task compiled once: MuJoCo model, index tables, success predicate and reset sampler."""

from __future__ import annotations

import copy
import ctypes
import functools
import gc
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mujoco
import numpy as np

from common.errors import InvalidStateError
from common.machine import return_freed_memory
from simulation.arguments import real_numbers
from simulation.assets.resolve import AssetPack, resolve_assets
from simulation.physics.arena import bounded_arenas, with_arena
from simulation.physics.control import GRIPPER_SPEED, ControllerState, RobotIndex
from simulation.physics.passes import ForwardPasses
from simulation.pictures.looks import robot_looks, with_looks
from simulation.predicates import Predicate, compile_atoms, conjunction
from simulation.quiet import quiet_robosuite
from simulation.suites.building import published_parts
from simulation.tasks import Task, import_libero

CONSTRUCTION_LOCK = threading.RLock()
"""Held while upstream builds or draws something: it keeps state in its modules and in NumPy's."""
_SETTLED_DRAWS = 2
"""Upstream draws each articulated object's joint once per load; reset loads a second time."""


@dataclass(frozen=True)
class Fixtures:
    """Poses of the fixtures, which a reset draws and which no simulator state holds."""

    names: tuple[str, ...]
    """Fixture instances, such as `wooden_cabinet_1`."""
    positions: np.ndarray
    """World frame, m, float64 (F, 3)."""
    quaternions: np.ndarray
    """World frame, (w, x, y, z), float64 (F, 4)."""


@dataclass(frozen=True)
class Placement:
    """All that a reset draws for one seed."""

    qpos: np.ndarray
    """Generalised positions, (nq,)."""
    fixtures: Fixtures
    """Poses of the fixtures."""
    warmstart: np.ndarray
    """Accelerations from which the next constraint solve starts, (nv,)."""


@dataclass(frozen=True)
class MovableObject:
    """Index entry of an object of the task."""

    name: str
    """Instance name, such as `akita_black_bowl_1`."""
    body: int
    """Id of its root body."""


class Scene:
    """A compiled task, shared by all of its environments.

    Attributes:
        task: the task.
        assets: the asset pack that it was built from.
        model: the compiled physics, without geoms that cannot touch, meshes and textures that
            only a picture needs, and sensors; environments copy it, because fixture poses live
            in it. Its states are bit-identical to the visual model's.
        robot: the robot's indices.
        objects: the movable objects, in upstream's order.
        fixture_names: the fixtures, in upstream's order.
        joint_names: joints of drawers, doors and knobs.
        goal: the task's goal predicates, such as `("on", "akita_black_bowl_1", "plate_1")`.
        atoms: each goal predicate on (model, data), in the order of `goal`.
        success: the goal as a predicate on (model, data).
        burners: (site id, joint qpos address) of stove burners that show when turned on.
        strangers: objects that the task does not know of; see `simulation.crowd`.
    """

    strangers: tuple[MovableObject, ...] = ()

    def __init__(self, task: Task, assets: AssetPack) -> None:
        self.task = task
        self.assets = assets
        with CONSTRUCTION_LOCK:
            self._upstream = make_upstream(task, assets).env
            upstream = self._upstream
            self._sim = upstream.sim
            upstream.visualize(dict.fromkeys(upstream._visualizations, False))
            self.model = physics_model(with_arena(upstream.model.get_xml()))
            # The fixtures' poses before any draw: a new upstream model's, and not this one's.
            self._pristine_body_pos = self.model.body_pos.copy()
            self._pristine_body_quat = self.model.body_quat.copy()
            body = upstream.obj_body_id
            self.objects = tuple(MovableObject(name, body[name]) for name in upstream.objects_dict)
            self.fixture_names = tuple(n for n in upstream.fixtures_dict if n in body)
            self.fixture_bodies = np.array([body[n] for n in self.fixture_names], dtype=np.int64)
            self.robot = _robot_index(upstream)
            self.eef_body: int = self._sim.model.body_name2id(
                upstream.robots[0].robot_model.eef_name
            )
            self.gripper_qpos = np.array(upstream.robots[0]._ref_gripper_joint_pos_indexes)
            self.gripper_qvel = np.array(upstream.robots[0]._ref_gripper_joint_vel_indexes)
            self.joint_names, self.joint_qpos = _articulated_joints(self.model, upstream)
            self.goal = tuple(tuple(state) for state in upstream.parsed_problem["goal_state"])
            self.atoms: tuple[Predicate, ...] = compile_atoms(upstream, self.model)
            self.success: Predicate = conjunction(self.atoms)
            self.burners = _burners(self.model, upstream)
            upstream.object_property_initializers = (
                list(upstream.object_property_initializers) * _SETTLED_DRAWS
            )
            _free_last_source()
        self._sim.forward = ForwardPasses(self._sim)
        self._initial_controller = ControllerState.zeros()
        self.sample_placement = functools.lru_cache(maxsize=256)(self._sample_placement)
        self.sample_placement(0)

    @functools.cached_property
    def visual_model(self) -> mujoco.MjModel:
        """The model to render: upstream's own, but with the asset pack's robot if it has one."""
        compiled: mujoco.MjModel = self._sim.model._model
        looks = robot_looks(self.assets.path)
        if looks is None:
            return compiled
        with CONSTRUCTION_LOCK:
            model = with_looks(with_arena(self._upstream.model.get_xml()), looks)
        model.body_pos[:] = self._pristine_body_pos
        model.body_quat[:] = self._pristine_body_quat
        model.site_rgba[:] = compiled.site_rgba
        return model

    @property
    def state_size(self) -> int:
        """Length of a simulator state: 1 + nq + nv."""
        return 1 + int(self.model.nq) + int(self.model.nv)

    @property
    def initial_controller(self) -> ControllerState:
        """What the controller remembers right after a reset, before any init state is set."""
        return self._initial_controller

    def new_model(self) -> mujoco.MjModel:
        """Return a copy of the model for one environment's own fixture poses."""
        return copy.copy(self.model)

    def _sample_placement(self, seed: int) -> Placement:
        """Draw what upstream draws in `ControlEnv(...); seed(seed); reset()`.

        Upstream draws from NumPy's global generator, which all scenes of the process share.
        """
        with CONSTRUCTION_LOCK:
            upstream, sim = self._upstream, self._sim
            sim.model._model.body_pos[:] = self._pristine_body_pos
            sim.model._model.body_quat[:] = self._pristine_body_quat
            global_state = np.random.get_state()  # noqa: NPY002 (upstream's own generator)
            try:
                np.random.seed(seed)  # noqa: NPY002
                _reset_with_retries(upstream)
            finally:
                np.random.set_state(global_state)  # noqa: NPY002
            _remember_controller(upstream, self._initial_controller)
            fixtures = Fixtures(
                self.fixture_names,
                sim.model._model.body_pos[self.fixture_bodies].copy(),
                sim.model._model.body_quat[self.fixture_bodies].copy(),
            )
            data = sim.data._data
            return Placement(data.qpos.copy(), fixtures, data.qacc_warmstart.copy())

    def check_state(self, state: np.ndarray) -> np.ndarray:
        """Return `state` as float64 (1 + nq + nv,).

        Raises:
            InvalidStateError: it has another size (of another task, or other assets), NaN or a
                number that MuJoCo takes for none, or is no array of real numbers.
        """
        array = real_numbers(state, "a simulator state", InvalidStateError)
        if array.shape != (self.state_size,):
            raise InvalidStateError(
                f"a simulator state of {self.task.name} has {self.state_size} numbers, "
                f"but the given one has shape {array.shape}: it belongs to another task"
            )
        if not np.isfinite(array).all():
            raise InvalidStateError("the given simulator state contains NaN or infinity")
        if (greatest := np.abs(array).max()) > mujoco.mjMAXVAL:
            raise InvalidStateError(
                f"the given simulator state contains a number of size {greatest:.3g}, but MuJoCo "
                f"takes them up to {mujoco.mjMAXVAL:.0e}"
            )
        return array


@functools.lru_cache(maxsize=8)
def _cached_scene(task: Task, assets: AssetPack) -> Scene:
    # Upstream's environments are full of reference cycles, and one holds 140 MB of meshes: those
    # that the cache let go are to be freed now, not when the collector's counters happen to ask.
    gc.collect()
    return Scene(task, assets)


def load_scene(task: Task, assets: AssetPack | None = None) -> Scene:
    """Return the compiled scene of a task, built at most once per process and asset pack."""
    with CONSTRUCTION_LOCK:
        return _cached_scene(task, assets or resolve_assets())


def make_upstream(task: Task, assets: AssetPack) -> Any:
    """Return LIBERO's own `ControlEnv` of a task without renderer, on the given assets."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    with quiet_robosuite():
        libero = import_libero()
        from libero.libero.envs import env_wrapper

    setattr(libero, "_assets_path_cache", str(assets.path))  # noqa: B010 (untyped module)
    global_state = np.random.get_state()  # noqa: NPY002
    try:
        variant = getattr(task, "variant", None)
        with bounded_arenas(), published_parts(variant, assets.path) as robot:
            return env_wrapper.ControlEnv(
                bddl_file_name=str(task.bddl_file),
                robots=[robot],
                use_camera_obs=False,
                has_renderer=False,
                has_offscreen_renderer=False,
            )
    finally:
        np.random.set_state(global_state)  # noqa: NPY002


def _free_last_source() -> None:
    """Free what MuJoCo keeps to write the model loaded last as XML: 430 MB of LIBERO's kitchens.

    MuJoCo's Python package has `mj_saveLastXML`, which this is for, but not `mj_freeLastXML`.
    """
    for library in Path(mujoco.__file__).parent.glob("libmujoco.*"):
        ctypes.CDLL(str(library)).mj_freeLastXML()
        return_freed_memory()


def physics_model(xml: str) -> mujoco.MjModel:
    """Compile upstream's MJCF without what only pictures need: 3 MB instead of 140 MB."""
    spec = mujoco.MjSpec.from_string(xml)
    meshes = set()
    for geom in list(spec.geoms):
        if geom.contype == 0 and geom.conaffinity == 0:
            geom.delete()
        else:
            geom.material = ""
            meshes.add(geom.meshname)
    for site in spec.sites:
        site.material = ""
    for mesh in list(spec.meshes):
        if mesh.name not in meshes:
            mesh.delete()
    for unused in [*spec.materials, *spec.textures]:
        unused.delete()
    model = spec.compile()
    model.opt.disableflags |= mujoco.mjtDisableBit.mjDSBL_SENSOR
    return model


def _reset_with_retries(upstream: Any) -> None:
    """Reset in place as upstream's `ControlEnv.reset` does, without reloading the model.

    Every solve warm-starts from the one before, so the number of forward passes counts.
    """
    from robosuite.utils.errors import RandomizationError

    placed: Callable[[], None] = upstream._reset_internal
    while True:
        upstream.sim.reset()
        upstream.sim.forward()
        try:
            placed()
        except RandomizationError:
            continue
        upstream.sim.forward()
        return


def _remember_controller(upstream: Any, state: ControllerState) -> None:
    """Copy the robot state that robosuite's controller took at reset into `state`."""
    controller = upstream.robots[0].controller
    state.stale[0] = 1
    state.goal_position[:] = controller.goal_pos
    state.goal_orientation[:] = controller.goal_ori
    state.gripper[:] = 0.0
    state.initial_joint[:] = controller.initial_joint
    state.position[:] = controller.ee_pos
    state.orientation[:] = controller.ee_ori_mat
    state.velocity[:3] = controller.ee_pos_vel
    state.velocity[3:] = controller.ee_ori_vel
    state.joint_position[:] = controller.joint_pos
    state.joint_velocity[:] = controller.joint_vel
    state.jacobian[:] = controller.J_full
    state.mass[:] = controller.mass_matrix


def _robot_index(upstream: Any) -> RobotIndex:
    robot = upstream.robots[0]
    model = upstream.sim.model
    fingers = np.array([model.actuator_name2id(a) for a in robot.gripper.actuators])
    low, high = robot.torque_limits
    span = model.actuator_ctrlrange[fingers]
    return RobotIndex(
        site=int(robot.eef_site_id),
        qpos=np.array(robot._ref_joint_pos_indexes, dtype=np.int64),
        qvel=np.array(robot._ref_joint_vel_indexes, dtype=np.int64),
        actuators=np.array(robot._ref_joint_actuator_indexes, dtype=np.int64),
        gripper_actuators=fingers.astype(np.int64),
        torque_low=np.array(low, dtype=np.float64),
        torque_high=np.array(high, dtype=np.float64),
        gripper_bias=0.5 * (span[:, 1] + span[:, 0]),
        gripper_weight=0.5 * (span[:, 1] - span[:, 0]),
        substeps=int(upstream.control_timestep / upstream.model_timestep),
        ramp=GRIPPER_SPEED,
    )


def _articulated_joints(model: mujoco.MjModel, upstream: Any) -> tuple[tuple[str, ...], np.ndarray]:
    """Return names and qpos addresses of hinges and slides that are not the robot's."""
    robot = set(upstream.robots[0].robot_joints) | set(upstream.robots[0].gripper_joints)
    joints = [
        (model.joint(i).name, int(model.jnt_qposadr[i]))
        for i in range(model.njnt)
        if model.jnt_type[i] != mujoco.mjtJoint.mjJNT_FREE and model.joint(i).name not in robot
    ]
    return tuple(name for name, _ in joints), np.array([a for _, a in joints], dtype=np.int64)


def _burners(model: mujoco.MjModel, upstream: Any) -> tuple[tuple[int, int, float], ...]:
    """Return (site id, qpos address, turn-on threshold) of sites shown while a stove is on."""
    entries = []
    for state in upstream.tracking_object_states_change:
        stove = upstream.get_object(state.object_name)
        threshold = min(stove.object_properties["articulation"]["default_turnon_ranges"])
        address = int(model.joint(stove.joints[-1]).qposadr[0])
        for site, _ in stove.object_properties["vis_site_names"].values():
            entries.append((int(model.site(site).id), address, float(threshold)))
    return tuple(entries)
