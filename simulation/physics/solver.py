"""MuJoCo 3.3.2's Newton contact solver, bit for bit, without work that cannot change the result.

Left out are zeros (see `factor`), forces and factors that nothing reads, and what a repeated pass
has in common with the one before: the factor and the cost without constraint forces.
"""

from __future__ import annotations

import numpy as np
from numba import types

from simulation.physics.constraints import evaluate, read_rows, tangent_norm
from simulation.physics.factor import (
    MINIMUM,
    ZERO,
    add_inertia,
    assemble,
    compiled,
    dot,
    factorise,
    inlined,
    multiply_rows_transposed,
    solve,
    update,
)
from simulation.physics.lanes import broadcast, load, offset, store
from simulation.physics.line_search import line_search
from simulation.physics.problem import (
    QUADRATIC,
    SLIDING,
    STIFFNESS,
    coefficients_of,
    forces,
    jacobian,
    multiply_jacobian,
    multiply_mass,
    publish_states,
    reference,
    residual_without_forces,
    row_count,
    stiffnesses,
)

_mj_fwd_constraint = types.ExternalFunction(
    "mj_fwdConstraint", types.void(types.uintp, types.uintp)
)


@inlined
def _add_gauss(problem, cost):  # type: ignore[no-untyped-def]
    """Return `cost` with the cost of leaving the unconstrained acceleration added, bit by bit."""
    for i in range(problem.nv):
        force = problem.momentum[i] - problem.qfrc_smooth[i]
        cost += 0.5 * force * (problem.qacc[i] - problem.qacc_smooth[i])
    return cost


@compiled
def _residual_cost(problem, count, vector, out):  # type: ignore[no-untyped-def]
    """Write J x - aref to `out`, set forces and states there, and return their cost."""
    multiply_jacobian(problem, count, vector, out)
    aref = reference(problem)
    for row in range(count):
        out[row] = out[row] - aref[row]
    return evaluate(problem, count, out)


@inlined
def _warm_start(problem, count, repeated):  # type: ignore[no-untyped-def]
    """Start from the better of the last solution and no constraint forces; return the cost."""
    free, qacc = residual_without_forces(problem), problem.qacc
    for i in range(problem.nv):
        qacc[i] = problem.warmstart[i]
    if not repeated:
        problem.smooth_cost[0] = _residual_cost(problem, count, problem.qacc_smooth, free)
    cost = _residual_cost(problem, count, qacc, problem.jar)
    multiply_mass(problem, qacc, problem.momentum)
    if _add_gauss(problem, cost) > problem.smooth_cost[0]:
        for i in range(problem.nv):
            qacc[i] = problem.qacc_smooth[i]
        cost = _residual_cost(problem, count, qacc, problem.jar)
        multiply_mass(problem, qacc, problem.momentum)
    problem.gauss[0] = _add_gauss(problem, 0.0)
    return cost + problem.gauss[0]


@compiled
def _factorise(problem, count):  # type: ignore[no-untyped-def]
    """Factor the Hessian without cones, unless it is the one that was factored last."""
    state, factored = problem.state, problem.factored_state
    if problem.factored[0] == 1:
        changed = 0
        for row in range(count):
            changed += (state[row] == QUADRATIC) != (factored[row] == QUADRATIC)
        if changed == 0:
            return
    nv, width = problem.nv, problem.width
    stiffness, weights = stiffnesses(problem), problem.weights
    for row in range(count):
        factored[row] = state[row]
        weights[row] = stiffness[row] if state[row] == QUADRATIC else 0.0
    factor, spans, scratch = problem.factor, problem.spans, problem.scratch
    assemble(factor, jacobian(problem), spans, count, nv, width, problem.reach, weights, scratch)
    add_inertia(
        factor, nv, width, problem.mass, problem.dof_address, problem.dof_parent,
        problem.dof_simple,
    )  # fmt: skip
    factorise(factor, problem.diagonal, nv, width, problem.start, problem.end)
    problem.factored[0] = 1


