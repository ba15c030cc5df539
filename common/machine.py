"""The machine: how many cores there are to use, and what figures were measured with."""

from __future__ import annotations

import ctypes
import functools
import os
import platform
from pathlib import Path
from typing import Any

from common.errors import SettingError

CORES_VARIABLE = "DLR_CORES"
"""Environment variable with how many cores to use, where it is not all."""
_VARIABLES = (CORES_VARIABLE, "OMP_NUM_THREADS", "LP_NUM_THREADS", "MUJOCO_GL")
"""Environment variables that change speed: cores, threads of BLAS and OpenGL, OpenGL's backend."""

_INSTRUCTION_SETS = {
    "ATEN_CPU_CAPABILITY": "avx2",
    "MKL_CBWR": "AVX2",
    "ONEDNN_MAX_CPU_ISA": "AVX2",
    "OPENBLAS_CORETYPE": "Haswell",
    "NPY_DISABLE_CPU_FEATURES": "X86_V4 AVX512_ICL AVX512_SPR",
}
"""Environment variables by which PyTorch, its libraries and NumPy choose their instructions."""

_MMAP_THRESHOLD = -3
"""glibc's `M_MMAP_THRESHOLD`."""


def cores() -> int:
    """Return how many cores to use: `DLR_CORES`, or all that this process may use.

    Raises:
        SettingError: the variable is no positive number.
    """
    given = os.environ.get(CORES_VARIABLE, "")
    if not given:
        return len(os.sched_getaffinity(0))
    if not given.isdecimal() or int(given) < 1:
        raise SettingError(f"{CORES_VARIABLE} is a number of cores, such as 4, not {given!r}")
    return int(given)


def instruction_sets() -> dict[str, str]:
    """Return the environment in which libraries use the same instructions on all x86-64 types.

    A library that chooses by the processor sums in another order on another type, so the last
    bits of what is trained differ. It looks as it loads: give this to a fresh process. On other
    processors than x86-64 with AVX2 it is empty. What the caller has set stays.
    """
    if "avx2" not in _first_field(Path("/proc/cpuinfo"), "flags").split():
        return {}
    return {name: os.environ.get(name, value) for name, value in _INSTRUCTION_SETS.items()}


def describe_machine() -> dict[str, Any]:
    """Return processor, cores that this process may use, memory and load, plain JSON types."""
    return {
        "cpu": _first_field(Path("/proc/cpuinfo"), "model name") or platform.processor(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "system": f"{platform.system()} {platform.machine()}",
        "load_average": [round(load, 2) for load in os.getloadavg()],
    }


def describe_environment() -> dict[str, str]:
    """Return those environment variables that change speed and are set."""
    return {name: os.environ[name] for name in _VARIABLES if name in os.environ}


def _first_field(path: Path, field: str) -> str:
    lines = path.read_text().splitlines() if path.exists() else []
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith(field)), "")


@functools.cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None)


def return_freed_memory() -> None:
    """Have the C library give freed memory back to the system, where it is glibc."""
    trim = getattr(_libc(), "malloc_trim", None)
    if trim is not None:
        trim(0)


def return_large_blocks(size: int) -> None:
    """Have blocks of at least `size` bytes given back as they are freed from now on, by glibc.

    It otherwise keeps them once some were freed, which is faster and scatters what is left.
    """
    limit = getattr(_libc(), "mallopt", None)
    if limit is not None:
        limit(_MMAP_THRESHOLD, size)
