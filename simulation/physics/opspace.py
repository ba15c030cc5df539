"""Operational-space matrices without allocation, bit-identical to robosuite's `opspace_matrices`.

robosuite's function spends most of its time in numba's wrappers (workspace queries, copies, heap)
and in LAPACK's choice of block sizes. The same BLAS and LAPACK routines are called here directly,
in the same order and with the same transpositions, so every bit of the result is the same: for
matrices this small `dgesdd` comes down to `dgebd2`, `dbdsdc`, `dorm2r` and `dorml2`.
"""

from __future__ import annotations

from typing import NamedTuple

import llvmlite.binding
import numpy as np
from numba import types
from numba.extending import get_cython_function_address

from simulation.physics.factor import ONE, compiled
from simulation.physics.lanes import address_of

_RCOND = 1e-15
"""NumPy's and numba's default cut-off of `pinv`, relative to the greatest singular value."""
_DOUBLE = 8
MOST_DOFS = 1023
"""Degrees of freedom of the largest scene that fits."""
_INTS = np.arange(MOST_DOFS + 1, dtype=np.int32)
"""Fortran takes integers by reference: `_INTS[n]` is n."""
_CHARS = np.arange(128, dtype=np.uint8)
NORMAL, TRANSPOSED = np.int64(ord("N")), np.int64(ord("T"))
THREE, SIX, SEVEN = np.int64(3), np.int64(6), np.int64(7)
"""Arguments of `multiply`, of which Python literals would have a copy each compiled."""
_LEFT, _RIGHT, _UPPER, _IDENTITY = (np.int64(ord(letter)) for letter in "LRUI")
_ZERO_ONE = np.array([0.0, 1.0])
_WORK, _BLOCK = 512, np.int64(64)


def _fortran(
    module: str, name: str, arguments: int, result: types.Type = types.void
) -> types.ExternalFunction:
    """Declare a BLAS or LAPACK routine of SciPy's under a name that cached code can link to."""
    symbol = f"dlr_{name}"
    address = get_cython_function_address(f"scipy.linalg.cython_{module}", name)
    llvmlite.binding.add_symbol(symbol, address)
    return types.ExternalFunction(symbol, result(*[types.uintp] * arguments))


_ddot = _fortran("blas", "ddot", 5, types.float64)
_sdot = _fortran("blas", "sdot", 5, types.float32)
_dgemm = _fortran("blas", "dgemm", 13)
_dgemv = _fortran("blas", "dgemv", 11)
_dgetrf = _fortran("lapack", "dgetrf", 6)
_dgetri = _fortran("lapack", "dgetri", 7)
_dgebd2 = _fortran("lapack", "dgebd2", 10)
_dbdsdc = _fortran("lapack", "dbdsdc", 14)
_dorm2r = _fortran("lapack", "dorm2r", 12)
_dorml2 = _fortran("lapack", "dorml2", 12)


class Workspace(NamedTuple):
    """Results and scratch memory; matrices in Fortran order unless said otherwise."""

    mass_inverse: np.ndarray
    """(7, 7)."""
    task_inertia: np.ndarray
    """Pseudo-inverse of J M^-1 J^T, (6, 6)."""
    position_inertia: np.ndarray
    """The same of the translation alone, (3, 3)."""
    orientation_inertia: np.ndarray
    """The same of the rotation alone, (3, 3)."""
    nullspace: np.ndarray
    """I - Jbar J, in C order, (7, 7)."""
    products: np.ndarray
    """Intermediate products, (2, 49)."""
    singular: np.ndarray
    """Singular values, off-diagonal, and the reflectors' factors, (4, 6)."""
    vectors: np.ndarray
    """Left and right singular vectors, (2, 36)."""
    work: np.ndarray
    """LAPACK's scratch memory."""
    integers: np.ndarray
    """LAPACK's pivots and scratch memory, and at the end its error code, int32."""

    @staticmethod
    def zeros() -> Workspace:
        """Return a workspace, all zero."""
        return Workspace(
            np.zeros((7, 7), order="F"),
            np.zeros((6, 6), order="F"),
            np.zeros((3, 3), order="F"),
            np.zeros((3, 3), order="F"),
            np.zeros((7, 7)),
            np.zeros((2, 49)),
            np.zeros((4, 6)),
            np.zeros((2, 36)),
            np.zeros(_WORK),
            np.zeros(65, np.int32),
        )


@compiled
def _int(value):  # type: ignore[no-untyped-def]
    return _INTS.ctypes.data + 4 * value


@compiled
def _char(value):  # type: ignore[no-untyped-def]
    return _CHARS.ctypes.data + value


@compiled
def multiply(transa, transb, m, n, k, a, lda, b, ldb, c):  # type: ignore[no-untyped-def]
    """Write op(A) op(B), Fortran order (m, n), to address `c`; `a` and `b` are addresses."""
    zero, one = _ZERO_ONE.ctypes.data, _ZERO_ONE.ctypes.data + _DOUBLE
    _dgemm(
        _char(transa), _char(transb), _int(m), _int(n), _int(k),
        one, a, _int(lda), b, _int(ldb), zero, c, _int(m),
    )  # fmt: skip


