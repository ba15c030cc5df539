"""Where the contact problem of one substep lies in libmujoco's memory, and the solver's own.

Compiled functions work on a `ContactProblem` whose arrays `lanes.pointers` has replaced by
pointers.
"""

from __future__ import annotations

import ctypes
import platform
from pathlib import Path
from typing import NamedTuple

import llvmlite.binding
import mujoco
import numpy as np
from numba import types

from simulation.physics.factor import inlined, multiply_rows
from simulation.physics.lanes import address_of, doubles_at, ints_at, offset

LIBRARY = next(Path(mujoco.__file__).parent.glob("libmujoco.so*"))
llvmlite.binding.load_library_permanently(str(LIBRARY))
_mj_mul_m = types.ExternalFunction("mj_mulM", types.void(*[types.uintp] * 4))

CAPACITY = 1536
"""Constraint rows that there is room for; with more, libmujoco's own solver is called."""
EQUALITY, FRICTION, INEQUALITY, CONE = range(4)
SATISFIED, QUADRATIC, LINEAR_NEGATIVE, LINEAR_POSITIVE, SLIDING = range(5)

# Fields of mjData from `contact` on, in the order of mujoco's mjdata.h.
CONTACT, TYPE, ID, J = 0, 1, 2, 11
LOSS, D, R, AREF, B, FORCE, STATE = 15, 18, 19, 35, 36, 37, 38
_FIELDS = 39
# Layout of mjContact, in doubles and in 32-bit integers.
CONTACT_DOUBLES, CONTACT_FRICTION, CONTACT_MU = 72, 14, 28
CONTACT_INTS, CONTACT_DIM, CONTACT_GEOM = 144, 130, 133

COEFFICIENTS = 8
QUAD = 9
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
    nq: int
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
    reach: np.ndarray
    """One past the last column that is read of each block of four rows of a factor, int64
    (width,), at the block's first."""
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
            nq=model.nq,
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
            reach=np.zeros(width, np.int64),
            spans=np.zeros(4 * CAPACITY, np.int64),
            padded=np.zeros(0 if nv == width else CAPACITY * width),
            coefficients=np.zeros(CAPACITY * COEFFICIENTS),
            jar=np.zeros(CAPACITY),
            jv=np.zeros(CAPACITY),
            weights=np.zeros(CAPACITY),
            quadratics=np.zeros(CAPACITY * QUAD),
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
def doubles(problem, field):  # type: ignore[no-untyped-def]
    """Return the pointer to doubles in one of the fields of mjData."""
    return doubles_at(problem.fields[field])


@inlined
def ints(problem, field):  # type: ignore[no-untyped-def]
    """Return the pointer to 32-bit integers in one of the fields of mjData."""
    return ints_at(problem.fields[field])


@inlined
def row_count(problem):  # type: ignore[no-untyped-def]
    """Return the number of constraint rows, or 0 where libmujoco's solver is to be called."""
    count = problem.sizes[4]
    return count if problem.supported and count <= CAPACITY else 0


@inlined
def jacobian(problem):  # type: ignore[no-untyped-def]
    """Return the Jacobian in rows of `width`."""
    return doubles(problem, J) if problem.nv == problem.width else problem.padded


@inlined
def reference(problem):  # type: ignore[no-untyped-def]
    """Return the reference acceleration aref of each row."""
    return doubles(problem, AREF)


@inlined
def residual_without_forces(problem):  # type: ignore[no-untyped-def]
    """Return where the residual without constraint forces belongs (efc_b)."""
    return doubles(problem, B)


@inlined
def forces(problem):  # type: ignore[no-untyped-def]
    """Return where the constraint forces belong (efc_force)."""
    return doubles(problem, FORCE)


@inlined
def stiffnesses(problem):  # type: ignore[no-untyped-def]
    """Return D of each row."""
    return doubles(problem, D)


@inlined
def coefficients_of(problem, row):  # type: ignore[no-untyped-def]
    """Return a constraint's coefficients."""
    return offset(problem.coefficients, row * COEFFICIENTS)


@inlined
def multiply_mass(problem, vector, out):  # type: ignore[no-untyped-def]
    """Write M x to `out`."""
    _mj_mul_m(problem.model, problem.data, address_of(out), address_of(vector))


@inlined
def multiply_jacobian(problem, count, vector, out):  # type: ignore[no-untyped-def]
    """Write J x of the first `count` rows to `out`."""
    nv, width = problem.nv, problem.width
    multiply_rows(jacobian(problem), problem.spans, count, nv, width, vector, out)


@inlined
def publish_states(problem, count):  # type: ignore[no-untyped-def]
    """Write the states to where libmujoco has them (efc_state)."""
    states = ints(problem, STATE)
    for row in range(count):
        states[row] = problem.state[row]
