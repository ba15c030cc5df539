"""The rows of a contact problem: what they act on, and their forces, states and costs.

The order of every addition is libmujoco 3.3.2's (engine_core_constraint.c).
"""

from __future__ import annotations

import mujoco
import numpy as np

from simulation.physics.factor import ONE, ZERO, inlined
from simulation.physics.lanes import load, offset, store
from simulation.physics.problem import (
    COEFFICIENTS,
    CONE,
    CONTACT,
    CONTACT_DIM,
    CONTACT_DOUBLES,
    CONTACT_FRICTION,
    CONTACT_GEOM,
    CONTACT_INTS,
    CONTACT_MU,
    EQUALITY,
    FRICTION,
    ID,
    INEQUALITY,
    LINEAR_NEGATIVE,
    LINEAR_POSITIVE,
    LOSS,
    QUADRATIC,
    SATISFIED,
    SLIDING,
    STIFFNESS,
    TYPE,
    D,
    J,
    R,
    coefficients_of,
    doubles,
    forces,
    ints,
    stiffnesses,
)

_ELLIPTIC = int(mujoco.mjtConstraint.mjCNSTR_CONTACT_ELLIPTIC)
_FRICTION_DOF = int(mujoco.mjtConstraint.mjCNSTR_FRICTION_DOF)
_LIMIT_JOINT = int(mujoco.mjtConstraint.mjCNSTR_LIMIT_JOINT)
_CONTACT_FRICTIONLESS = int(mujoco.mjtConstraint.mjCNSTR_CONTACT_FRICTIONLESS)


@inlined
def read_rows(problem, count):  # type: ignore[no-untyped-def]
    """Read the rows that the position stage has made."""
    for tree in range(problem.ntree):
        problem.component[tree] = tree
        problem.component_start[tree] = problem.tree_start[tree]
        problem.component_end[tree] = problem.tree_end[tree]
    contacts = ints(problem, CONTACT)
    types, ids = ints(problem, TYPE), ints(problem, ID)
    row = ZERO
    while row < count:
        kind, index, dim = types[row], np.int64(ids[row]), ONE
        if kind >= _CONTACT_FRICTIONLESS:
            base = index * CONTACT_INTS
            geom1, geom2 = contacts[base + CONTACT_GEOM], contacts[base + CONTACT_GEOM + 1]
            if kind == _ELLIPTIC:
                dim = np.int64(contacts[base + CONTACT_DIM])
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
    _set_span(problem, row, ONE, dof, dof & ~3, high, high, high)


@inlined
def _span_all(problem, row, dim):  # type: ignore[no-untyped-def]
    """Say that a constraint may act on every dof."""
    for tree in range(1, problem.ntree):
        _join(problem, ZERO, tree)
    _set_span(problem, row, dim, ZERO, ZERO, problem.width, problem.width, problem.width)


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
    """Set start and end of each dof's component, and how far rows of the factor are read."""
    for block in range(0, problem.width, 4):
        least = last = block
        for dof in range(block, min(block + 4, problem.nv)):
            tree = problem.dof_tree[dof]
            least = min(least, problem.component_start[tree])
            last = max(last, problem.component_end[tree])
            problem.end[dof] = problem.component_end[tree]
        for dof in range(block, block + 4):
            problem.start[dof] = least
        last, problem.reach[block] = (last + 3) & ~3, block + 4
        for row in range(least & ~3, block + 4, 4):
            problem.reach[row] = max(problem.reach[row], last)


@inlined
def _pad_jacobian(problem, count):  # type: ignore[no-untyped-def]
    """Copy the Jacobian to rows of `width`, as far as it is read: the spans, and the tail."""
    source, target, nv, spans = doubles(problem, J), problem.padded, problem.nv, problem.spans
    full = nv & ~3
    for row in range(count):
        base, own = row * problem.width, row * nv
        for part in range(4 * row, 4 * row + 4, 2):
            i, end = spans[part], min(spans[part + 1], full)
            while i < end:
                store(target, base + i, load(source, own + i))
                i += 4
        for i in range(full, nv):
            target[base + i] = source[own + i]


@inlined
def _set_coefficients(problem, count):  # type: ignore[no-untyped-def]
    """Set kinds and what does not depend on accelerations."""
    types, ids = ints(problem, TYPE), ints(problem, ID)
    stiffness, inverse = doubles(problem, D), doubles(problem, R)
    losses, contacts = doubles(problem, LOSS), doubles(problem, CONTACT)
    equalities, frictions = problem.sizes[1], problem.sizes[1] + problem.sizes[2]
    row = ZERO
    while row < count:
        own = coefficients_of(problem, row)
        if row < equalities:
            problem.kind[row] = EQUALITY
        elif row < frictions:
            problem.kind[row] = FRICTION
            loss = losses[row]
            own[0] = inverse[row] * loss
            own[1] = -0.5 * inverse[row] * loss * loss
            own[2] = loss
        elif types[row] != _ELLIPTIC:
            problem.kind[row] = INEQUALITY
        else:
            problem.kind[row] = CONE
            base = ids[row] * CONTACT_DOUBLES
            mu = contacts[base + CONTACT_MU]
            own[0] = mu
            for j in range(5):
                own[1 + j] = contacts[base + CONTACT_FRICTION + j]
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
    row = ZERO
    while row < count:
        kind, residual = kinds[row], jar[row]
        if kind == CONE:
            dim = dims[row]
            cost = _evaluate_cone(
                offset(coefficients, row * COEFFICIENTS),
                stiffness, jar, row, dim, force, state, cost,
            )  # fmt: skip
            row += dim
            continue
        weight = stiffness[row]
        force[row] = -weight * residual
        state[row] = QUADRATIC
        if kind == FRICTION:
            bound = coefficients[row * COEFFICIENTS]
            constant = coefficients[row * COEFFICIENTS + 1]
            loss = coefficients[row * COEFFICIENTS + 2]
            if residual <= -bound:
                cost += constant - loss * residual
                force[row], state[row] = loss, LINEAR_NEGATIVE
            elif residual >= bound:
                cost += constant + loss * residual
                force[row], state[row] = -loss, LINEAR_POSITIVE
            else:
                cost += 0.5 * weight * residual * residual
        elif kind == INEQUALITY and residual >= 0.0:
            force[row], state[row] = 0.0, SATISFIED
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
            force[row + j], state[row + j] = 0.0, SATISFIED
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