@compiled
def multiply_vector(trans, m, n, a, x, y):  # type: ignore[no-untyped-def]
    """Write op(A) x to address `y`, for a Fortran-order (m, n) matrix at address `a`."""
    zero, one = _ZERO_ONE.ctypes.data, _ZERO_ONE.ctypes.data + _DOUBLE
    _dgemv(_char(trans), _int(m), _int(n), one, a, _int(m), x, _int(ONE), zero, y, _int(ONE))


@compiled
def dot_double(n, x):  # type: ignore[no-untyped-def]
    """Return the dot product of the `n` doubles at address `x` with themselves."""
    return _ddot(_int(n), x, _int(ONE), x, _int(ONE))


@compiled
def dot_single(n, x):  # type: ignore[no-untyped-def]
    """Return the dot product of the `n` singles at address `x` with themselves."""
    return _sdot(_int(n), x, _int(ONE), x, _int(ONE))


@compiled
def _singular_values(space, n, matrix):  # type: ignore[no-untyped-def]
    """Decompose the (n, n) matrix at address `matrix` (destroyed) into `space`: U, s and V^T."""
    size, lead = _int(n), _DOUBLE * n
    s = address_of(space.singular)
    off, tauq, taup = s + _DOUBLE * 6, s + _DOUBLE * 12, s + _DOUBLE * 18
    u = address_of(space.vectors)
    vt = u + _DOUBLE * 36
    work, iwork = address_of(space.work), address_of(space.integers)
    info = iwork + 4 * 64
    _dgebd2(size, size, matrix, size, s, off, tauq, taup, work, info)
    _dbdsdc(
        _char(_UPPER), _char(_IDENTITY), size, s, off, u, size, vt, size,
        work, iwork, work, iwork, info,
    )  # fmt: skip
    if space.integers[64] != 0 or not np.isfinite(space.singular[0]):
        raise ValueError("the simulator's state is no longer finite")
    _dorm2r(_char(_LEFT), _char(NORMAL), size, size, size, matrix, size, tauq, u, size, work, info)
    _dorml2(
        _char(_RIGHT), _char(NORMAL), size, _int(n - 1), _int(n - 1),
        matrix + lead, size, taup, vt + lead, size, work, info,
    )  # fmt: skip


@compiled
def _pseudo_inverse(space, n, matrix):  # type: ignore[no-untyped-def]
    """Replace the (n, n) matrix at address `matrix` by its pseudo-inverse, as numba's `pinv`."""
    _singular_values(space, n, matrix)
    singular = space.singular
    cut_at = singular[0] * _RCOND
    rank = 0
    for k in range(n):
        if singular[k] > cut_at:
            singular[k] = 1.0 / singular[k]
            rank = k
    rank += 1
    for i in range(n):
        for j in range(rank):
            space.vectors[36 + i * n + j] = space.vectors[36 + i * n + j] * singular[j]
    u = address_of(space.vectors)
    multiply(TRANSPOSED, TRANSPOSED, n, n, rank, u + _DOUBLE * 36, n, u, n, matrix)


@compiled
def _task_inertia(space, rows, jacobian, result):  # type: ignore[no-untyped-def]
    """Write pinv(J M^-1 J^T) of `rows` rows of the Jacobian at address `jacobian` to `result`.

    The product is symmetric in exact arithmetic only: as in numba, it is formed in C order and
    decomposed in Fortran order.
    """
    inverse, product = address_of(space.mass_inverse), address_of(space.products)
    symmetric = product + _DOUBLE * 49
    multiply(TRANSPOSED, TRANSPOSED, SEVEN, rows, SEVEN, inverse, SEVEN, jacobian, SIX, product)
    multiply(NORMAL, NORMAL, rows, rows, SEVEN, jacobian, SIX, product, SEVEN, symmetric)
    for i in range(rows):
        for j in range(rows):
            result[j + i * rows] = space.products[49 + j * rows + i]
    _pseudo_inverse(space, rows, address_of(result))


@compiled
def fill_workspace(space, mass, jacobian):  # type: ignore[no-untyped-def]
    """Fill a workspace whose arrays are pointers; `mass` and `jacobian` are pointers, too."""
    for i in range(49):
        space.mass_inverse[i] = mass[i]
    inverse, pivots = address_of(space.mass_inverse), address_of(space.integers)
    info = pivots + 4 * 64
    _dgetrf(_int(SEVEN), _int(SEVEN), inverse, _int(SEVEN), pivots, info)
    _dgetri(_int(SEVEN), inverse, _int(SEVEN), pivots, address_of(space.work), _int(_BLOCK), info)
    full = address_of(jacobian)
    _task_inertia(space, SIX, full, space.task_inertia)
    _task_inertia(space, THREE, full, space.position_inertia)
    _task_inertia(space, THREE, full + _DOUBLE * 3, space.orientation_inertia)
    product = address_of(space.products)
    jbar = product + _DOUBLE * 49
    multiply(NORMAL, TRANSPOSED, SIX, SEVEN, SEVEN, full, SIX, inverse, SEVEN, product)
    inertia, nullspace = address_of(space.task_inertia), address_of(space.nullspace)
    multiply(TRANSPOSED, NORMAL, SIX, SEVEN, SIX, inertia, SIX, product, SIX, jbar)
    multiply(TRANSPOSED, NORMAL, SEVEN, SEVEN, SIX, full, SIX, jbar, SIX, nullspace)
    for i in range(7):
        for j in range(7):
            at = 7 * i + j
            space.nullspace[at] = (1.0 if i == j else 0.0) - space.nullspace[at]
