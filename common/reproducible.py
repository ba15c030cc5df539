"""Computing that gives the same bits again, whatever else the process does."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from threadpoolctl import threadpool_limits


@contextmanager
def reproducible(threads: int = 1) -> Iterator[None]:
    """Compute with deterministic algorithms on a fixed number of threads, then restore all.

    NumPy's products, too: OpenBLAS adds up in another order with another number.

    Matrices are multiplied in full precision, though a model such as pi0, loaded before, has asked
    this process for less.
    """
    before = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    precision = torch.get_float32_matmul_precision()
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(True)
    torch.set_float32_matmul_precision("highest")
    try:
        with threadpool_limits(threads, user_api="blas"):
            yield
    finally:
        torch.set_num_threads(before[0])
        torch.use_deterministic_algorithms(before[1])
        torch.set_float32_matmul_precision(precision)
