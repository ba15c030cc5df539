"""The contact problem of one substep as libmujoco states it: rows, forces, states and costs.

The order of every addition is libmujoco 3.3.2's (engine_core_constraint.c, engine_solver.c).
Compiled functions work on a `ContactProblem` whose arrays `lanes.pointers` has replaced by
pointers.
"""

from __future__ import annotations

import ctypes
import platform
from typing import NamedTuple

import mujoco
import numpy as np

from simulation.factor import MINIMUM, inlined
from simulation.lanes import doubles_at, ints_at, offset

CAPACITY = 768
"""Constraint rows that there is room for; with more, libmujoco's own solver is called."""
_EQUALITY, _FRICTION, _INEQUALITY, _CONE = range(4)
_SATISFIED, QUADRATIC, _LINEAR_NEGATIVE, _LINEAR_POSITIVE, SLIDING = range(5)
_ELLIPTIC = int(mujoco.mjtConstraint.mjCNSTR_CONTACT_ELLIPTIC)
_FRICTION_DOF = int(mujoco.mjtConstraint.mjCNSTR_FRICTION_DOF)
_LIMIT_JOINT = int(mujoco.mjtConstraint.mjCNSTR_LIMIT_JOINT)
_CONTACT_FRICTIONLESS = int(mujoco.mjtConstraint.mjCNSTR_CONTACT_FRICTIONLESS)

# Fields of mjData from `contact` on, in the order of mujoco's mjdata.h.
_CONTACT, _TYPE, _ID, _J = 0, 1, 2, 11
_LOSS, _D, _R, _AREF, _B, _FORCE, _STATE = 15, 18, 19, 35, 36, 37, 38
_FIELDS = 39
# Layout of mjContact, in doubles and in 32-bit integers.
_CONTACT_DOUBLES, _CONTACT_FRICTION, _CONTACT_MU = 72, 14, 28
_CONTACT_INTS, _CONTACT_DIM, _CONTACT_GEOM = 144, 130, 133

_COEFFICIENTS = 8
_QUAD = 9
# Coefficients of a row with friction loss: bound, cost at the bound, loss.
# Coefficients of a cone: mu, five frictions, stiffness of the middle zone.
STIFFNESS = 6

_JOINT_DOFS = (6, 3, 1, 1)
"""Number of dofs of free, ball, slide and hinge joints."""
_VECTORS = (
    "momentum", "moved", "gradient", "search", "total_force", "scratch", "diagonal",
    "cone_diagonal",
)  # fmt: skip
_ROWS = ("kind", "dim", "head", "state", "old_state", "factored_state")
_TREES = ("component", "component_start", "component_end")


