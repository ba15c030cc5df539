from __future__ import annotations

from typing import NamedTuple

import numba
import numpy as np
import pytest
from robosuite.utils.control_utils import opspace_matrices as upstream_matrices

from simulation.physics.lanes import pointers
from simulation.physics.opspace import Workspace, fill_workspace


class _Matrices(NamedTuple):
    mass: np.ndarray
    jacobian: np.ndarray


@numba.njit(cache=True)
def opspace_matrices(space, mass, jacobian):
    """Fill a `Workspace` from the mass matrix (7, 7) and the Jacobian (6, 7), Fortran order."""
    given = pointers(_Matrices(mass, jacobian))
    fill_workspace(pointers(space), given.mass, given.jacobian)


def _random_arm(rng: np.random.Generator, case: int) -> tuple[np.ndarray, np.ndarray]:
    """Return a mass matrix and a Jacobian, singular in every fourth case."""
    root = rng.normal(size=(7, 7)) * rng.uniform(0.1, 1.0)
    mass = root @ root.T + np.diag(rng.uniform(0.05, 1.0, 7))
    jacobian = rng.normal(size=(6, 7)) * 10.0 ** rng.uniform(-2.0, 1.0)
    if case % 4 == 1:
        jacobian[:, rng.integers(7)] = 0.0
    if case % 8 == 2:
        jacobian[2] = jacobian[1]
    if case % 8 == 6:
        jacobian[:] = np.outer(jacobian[0, :6], jacobian[1])
    return np.asfortranarray(mass), np.asfortranarray(jacobian)


def test_every_bit_equals_robosuites():
    rng = np.random.default_rng(0)
    space = Workspace.zeros()
    for case in range(2000):
        mass, jacobian = _random_arm(rng, case)
        expected = upstream_matrices(
            mass, jacobian, np.asfortranarray(jacobian[:3]), np.asfortranarray(jacobian[3:])
        )
        opspace_matrices(space, mass, jacobian)
        ours = (
            space.task_inertia,
            space.position_inertia,
            space.orientation_inertia,
            space.nullspace,
        )
        for matrix, other in zip(ours, expected, strict=True):
            assert np.array_equal(matrix, other)


def test_a_state_that_is_not_finite_raises():
    mass, jacobian = _random_arm(np.random.default_rng(0), 0)
    jacobian[1, 2] = np.nan
    with pytest.raises(ValueError, match="finite"):
        opspace_matrices(Workspace.zeros(), mass, jacobian)
