from __future__ import annotations

from typing import NamedTuple

import mujoco
import numba
import numpy as np
import pytest

from simulation.physics.factor import dot
from simulation.physics.lanes import pointers


class Pair(NamedTuple):
    left: np.ndarray
    right: np.ndarray


class Mixed(NamedTuple):
    number: int
    inner: Pair
    counts: np.ndarray


@numba.njit
def _dot(pair, n):
    p = pointers(pair)
    return dot(p.left, p.right, n)


@numba.njit
def _change(mixed):
    p = pointers(mixed)
    p.inner.right[1] = p.inner.left[2] + p.number
    p.counts[0] = 7


@pytest.mark.parametrize("n", range(24))
def test_dot_products_have_mujocos_bits(n):
    rng = np.random.default_rng(n)
    for _ in range(20):
        a, b = rng.normal(size=(2, 24)) * 10.0 ** rng.integers(-6, 6, (2, 24))
        assert _dot(Pair(a, b), n) == mujoco.mju_dot(a[:n], b[:n])


def test_pointers_share_the_memory_of_nested_arrays():
    mixed = Mixed(5, Pair(np.arange(3.0), np.zeros(2)), np.zeros(2, np.int64))
    _change(mixed)
    assert mixed.inner.right.tolist() == [0.0, 7.0]
    assert mixed.counts.tolist() == [7, 0]
