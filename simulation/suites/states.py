"""Initial states of published suites: NumPy's archives and torch's, arrays and nothing else."""

from __future__ import annotations

import tokenize
import zipfile
from pathlib import Path

import numpy as np

from common.errors import InvalidStateError, one_line
from simulation.tasks import PICKLE_FAULTS, load_array_pickle

_MOST_BYTES = 2**26


def read_states(file: Path, remedy: str) -> np.ndarray:
    """Return initial states, float64 (n, 1 + nq + nv).

    `.npz` is read without pickles; any other file is torch's, read by the unpickler that knows
    arrays alone.

    Args:
        file: the file.
        remedy: what to do where it is damaged, for the message.

    Raises:
        InvalidStateError: it is missing, damaged, or holds something else.
    """
    array = _read_npz(file, remedy) if file.suffix == ".npz" else load_array_pickle(file, remedy)
    states = np.atleast_2d(array)
    numbers = states.dtype.kind == "f" and states.ndim == 2 and states.size
    if not numbers or not np.isfinite(states).all():
        raise InvalidStateError(f"{file} does not hold finite 2-D states: {remedy}")
    return states.astype(np.float64)


def _read_npz(file: Path, remedy: str) -> np.ndarray:
    try:
        with zipfile.ZipFile(file) as archive:
            members = archive.infolist()
            if len(members) != 1 or members[0].file_size > _MOST_BYTES:
                raise ValueError(f"{len(members)} arrays, or too large ones, are declared")
        with np.load(file, allow_pickle=False) as content:
            return np.asarray(content[content.files[0]])
    except (*PICKLE_FAULTS, MemoryError, tokenize.TokenError) as error:
        raise InvalidStateError(
            f"cannot read init states from {file}: {one_line(error)}. {remedy}"
        ) from error
