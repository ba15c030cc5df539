"""LIBERO's goal predicates compiled to index tables: no name look-up in a step.

Most states are far from the goal. A wider bound, held against plain numbers, tells so at once;
upstream's own arithmetic, which decides to the last bit, runs only within it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import mujoco
import numpy as np

Predicate = Callable[[mujoco.MjModel, mujoco.MjData], bool]
"""A truth value of the simulator's state as its last forward pass left it."""

_ON_DISTANCE = 0.03
"""Greatest horizontal distance of two objects' origins for `On`, m."""
_ON_SITE_HEIGHT = 0.10
"""Greatest height of an object's origin above a site's top for `On`, m."""
_ON_SITE_SLACK = 0.005
_IN_SITE_SLACK = 0.01
_MARGIN = 1.001
"""Factor by which the bounds are wider than exact arithmetic asks for."""


def compile_atoms(upstream: Any, model: mujoco.MjModel) -> tuple[Predicate, ...]:
    """Return the task's goal predicates, in the definition's order.

    `upstream` is LIBERO's own environment of the task, `model` the model that the predicates
    will read, with the same bodies, sites and joints. Together they agree with its
    `_check_success()`, which LIBERO defines in `predicates/` and `object_states/`.

    Raises:
        NotImplementedError: the goal has a predicate that no LIBERO task uses.
    """
    states = upstream.parsed_problem["goal_state"]
    return tuple(_compile(upstream, model, *state) for state in states)


def conjunction(atoms: tuple[Predicate, ...]) -> Predicate:
    """Return the predicate that holds where all do."""
    if len(atoms) == 1:
        return atoms[0]
    return lambda model, data: all(atom(model, data) for atom in atoms)


def _compile(upstream: Any, model: mujoco.MjModel, name: str, *arguments: str) -> Predicate:
    states = [upstream.object_states_dict[argument] for argument in arguments]
    match name:
        case "on":
            return _compile_on(upstream, model, *states)
        case "in":
            return _compile_in(upstream, *states)
        case "open" | "close" | "turnon" | "turnoff":
            return _compile_joint(upstream, name, *states)
    raise NotImplementedError(f"goal predicate {name!r}")


def _contact(upstream: Any, model: mujoco.MjModel, first: str, second: str) -> Predicate:
    """Return whether any contact geom of one object touches one of the other."""
    owner = np.zeros(model.ngeom, dtype=np.int8)
    for bit, name in ((1, first), (2, second)):
        names = upstream.get_object(name).contact_geoms
        ids = [mujoco.mj_name2id(model, mujoco.mjtObj.mjOBJ_GEOM, geom) for geom in names]
        owner[[index for index in ids if index >= 0]] |= bit

    def touching(_: mujoco.MjModel, data: mujoco.MjData) -> bool:
        pair = owner[data.contact.geom[: data.ncon]]
        first_, second_ = pair[:, 0], pair[:, 1]
        return bool(np.any(((first_ & 1) & (second_ >> 1)) | ((first_ >> 1) & (second_ & 1))))

    return touching


def _compile_on(upstream: Any, model: mujoco.MjModel, upper: Any, lower: Any) -> Predicate:
    """`On(upper, lower)`: contact, and upper's origin above lower's within 3 cm sideways.

    On a site: the origin is inside the site's footprint, at most 10 cm above its top.
    """
    upper_body = upstream.obj_body_id[upper.object_name]
    if lower.object_state_type == "object":
        lower_body = upstream.obj_body_id[lower.object_name]
        touching = _contact(upstream, model, lower.object_name, upper.object_name)

        def on_object(model: mujoco.MjModel, data: mujoco.MjData) -> bool:
            offset = data.xpos[upper_body] - data.xpos[lower_body]
            if math.hypot(*offset[:2].tolist()) > _MARGIN * _ON_DISTANCE:
                return False
            near = np.linalg.norm(offset[:2]) < _ON_DISTANCE
            return bool(near and offset[2] >= 0) and touching(model, data)

        return on_object
    site_object = upstream.object_sites_dict[lower.object_name]
    if not hasattr(site_object, "under"):
        return lambda _, __: True
    site = upstream.sim.model.site_name2id(lower.object_name)
    size = np.asarray(site_object.size, dtype=np.float64)
    parent = upstream.get_object(lower.parent_name)
    touching = (
        (lambda _, __: True)
        if parent is None
        else _contact(upstream, model, lower.parent_name, upper.object_name)
    )

    reach = _MARGIN * math.hypot(size[0], size[1], size[2] + _ON_SITE_HEIGHT)

    def on_site(model: mujoco.MjModel, data: mujoco.MjData) -> bool:
        offset = data.xpos[upper_body] - data.site_xpos[site]
        if math.hypot(*offset.tolist()) > reach:
            return False
        delta = data.site_xmat[site].reshape(3, 3) @ offset
        above = size[2] - _ON_SITE_SLACK < delta[2] < size[2] + _ON_SITE_HEIGHT
        within = abs(delta[0]) < size[0] and abs(delta[1]) < size[1]
        return bool(above and within) and touching(model, data)

    return on_site


def _compile_in(upstream: Any, inner: Any, outer: Any) -> Predicate:
    """`In(inner, outer)`: inner's origin is inside the outer site's axis-aligned box."""
    if outer.object_state_type != "site":
        raise NotImplementedError("`In` an object that is not a site")
    inner_body = upstream.obj_body_id[inner.object_name]
    site = upstream.sim.model.site_name2id(outer.object_name)
    size = np.asarray(upstream.object_sites_dict[outer.object_name].size, dtype=np.float64)

    reach = _MARGIN * (math.hypot(*size) + _IN_SITE_SLACK)

    def inside(_: mujoco.MjModel, data: mujoco.MjData) -> bool:
        position, middle = data.xpos[inner_body], data.site_xpos[site]
        if math.hypot(*(position - middle).tolist()) > reach:
            return False
        extent = np.abs(data.site_xmat[site].reshape(3, 3) @ size)
        lower = middle - extent
        lower[2] -= _IN_SITE_SLACK
        return bool(np.all(position > lower) and np.all(position < middle + extent))

    return inside


def _compile_joint(upstream: Any, name: str, state: Any) -> Predicate:
    """`Open`, `Close`, `TurnOn`, `TurnOff`: the object's own threshold on its joints."""
    if state.object_state_type == "site":
        joints = upstream.object_sites_dict[state.object_name].joints
        thing = upstream.get_object(state.parent_name)
    else:
        thing = upstream.get_object(state.object_name)
        joints = thing.joints
    model = upstream.sim.model
    addresses = [int(model.get_joint_qpos_addr(joint)) for joint in joints]
    method = {"open": "is_open", "close": "is_close", "turnon": "turn_on", "turnoff": "turn_off"}
    test = getattr(thing, method[name])
    combine = any if name in ("open", "turnon") else all
    return lambda _, data: bool(combine(test(data.qpos[address]) for address in addresses))
