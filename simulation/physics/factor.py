"""Newton's Hessian of the contact problem: assembled, factored, updated and solved block-wise.

MuJoCo's dense solver runs over all of M + J^T D J, most of which is zero: objects that do not
touch each other share no entries. Adding a zero changes no bit, so zeros are left out here, and
everything else is added in libmujoco's order and lanes. The factor is stored transposed (row k
holds column k of L from the diagonal on), which lets four of its entries be computed at a time;
its diagonal is stored apart.

Arguments are pointers to doubles or 64-bit integers. Matrices have rows of `width` doubles, a
multiple of four. `spans` holds two ranges of dofs, multiples of four, outside of which a row of the
Jacobian is zero. A dof's `start` and `end` bound its component, the trees that contacts connect;
`reach` is one past the last column that is read of a block of four rows.
"""

from __future__ import annotations

import numba
import numpy as np

from simulation.physics.lanes import broadcast, lane_sum, load, store

MINIMUM = 1e-15
"""MuJoCo's mjMINVAL."""

_FAST = {"nogil": True, "cache": True, "error_model": "numpy"}
_INTERNAL = {**_FAST, "no_cpython_wrapper": True, "no_cfunc_wrapper": True}
inlined = numba.njit(**_INTERNAL, forceinline=True)
"""Compile a function into its callers.

Numba's cache of a caller does not notice when a function that it calls changes in another file:
`make clean` then.
"""
compiled = numba.njit(**_INTERNAL)
"""Compile a function that only compiled functions call."""

ZERO, ONE = np.int64(0), np.int64(1)
NO, YES = np.False_, np.True_
"""Arguments of compiled functions: each Python literal would have a copy of its own compiled."""


@inlined
def dot(a, b, n):  # type: ignore[no-untyped-def]
    """Return the dot product of the first `n` doubles as `mju_dot` does."""
    full = n & ~3
    lanes = broadcast(0.0)
    for i in range(0, full, 4):
        lanes = lanes + load(a, i) * load(b, i)
    return lane_sum(lanes) + _tail(a, b, full, full, n - full)


@inlined
def _tail(a, b, i, j, count):  # type: ignore[no-untyped-def]
    """Return what `mju_dot` adds last: the sum of up to three products."""
    if count == 0:
        return 0.0
    total = a[i] * b[j]
    if count > 1:
        total += a[i + 1] * b[j + 1]
    if count > 2:
        total += a[i + 2] * b[j + 2]
    return total


@inlined
def multiply_rows(jacobian, spans, count, nv, width, x, out):  # type: ignore[no-untyped-def]
    """Write J x of `count` rows to `out`."""
    full = nv & ~3
    for row in range(count):
        base, span = row * width, 4 * row
        lanes = broadcast(0.0)
        i, end = spans[span], min(spans[span + 1], full)
        while i < end:
            lanes = lanes + load(jacobian, base + i) * load(x, i)
            i += 4
        i, end = spans[span + 2], min(spans[span + 3], full)
        while i < end:
            lanes = lanes + load(jacobian, base + i) * load(x, i)
            i += 4
        total = lane_sum(lanes)
        if full < nv:
            total += _tail(jacobian, x, base + full, full, nv - full)
        out[row] = total


@inlined
def multiply_rows_transposed(jacobian, spans, count, width, x, out):  # type: ignore[no-untyped-def]
    """Write J^T x of `count` rows to `out`, `width` doubles."""
    for i in range(0, width, 4):
        store(out, i, broadcast(0.0))
    for row in range(count):
        if x[row] == 0.0:
            continue
        base, factor = row * width, broadcast(x[row])
        for part in range(4 * row, 4 * row + 4, 2):
            i, end = spans[part], spans[part + 1]
            while i < end:
                store(out, i, load(out, i) + load(jacobian, base + i) * factor)
                i += 4


@inlined
def _add_square(matrix, jacobian, spans, row, width, weight, scaled):  # type: ignore[no-untyped-def]
    """Add one row's weight * j j^T to the upper triangle of `matrix`."""
    base = row * width
    middle, last = spans[4 * row + 1], spans[4 * row + 3]
    for part in range(4 * row, 4 * row + 4, 2):
        for i in range(spans[part], spans[part + 1], 4):
            store(scaled, i, load(jacobian, base + i) * broadcast(weight))
    for part in range(4 * row, 4 * row + 4, 2):
        for k in range(spans[part], spans[part + 1]):
            entry = jacobian[base + k]
            if entry == 0.0:
                continue
            factor, target = broadcast(entry), k * width
            i = k & ~3
            while i < last:
                if i == middle:
                    i = spans[4 * row + 2]
                    if i >= last:
                        break
                store(matrix, target + i, load(matrix, target + i) + load(scaled, i) * factor)
                i += 4