@compiled
def _update_factor(problem, count):  # type: ignore[no-untyped-def]
    """Bring the factor without cones up to date with rows that became quadratic or ceased to."""
    width, vector, stiffness = problem.width, problem.scratch, stiffnesses(problem)
    source = jacobian(problem)
    for row in range(count):
        now = problem.state[row] == QUADRATIC
        if now == (problem.old_state[row] == QUADRATIC):
            continue
        problem.factored[0] = 0
        scale = broadcast(np.sqrt(stiffness[row]))
        for i in range(0, width, 4):
            store(vector, i, broadcast(0.0))
        for part in range(4 * row, 4 * row + 4, 2):
            for i in range(problem.spans[part], problem.spans[part + 1], 4):
                store(vector, i, load(source, row * width + i) * scale)
        first, last = problem.start[problem.head[row]], problem.end[problem.head[row]]
        sign = 1.0 if now else -1.0
        if update(problem.factor, problem.diagonal, vector, 1, first, last, width, sign) > 0:
            _factorise(problem, count)
            return


@inlined
def _add_cones(problem, count):  # type: ignore[no-untyped-def]
    """Add contacts in the middle zone to the factor; return whether there are any."""
    nv, width = problem.nv, problem.width
    full, diagonal = problem.cone_factor, problem.cone_diagonal
    found = False
    row = ZERO
    while row < count:
        dim = problem.dim[row]
        if problem.state[row] == SLIDING:
            if not found:
                found = True
                for k in range(nv):
                    for i in range(k & ~3, problem.reach[k & ~3], 4):
                        store(full, k * width + i, load(problem.factor, k * width + i))
                for i in range(0, width, 4):
                    store(diagonal, i, load(problem.diagonal, i))
            _cone_rows(problem, row, dim)
            first, last = problem.start[problem.head[row]], problem.end[problem.head[row]]
            update(full, diagonal, problem.cone_rows, dim, first, last, width, 1.0)
        row += dim
    return found


@inlined
def _cone_rows(problem, row, dim):  # type: ignore[no-untyped-def]
    """Write L^T J of a contact, where L L^T is its Hessian in the middle zone, to `cone_rows`."""
    width, local, target = problem.width, problem.local, problem.cone_rows
    _cone_hessian(problem, row, dim)
    _factorise_small(local, dim)
    source = jacobian(problem)
    first, last = problem.start[problem.head[row]], problem.end[problem.head[row]]
    for c in range(dim):
        for i in range(first & ~3, last, 4):
            store(target, c * width + i, broadcast(0.0))
        for part in range(4 * row, 4 * row + 4, 2):
            for i in range(problem.spans[part], problem.spans[part + 1], 4):
                total = broadcast(0.0)
                for r in range(c, dim):
                    entry = broadcast(local[r * dim + c])
                    total = total + load(source, (row + r) * width + i) * entry
                store(target, c * width + i, total)


@inlined
def _cone_hessian(problem, row, dim):  # type: ignore[no-untyped-def]
    """Write a contact's Hessian in the middle zone, (dim, dim), lower triangle, to `local`."""
    own, jar = coefficients_of(problem, row), problem.jar
    hessian, u = problem.local, offset(problem.local, 36)
    middle, mu = own[STIFFNESS], own[0]
    normal, tangent = jar[row] * mu, tangent_norm(jar, row, dim, own)
    for j in range(1, dim):
        u[j] = jar[row + j] * own[j]
    outer = mu * normal / (tangent * tangent * tangent)
    added = mu * mu - mu * normal / tangent
    ratio = -mu / tangent
    for k in range(dim):
        scale = middle * own[k]
        for j in range(k, dim):
            if k == 0:
                entry = 1.0 if j == 0 else ratio * u[j]
            else:
                entry = outer * u[j] * u[k]
                if j == k:
                    entry += added
            hessian[j * dim + k] = entry * (scale * own[j])