class ContactProblem(NamedTuple):
    """What the solver reads of one `MjModel` and `MjData`, and its scratch memory."""

    supported: bool
    """Whether this solver stands for the model's settings; otherwise libmujoco's is called."""
    model: int
    data: int
    nv: int
    width: int
    """Length of a row in memory: nv, rounded up to a multiple of four."""
    ntree: int
    tolerance: float
    line_tolerance: float
    scale: float
    """Factor of costs and gradients that tolerances apply to."""
    iterations: int
    line_iterations: int
    sizes: np.ndarray
    """mjData's ncon, ne, nf, nl and nefc, int32 (5,)."""
    fields: np.ndarray
    """mjData's pointers from `contact` on, uint64."""
    geom_tree: np.ndarray
    """Kinematic tree of each geom, -1 for what does not move, int64."""
    joint_dof: np.ndarray
    """First dof of each joint, int64."""
    joint_dofs: np.ndarray
    """Number of dofs of each joint: 1 for hinges and slides, otherwise more, int64."""
    dof_tree: np.ndarray
    """Kinematic tree of each dof, int64."""
    tree_start: np.ndarray
    """First dof of each tree, int64."""
    tree_end: np.ndarray
    """One past the last dof of each tree, int64."""
    dof_address: np.ndarray
    """mjModel's dof_Madr, int64."""
    dof_parent: np.ndarray
    """mjModel's dof_parentid, int64."""
    dof_simple: np.ndarray
    """mjModel's dof_simplenum, int64."""
    mass: np.ndarray
    qacc: np.ndarray
    qacc_smooth: np.ndarray
    qfrc_smooth: np.ndarray
    warmstart: np.ndarray
    qfrc_constraint: np.ndarray
    component: np.ndarray
    """Label of each tree's component, int64 (ntree,)."""
    component_start: np.ndarray
    """First dof of each tree's component, int64 (ntree,)."""
    component_end: np.ndarray
    """One past the last dof of each tree's component, int64 (ntree,)."""
    start: np.ndarray
    """First dof of the components of each block of four dofs, int64 (width,)."""
    end: np.ndarray
    """One past the last dof of each dof's component, int64 (width,)."""
    kind: np.ndarray
    """Kind of constraint of each row, int64 (CAPACITY,)."""
    dim: np.ndarray
    """Number of rows of the constraint that starts here, int64 (CAPACITY,)."""
    head: np.ndarray
    """A dof of the component that a row belongs to, int64 (CAPACITY,)."""
    spans: np.ndarray
    """Two ranges of dofs, multiples of four, outside of which a row is zero; (CAPACITY, 4)."""
    padded: np.ndarray
    """The Jacobian in rows of `width`, where that is not nv; (CAPACITY, width)."""
    coefficients: np.ndarray
    """What does not depend on accelerations, (CAPACITY, 8)."""
    jar: np.ndarray
    """Residual J a - aref, (CAPACITY,)."""
    jv: np.ndarray
    """Its change along the search direction, (CAPACITY,)."""
    weights: np.ndarray
    """D of quadratic rows, otherwise 0, (CAPACITY,)."""
    quadratics: np.ndarray
    """Costs along the search direction, (CAPACITY, 9)."""
    state: np.ndarray
    """State of each row, int64 (CAPACITY,)."""
    old_state: np.ndarray
    """The same before the last step, int64 (CAPACITY,)."""
    factored_state: np.ndarray
    """States that `factor` stands for, int64 (CAPACITY,)."""
    factored: np.ndarray
    """Whether `factored_state` holds, int64 (1,)."""
    momentum: np.ndarray
    """M a, (width,)."""
    moved: np.ndarray
    """M v, (width,)."""
    gradient: np.ndarray
    search: np.ndarray
    total_force: np.ndarray
    """Constraint forces in joint space, (width,)."""
    scratch: np.ndarray
    factor: np.ndarray
    """Factor of the Hessian without cones, (nv, width)."""
    diagonal: np.ndarray
    cone_factor: np.ndarray
    """Factor of the Hessian with cones, (nv, width)."""
    cone_diagonal: np.ndarray
    cone_rows: np.ndarray
    """Vectors by which a contact updates the factor, (6, width)."""
    local: np.ndarray
    """A contact's own Hessian, (6, 6), and residual."""
    smooth_cost: np.ndarray
    """Cost without constraint forces, (1,)."""
    gauss: np.ndarray
    """Polynomial of the Gauss cost along the search direction, (3,)."""

    @staticmethod
    def of(model: mujoco.MjModel, data: mujoco.MjData) -> ContactProblem:
        """Return the view; it is valid as long as `model` and `data` live."""
        nv, width = model.nv, -(-model.nv // 4) * 4
        tree = model.dof_treeid.astype(np.int64)
        dofs = [np.flatnonzero(tree == t) for t in range(model.ntree)]
        numbers = {name: np.zeros(width) for name in _VECTORS}
        rows = {name: np.zeros(CAPACITY, np.int64) for name in _ROWS}
        trees = {name: np.zeros(model.ntree, np.int64) for name in _TREES}
        return ContactProblem(
            supported=is_supported(model),
            model=model._address,
            data=data._address,
            nv=nv,
            width=width,
            ntree=model.ntree,
            tolerance=model.opt.tolerance,
            line_tolerance=model.opt.ls_tolerance,
            scale=1.0 / (model.stat.meaninertia * max(1, nv)),
            iterations=model.opt.iterations,
            line_iterations=model.opt.ls_iterations,
            sizes=_sizes(data),
            fields=_fields(data),
            geom_tree=model.body_treeid[model.geom_bodyid].astype(np.int64),
            joint_dof=model.jnt_dofadr.astype(np.int64),
            joint_dofs=np.array([_JOINT_DOFS[kind] for kind in model.jnt_type], np.int64),
            dof_tree=tree,
            tree_start=np.array([d.min() for d in dofs], np.int64),
            tree_end=np.array([d.max() + 1 for d in dofs], np.int64),
            dof_address=model.dof_Madr.astype(np.int64),
            dof_parent=model.dof_parentid.astype(np.int64),
            dof_simple=model.dof_simplenum.astype(np.int64),
            mass=data.qM,
            qacc=data.qacc,
            qacc_smooth=data.qacc_smooth,
            qfrc_smooth=data.qfrc_smooth,
            warmstart=data.qacc_warmstart,
            qfrc_constraint=data.qfrc_constraint,
            start=np.zeros(width, np.int64),
            end=np.zeros(width, np.int64),
            spans=np.zeros(4 * CAPACITY, np.int64),
            padded=np.zeros(CAPACITY * width),
            coefficients=np.zeros(CAPACITY * _COEFFICIENTS),
            jar=np.zeros(CAPACITY),
            jv=np.zeros(CAPACITY),
            weights=np.zeros(CAPACITY),
            quadratics=np.zeros(CAPACITY * _QUAD),
            factored=np.zeros(1, np.int64),
            factor=np.zeros(nv * width),
            cone_factor=np.zeros(nv * width),
            cone_rows=np.zeros(6 * width),
            local=np.zeros(48),
            smooth_cost=np.zeros(1),
            gauss=np.zeros(3),
            **numbers,
            **rows,
            **trees,
        )


def is_supported(model: mujoco.MjModel) -> bool:
    """Return whether bits and settings are those that this solver was written for.

    Other processors' libmujoco fuses multiplications and additions.
    """
    option = model.opt
    dense = option.jacobian == mujoco.mjtJacobian.mjJAC_DENSE or (
        option.jacobian == mujoco.mjtJacobian.mjJAC_AUTO and model.nv < 60
    )
    return bool(
        mujoco.__version__ == "3.3.2"
        and platform.machine() in ("x86_64", "AMD64")
        and dense
        and option.solver == mujoco.mjtSolver.mjSOL_NEWTON
        and option.cone == mujoco.mjtCone.mjCONE_ELLIPTIC
        and option.noslip_iterations == 0
        and not option.disableflags & mujoco.mjtDisableBit.mjDSBL_WARMSTART
    )


def _view(address: int, dtype: type, count: int) -> np.ndarray:
    """Return memory of the simulator as an array."""
    size = np.dtype(dtype).itemsize * count
    return np.frombuffer((ctypes.c_char * size).from_address(address), dtype)


def _sizes(data: mujoco.MjData) -> np.ndarray:
    """Return a view of ncon, ne, nf, nl and nefc, which lie 40 bytes before `energy`."""
    return _view(data.energy.ctypes.data - 40, np.int32, 5)


def _fields(data: mujoco.MjData) -> np.ndarray:
    """Return a view of mjData's pointers from `contact` on, five after `qfrc_constraint`."""
    address = data.energy.ctypes.data + 16
    target = data.qfrc_constraint.ctypes.data
    while int(_view(address, np.uint64, 1)[0]) != target:
        address += 8
    return _view(address + 40, np.uint64, _FIELDS)


@inlined
def _doubles(problem, field):  # type: ignore[no-untyped-def]
    return doubles_at(problem.fields[field])


@inlined
def _ints(problem, field):  # type: ignore[no-untyped-def]
    return ints_at(problem.fields[field])


@inlined
def row_count(problem):  # type: ignore[no-untyped-def]
    """Return the number of constraint rows, or 0 where libmujoco's solver is to be called."""
    count = problem.sizes[4]
    return count if problem.supported and count <= CAPACITY else 0


@inlined
def jacobian(problem):  # type: ignore[no-untyped-def]
    """Return the Jacobian in rows of `width`."""
    return _doubles(problem, _J) if problem.nv == problem.width else problem.padded


@inlined
def reference(problem):  # type: ignore[no-untyped-def]
    """Return the reference acceleration aref of each row."""
    return _doubles(problem, _AREF)


@inlined
def residual_without_forces(problem):  # type: ignore[no-untyped-def]
    """Return where the residual without constraint forces belongs (efc_b)."""
    return _doubles(problem, _B)


@inlined
def forces(problem):  # type: ignore[no-untyped-def]
    """Return where the constraint forces belong (efc_force)."""
    return _doubles(problem, _FORCE)


@inlined
def stiffnesses(problem):  # type: ignore[no-untyped-def]
    """Return D of each row."""
    return _doubles(problem, _D)


@inlined
def coefficients_of(problem, row):  # type: ignore[no-untyped-def]
    """Return a constraint's coefficients."""
    return offset(problem.coefficients, row * _COEFFICIENTS)


@inlined
def publish_states(problem, count):  # type: ignore[no-untyped-def]
    """Write the states to where libmujoco has them (efc_state)."""
    states = _ints(problem, _STATE)
    for row in range(count):
        states[row] = problem.state[row]


@inlined
def read_rows(problem, count):  # type: ignore[no-untyped-def]
    """Read the rows that the position stage has made."""
    for tree in range(problem.ntree):
        problem.component[tree] = tree
        problem.component_start[tree] = problem.tree_start[tree]
        problem.component_end[tree] = problem.tree_end[tree]
    contacts = _ints(problem, _CONTACT)
    types, ids = _ints(problem, _TYPE), _ints(problem, _ID)
    row = 0
    while row < count:
        kind, index, dim = types[row], ids[row], 1
        if kind >= _CONTACT_FRICTIONLESS:
            base = index * _CONTACT_INTS
            geom1, geom2 = contacts[base + _CONTACT_GEOM], contacts[base + _CONTACT_GEOM + 1]
            if kind == _ELLIPTIC:
                dim = contacts[base + _CONTACT_DIM]
            if geom1 < 0 or geom2 < 0:
                _span_all(problem, row, dim)
            else:
                _span_trees(problem, row, dim, problem.geom_tree[geom1], problem.geom_tree[geom2])
        elif kind == _FRICTION_DOF:
            _span_dof(problem, row, index)
        elif kind == _LIMIT_JOINT and problem.joint_dofs[index] == 1:
            _span_dof(problem, row, problem.joint_dof[index])
        else:
            _span_all(problem, row, dim)
        row += dim
    _bound_components(problem)
    _set_coefficients(problem, count)
    if problem.nv != problem.width:
        _pad_jacobian(problem, count)


@inlined
def _set_span(problem, row, dim, head, low, high, low2, high2):  # type: ignore[no-untyped-def]
    problem.dim[row] = dim
    for r in range(row, row + dim):
        problem.head[r] = head
        problem.spans[4 * r], problem.spans[4 * r + 1] = low, high
        problem.spans[4 * r + 2], problem.spans[4 * r + 3] = low2, high2


@inlined
def _span_dof(problem, row, dof):  # type: ignore[no-untyped-def]
    """Say that a row acts on one dof alone."""
    high = (dof & ~3) + 4
    _set_span(problem, row, 1, dof, dof & ~3, high, high, high)


@inlined
def _span_all(problem, row, dim):  # type: ignore[no-untyped-def]
    """Say that a constraint may act on every dof."""
    for tree in range(1, problem.ntree):
        _join(problem, 0, tree)
    _set_span(problem, row, dim, 0, 0, problem.width, problem.width, problem.width)


@inlined
def _span_trees(problem, row, dim, first, second):  # type: ignore[no-untyped-def]
    """Say that a contact acts on two trees (-1 for one that does not move)."""
    if first < 0 or (second >= 0 and second < first):
        first, second = second, first
    head = problem.tree_start[first]
    low, high = head & ~3, (problem.tree_end[first] + 3) & ~3
    low2 = high2 = high
    if second >= 0 and second != first:
        low2 = max(problem.tree_start[second] & ~3, high)
        high2 = max((problem.tree_end[second] + 3) & ~3, low2)
        _join(problem, first, second)
    _set_span(problem, row, dim, head, low, high, low2, high2)


@inlined
def _join(problem, first, second):  # type: ignore[no-untyped-def]
    """Make one component of two trees'."""
    keep, drop = problem.component[first], problem.component[second]
    if keep == drop:
        return
    low = min(problem.component_start[first], problem.component_start[second])
    high = max(problem.component_end[first], problem.component_end[second])
    for tree in range(problem.ntree):
        if problem.component[tree] == keep or problem.component[tree] == drop:
            problem.component[tree] = keep
            problem.component_start[tree], problem.component_end[tree] = low, high


@inlined
def _bound_components(problem):  # type: ignore[no-untyped-def]
    """Set start and end of each dof's component."""
    for block in range(0, problem.width, 4):
        least = block
        for dof in range(block, min(block + 4, problem.nv)):
            tree = problem.dof_tree[dof]
            least = min(least, problem.component_start[tree])
            problem.end[dof] = problem.component_end[tree]
        for dof in range(block, block + 4):
            problem.start[dof] = least


@inlined
def _pad_jacobian(problem, count):  # type: ignore[no-untyped-def]
    """Copy the Jacobian to rows of `width`."""
    source, target = _doubles(problem, _J), problem.padded
    for row in range(count):
        for i in range(problem.nv):
            target[row * problem.width + i] = source[row * problem.nv + i]


@inlined
def _set_coefficients(problem, count):  # type: ignore[no-untyped-def]
    """Set kinds and what does not depend on accelerations."""
    types, ids = _ints(problem, _TYPE), _ints(problem, _ID)
    stiffness, inverse = _doubles(problem, _D), _doubles(problem, _R)
    losses, contacts = _doubles(problem, _LOSS), _doubles(problem, _CONTACT)
    equalities, frictions = problem.sizes[1], problem.sizes[1] + problem.sizes[2]
    row = 0
    while row < count:
        own = coefficients_of(problem, row)
        if row < equalities:
            problem.kind[row] = _EQUALITY
        elif row < frictions:
            problem.kind[row] = _FRICTION
            loss = losses[row]
            own[0] = inverse[row] * loss
            own[1] = -0.5 * inverse[row] * loss * loss
            own[2] = loss
        elif types[row] != _ELLIPTIC:
            problem.kind[row] = _INEQUALITY
        else:
            problem.kind[row] = _CONE
            base = ids[row] * _CONTACT_DOUBLES
            mu = contacts[base + _CONTACT_MU]
            own[0] = mu
            for j in range(5):
                own[1 + j] = contacts[base + _CONTACT_FRICTION + j]
            own[STIFFNESS] = stiffness[row] / (mu * mu * (1.0 + mu * mu))
        row += problem.dim[row]


@inlined
def tangent_norm(jar, row, dim, own):  # type: ignore[no-untyped-def]
    """Return the length of a contact's scaled tangential residual, summed as `mju_norm` does."""
    u1, u2 = jar[row + 1] * own[1], jar[row + 2] * own[2]
    if dim == 3:
        return np.sqrt(u1 * u1 + u2 * u2)
    u3 = jar[row + 3] * own[3]
    if dim == 4:
        return np.sqrt(u1 * u1 + u2 * u2 + u3 * u3)
    u4, u5 = jar[row + 4] * own[4], jar[row + 5] * own[5]
    return np.sqrt(((u1 * u1 + u3 * u3) + (u2 * u2 + u4 * u4)) + u5 * u5)


@inlined
def evaluate(problem, count, jar):  # type: ignore[no-untyped-def]
    """Write forces and states of the constraints at a residual and return their cost."""
    stiffness, force, state = stiffnesses(problem), forces(problem), problem.state
    kinds, dims, coefficients = problem.kind, problem.dim, problem.coefficients
    cost = 0.0
    row = 0
    while row < count:
        kind, residual = kinds[row], jar[row]
        if kind == _CONE:
            dim = dims[row]
            cost = _evaluate_cone(
                offset(coefficients, row * _COEFFICIENTS),
                stiffness, jar, row, dim, force, state, cost,
            )  # fmt: skip
            row += dim
            continue
        weight = stiffness[row]
        force[row] = -weight * residual
        state[row] = QUADRATIC
        if kind == _FRICTION:
            bound = coefficients[row * _COEFFICIENTS]
            constant = coefficients[row * _COEFFICIENTS + 1]
            loss = coefficients[row * _COEFFICIENTS + 2]
            if residual <= -bound:
                cost += constant - loss * residual
                force[row], state[row] = loss, _LINEAR_NEGATIVE
            elif residual >= bound:
                cost += constant + loss * residual
                force[row], state[row] = -loss, _LINEAR_POSITIVE
            else:
                cost += 0.5 * weight * residual * residual
        elif kind == _INEQUALITY and residual >= 0.0:
            force[row], state[row] = 0.0, _SATISFIED
        else:
            cost += 0.5 * weight * residual * residual
        row += 1
    return cost


@inlined
def _evaluate_cone(own, stiffness, jar, row, dim, force, state, cost):  # type: ignore[no-untyped-def]
    """Write force and state of one elliptic contact and return `cost` with its own added."""
    mu = own[0]
    normal = jar[row] * mu
    tangent = tangent_norm(jar, row, dim, own)
    if normal >= mu * tangent or (tangent <= 0.0 and normal >= 0.0):
        for j in range(dim):
            force[row + j], state[row + j] = 0.0, _SATISFIED
    elif mu * normal + tangent <= 0.0 or (tangent <= 0.0 and normal < 0.0):
        for j in range(row, row + dim):
            cost += 0.5 * stiffness[j] * jar[j] * jar[j]
            force[j], state[j] = -stiffness[j] * jar[j], QUADRATIC
    else:
        middle = own[STIFFNESS]
        excess = normal - mu * tangent
        cost += 0.5 * middle * excess * excess
        pressure = -middle * excess * mu
        force[row], state[row] = pressure, SLIDING
        for j in range(1, dim):
            force[row + j] = -pressure / tangent * (jar[row + j] * own[j]) * own[j]
            state[row + j] = SLIDING
    return cost


@inlined
def line_coefficients(problem, count):  # type: ignore[no-untyped-def]
    """Write each constraint's cost along the search direction as a polynomial."""
    stiffness = stiffnesses(problem)
    quadratics, jar, jv = problem.quadratics, problem.jar, problem.jv
    row = 0
    while row < count:
        at = row * _QUAD
        weighted = stiffness[row] * jar[row]
        q0, q1, q2 = jar[row] * weighted, jv[row] * weighted, jv[row] * stiffness[row] * jv[row]
        dim = problem.dim[row]
        if problem.kind[row] == _CONE:
            own = row * _COEFFICIENTS
            mu = problem.coefficients[own]
            uu = uv = vv = 0.0
            for j in range(1, dim):
                r, d, friction = jar[row + j], jv[row + j], problem.coefficients[own + j]
                weighted = stiffness[row + j] * r
                q0 += r * weighted
                q1 += d * weighted
                q2 += d * stiffness[row + j] * d
                u, v = r * friction, d * friction
                uu += u * u
                uv += u * v
                vv += v * v
            quadratics[at + 3] = jar[row] * mu
            quadratics[at + 4] = jv[row] * mu
            quadratics[at + 5], quadratics[at + 6], quadratics[at + 7] = uu, uv, vv
        quadratics[at], quadratics[at + 1], quadratics[at + 2] = q0 * 0.5, q1, q2 * 0.5
        row += dim


@inlined
def line_cost(problem, count, alpha):  # type: ignore[no-untyped-def]
    """Return (alpha, cost, slope, curvature) at a point of the line search."""
    quadratics, coefficients = problem.quadratics, problem.coefficients
    jar, jv = problem.jar, problem.jv
    cost = slope = curvature = 0.0
    q0, q1, q2 = problem.gauss[0], problem.gauss[1], problem.gauss[2]
    row = 0
    while row < count:
        kind, at, own = problem.kind[row], row * _QUAD, row * _COEFFICIENTS
        quadratic = False
        if kind == _CONE:
            mu = coefficients[own]
            v0, uv, vv = quadratics[at + 4], quadratics[at + 6], quadratics[at + 7]
            n = quadratics[at + 3] + alpha * v0
            square = quadratics[at + 5] + alpha * (2.0 * uv + alpha * vv)
            if square <= 0.0:
                quadratic = n < 0.0
            else:
                t = np.sqrt(square)
                if n >= mu * t:
                    pass
                elif mu * n + t <= 0.0:
                    quadratic = True
                else:
                    middle = coefficients[own + STIFFNESS]
                    t1 = (uv + alpha * vv) / t
                    t2 = vv / t - (uv + alpha * vv) * t1 / (t * t)
                    excess, change = n - mu * t, v0 - mu * t1
                    cost += 0.5 * middle * excess * excess
                    slope += middle * excess * change
                    curvature += middle * (change * change + excess * (-mu * t2))
            if quadratic:
                q0, q1, q2 = q0 + quadratics[at], q1 + quadratics[at + 1], q2 + quadratics[at + 2]
            row += problem.dim[row]
            continue
        x = jar[row] + alpha * jv[row]
        if kind == _FRICTION:
            bound, loss = coefficients[own], coefficients[own + 2]
            if -bound < x and x < bound:
                quadratic = True
            elif x <= -bound:
                q0 += loss * (-0.5 * bound - jar[row])
                q1 += -loss * jv[row]
            else:
                q0 += loss * (-0.5 * bound + jar[row])
                q1 += loss * jv[row]
        else:
            quadratic = kind == _EQUALITY or x < 0.0
        if quadratic:
            q0, q1, q2 = q0 + quadratics[at], q1 + quadratics[at + 1], q2 + quadratics[at + 2]
        row += 1
    cost += alpha * alpha * q2 + alpha * q1 + q0
    slope += 2.0 * alpha * q2 + q1
    curvature += 2.0 * q2
    if curvature <= 0.0:
        curvature = MINIMUM
    return alpha, cost, slope, curvature
