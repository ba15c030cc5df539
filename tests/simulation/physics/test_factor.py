from __future__ import annotations

from typing import NamedTuple

import mujoco
import numba
import numpy as np
import pytest

from simulation.physics import factor
from simulation.physics.lanes import pointers


class Work(NamedTuple):
    matrix: np.ndarray
    diagonal: np.ndarray
    start: np.ndarray
    end: np.ndarray
    vectors: np.ndarray
    out: np.ndarray


@numba.njit(error_model="numpy")
def _factorise(work, nv, width):
    w = pointers(work)
    factor.factorise(w.matrix, w.diagonal, nv, width, w.start, w.end)


@numba.njit(error_model="numpy")
def _update(work, count, first, last, width, sign):
    w = pointers(work)
    return factor.update(w.matrix, w.diagonal, w.vectors, count, first, last, width, sign)


@numba.njit(error_model="numpy")
def _solve(work, nv, width):
    w = pointers(work)
    factor.solve(w.matrix, w.diagonal, nv, width, w.start, w.end, w.vectors, w.out)


def _components(nv: int, rng: np.random.Generator) -> list[np.ndarray]:
    """Divide dofs 0 .. nv - 1 into components of one or two ranges that may interleave."""
    cuts = np.sort(rng.choice(np.arange(1, nv), 4, replace=False))
    parts = np.split(np.arange(nv), cuts)
    first, second = rng.choice(5, 2, replace=False)
    joined = np.sort(np.concatenate((parts[first], parts[second])))
    return [joined] + [part for k, part in enumerate(parts) if k not in (first, second)]


def _positive(nv: int, components: list[np.ndarray], rng: np.random.Generator) -> np.ndarray:
    matrix = np.zeros((nv, nv))
    for dofs in components:
        root = rng.normal(size=(len(dofs), len(dofs)))
        matrix[np.ix_(dofs, dofs)] = root @ root.T + 0.1 * np.eye(len(dofs))
    return (matrix + matrix.T) / 2.0


def _work(matrix: np.ndarray, components: list[np.ndarray]) -> tuple[Work, int]:
    nv = len(matrix)
    width = -(-nv // 4) * 4
    padded = np.zeros((nv, width))
    padded[:, :nv] = np.triu(matrix)
    start, end = np.arange(width), np.zeros(width, np.int64)
    for dofs in components:
        start[dofs], end[dofs] = dofs.min(), dofs.max() + 1
    for block in range(0, width, 4):
        start[block : block + 4] = start[block : min(block + 4, nv)].min()
    zeros = np.zeros((6, width))
    return Work(padded.ravel(), np.zeros(width), start, end, zeros.ravel(), np.zeros(width)), width


def _lower(work: Work, nv: int, width: int) -> np.ndarray:
    """Return the factor as MuJoCo stores it, zero above the diagonal."""
    matrix = np.triu(work.matrix.reshape(nv, width)[:, :nv], 1).T
    return matrix + np.diag(work.diagonal[:nv])


@pytest.mark.parametrize("nv", [9, 16, 21, 34, 36, 39])
def test_factor_updates_and_solution_have_mujocos_bits(nv):
    rng = np.random.default_rng(nv)
    for _ in range(20):
        components = _components(nv, rng)
        matrix = _positive(nv, components, rng)
        work, width = _work(matrix, components)
        mujoco.mju_cholFactor(matrix, 1e-15)
        _factorise(work, nv, width)
        assert np.array_equal(_lower(work, nv, width), np.tril(matrix))
        for sign, count in ((1.0, 3), (-1.0, 1), (1.0, 6)):
            dofs = components[rng.integers(len(components))]
            vectors = np.zeros((count, width))
            vectors[:, dofs] = rng.normal(size=(count, len(dofs)))
            if sign < 0.0:
                vectors[0, dofs] = matrix[dofs, dofs[0]] * 0.5
            work.vectors[: count * width] = vectors.ravel()
            first, last = int(work.start[dofs[0]]), int(dofs.max()) + 1
            lost = _update(work, count, first, last, width, sign)
            ranks = [mujoco.mju_cholUpdate(matrix, v[:nv].copy(), int(sign > 0)) for v in vectors]
            assert lost == sum(nv - rank for rank in ranks)
            assert np.array_equal(_lower(work, nv, width), np.tril(matrix))
        right = rng.normal(size=nv)
        work.vectors[:nv] = right
        _solve(work, nv, width)
        expected = np.zeros(nv)
        mujoco.mju_cholSolve(expected, matrix, right)
        assert np.array_equal(work.out[:nv], expected)


def test_an_indefinite_matrix_is_clamped_as_mujoco_does():
    components = [np.arange(6)]
    matrix = np.diag([1.0, -2.0, 3.0, 1e-20, 2.0, 1.0])
    work, width = _work(matrix, components)
    mujoco.mju_cholFactor(matrix, 1e-15)
    _factorise(work, 6, width)
    assert np.array_equal(_lower(work, 6, width), np.tril(matrix))