@inlined
def _factorise_small(matrix, n):  # type: ignore[no-untyped-def]
    """Replace the lower triangle of a contact's Hessian by its Cholesky factor."""
    for j in range(n):
        square = matrix[j * (n + 1)]
        if j > 0:
            square -= dot(offset(matrix, j * n), offset(matrix, j * n), j)
        root = np.sqrt(MINIMUM if square < MINIMUM else square)
        matrix[j * (n + 1)] = root
        inverse = 1.0 / root
        for i in range(j + 1, n):
            product = dot(offset(matrix, i * n), offset(matrix, j * n), j)
            matrix[i * n + j] = (matrix[i * n + j] - product) * inverse


@inlined
def _gradient(problem, count):  # type: ignore[no-untyped-def]
    """Write constraint forces in joint space and the cost's gradient."""
    total, force = problem.total_force, forces(problem)
    multiply_rows_transposed(jacobian(problem), problem.spans, count, problem.width, force, total)
    for i in range(problem.nv):
        problem.gradient[i] = problem.momentum[i] - problem.qfrc_smooth[i] - total[i]


@compiled
def _search_direction(problem, count):  # type: ignore[no-untyped-def]
    """Write the Newton direction."""
    factor, diagonal = problem.factor, problem.diagonal
    if _add_cones(problem, count):
        factor, diagonal = problem.cone_factor, problem.cone_diagonal
    nv, width, search = problem.nv, problem.width, problem.search
    solve(factor, diagonal, nv, width, problem.start, problem.end, problem.gradient, search)
    for i in range(nv):
        search[i] = search[i] * -1.0


@inlined
def _move(problem, count, alpha):  # type: ignore[no-untyped-def]
    """Take a step along the search direction and return the new cost."""
    for i in range(problem.nv):
        problem.qacc[i] = problem.qacc[i] + problem.search[i] * alpha
        problem.momentum[i] = problem.momentum[i] + problem.moved[i] * alpha
    for row in range(count):
        problem.jar[row] = problem.jar[row] + problem.jv[row] * alpha
        problem.old_state[row] = problem.state[row]
    cost = evaluate(problem, count, problem.jar)
    problem.gauss[0] = _add_gauss(problem, 0.0)
    return cost + problem.gauss[0]


@inlined
def _publish(problem, count, current):  # type: ignore[no-untyped-def]
    """Write forces and states to mjData; `current` says that the joint-space forces are known."""
    if not current:
        _gradient(problem, count)
    for i in range(problem.nv):
        problem.qfrc_constraint[i] = problem.total_force[i]
    publish_states(problem, count)


@compiled
def prepare(problem):  # type: ignore[no-untyped-def]
    """Read the constraints that the position stage has made; call once a substep."""
    problem.factored[0] = 0
    count = row_count(problem)
    if count > 0:
        read_rows(problem, count)


@compiled
def constrain(problem, repeated, final):  # type: ignore[no-untyped-def]
    """Do `mj_fwdConstraint`: set qacc, its warm start, and the constraints' forces.

    `prepare` must have been called in this substep. `repeated` says that nothing but the warm
    start has changed since the last call. Where another call follows before the integration,
    `final` is False, and forces and states that only the integration would read are left out.
    """
    count = row_count(problem)
    if count == 0:
        _mj_fwd_constraint(problem.model, problem.data)
        return
    cost = _warm_start(problem, count, repeated)
    _gradient(problem, count)
    _factorise(problem, count)
    current = True
    for _ in range(problem.iterations):
        _search_direction(problem, count)
        alpha = line_search(problem, count)
        if alpha == 0.0:
            break
        old_cost = cost
        cost = _move(problem, count, alpha)
        if problem.scale * (old_cost - cost) < problem.tolerance:
            current = False
            break
        _gradient(problem, count)
        length = np.sqrt(dot(problem.gradient, problem.gradient, problem.nv))
        if problem.scale * length < problem.tolerance:
            break
        _update_factor(problem, count)
    for i in range(problem.nv):
        problem.warmstart[i] = problem.qacc[i]
    if final:
        _publish(problem, count, current)