@inlined
def assemble(matrix, jacobian, spans, count, nv, width, reach, weights, scaled):  # type: ignore[no-untyped-def]
    """Write the upper triangle of J^T D J to `matrix`, as far as it is read."""
    for k in range(nv):
        for i in range(k & ~3, reach[k & ~3], 4):
            store(matrix, k * width + i, broadcast(0.0))
    for row in range(count):
        if weights[row] != 0.0:
            _add_square(matrix, jacobian, spans, row, width, weights[row], scaled)


@inlined
def add_inertia(matrix, nv, width, mass, address, parent, simple):  # type: ignore[no-untyped-def]
    """Add the mass matrix qM, given with dof_Madr, dof_parentid and dof_simplenum."""
    for i in range(nv):
        at, j = address[i], i
        while j >= 0:
            matrix[j * width + i] += mass[at]
            at += 1
            j = -1 if simple[i] else parent[j]


@inlined
def factorise(matrix, diagonal, nv, width, start, end):  # type: ignore[no-untyped-def]
    """Replace the upper triangle of a matrix by its Cholesky factor, as `mju_cholFactor`."""
    for j in range(nv):
        row, full, first = j * width, j & ~3, start[j] & ~3
        for i in range(full, end[j], 4):
            lane0 = lane1 = lane2 = lane3 = rest = broadcast(0.0)
            for k in range(first, full, 4):
                at, line = k * width + i, k * width + j
                lane0 = lane0 + load(matrix, at) * broadcast(matrix[line])
                at, line = at + width, line + width
                lane1 = lane1 + load(matrix, at) * broadcast(matrix[line])
                at, line = at + width, line + width
                lane2 = lane2 + load(matrix, at) * broadcast(matrix[line])
                at, line = at + width, line + width
                lane3 = lane3 + load(matrix, at) * broadcast(matrix[line])
            for k in range(full, j):
                rest = rest + load(matrix, k * width + i) * broadcast(matrix[k * width + j])
            product = ((lane0 + lane2) + (lane1 + lane3)) + rest
            store(matrix, row + i, load(matrix, row + i) - product)
        square = matrix[row + j]
        root = np.sqrt(MINIMUM if square < MINIMUM else square)
        diagonal[j] = root
        inverse = broadcast(1.0 / root)
        for i in range(full, end[j], 4):
            store(matrix, row + i, load(matrix, row + i) * inverse)


@inlined
def update(matrix, diagonal, vectors, count, first, last, width, sign):  # type: ignore[no-untyped-def]
    """Add (sign 1) or subtract (-1) `count` rows' x x^T from a factor, as `mju_cholUpdate`.

    The vectors' entries lie within [first, last) and are overwritten. Returns how many diagonal
    entries fell below the least one allowed.
    """
    lost = 0
    for k in range(first, last):
        row = k * width
        for vector in range(0, count * width, width):
            x = vectors[vector + k]
            if x == 0.0:
                continue
            old_root = diagonal[k]
            square = old_root * old_root + sign * (x * x)
            if square < MINIMUM:
                square = MINIMUM
                lost += 1
            root = np.sqrt(square)
            diagonal[k] = root
            cosine, sine = root / old_root, x / old_root
            c, s = broadcast(cosine), broadcast(sine)
            signed, inverse = broadcast(sign * sine), broadcast(1.0 / cosine)
            i = k & ~3
            while i < last:
                old = load(vectors, vector + i)
                new = (load(matrix, row + i) + signed * old) * inverse
                store(matrix, row + i, new)
                store(vectors, vector + i, c * old - s * new)
                i += 4
    return lost


@inlined
def solve(matrix, diagonal, nv, width, start, end, right, out):  # type: ignore[no-untyped-def]
    """Write the solution of L L^T x = `right` to `out`, as `mju_cholSolve`."""
    for block in range(0, nv, 4):
        lane0 = lane1 = lane2 = lane3 = broadcast(0.0)
        for k in range(start[block] & ~3, block, 4):
            at = k * width + block
            lane0 = lane0 + load(matrix, at) * broadcast(out[k])
            lane1 = lane1 + load(matrix, at + width) * broadcast(out[k + 1])
            lane2 = lane2 + load(matrix, at + 2 * width) * broadcast(out[k + 2])
            lane3 = lane3 + load(matrix, at + 3 * width) * broadcast(out[k + 3])
        store(out, block, (lane0 + lane2) + (lane1 + lane3))
        for i in range(block, min(block + 4, nv)):
            rest = 0.0
            for k in range(block, i):
                rest += matrix[k * width + i] * out[k]
            out[i] = (right[i] - (out[i] + rest)) / diagonal[i]
    for i in range(nv - 1, -1, -1):
        value = out[i]
        for j in range(i + 1, end[i]):
            value -= matrix[i * width + j] * out[j]
        out[i] = value / diagonal[i]
