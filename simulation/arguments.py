"""What callers hand to an environment, checked: seeds and actions."""

from __future__ import annotations

import math
import operator
from typing import Any

import numpy as np

from common.errors import DlrError, InvalidActionError, SettingError
from simulation.physics.control import ACTION_DIM

SEEDS = 2**32
"""Seeds are below it: NumPy's global generator, from which upstream draws, takes no larger ones."""


def whole_number(value: Any, what: str, error: type[DlrError]) -> int:
    """Return a whole number, Python's or NumPy's, as an int.

    Raises:
        error: `value` is something else; the message names it by `what`.
    """
    try:
        return operator.index(value)
    except TypeError:
        raise error(f"{what} is a whole number, not a {type(value).__name__}") from None


def check_seed(seed: Any) -> int:
    """Return a reset's seed as an int.

    Raises:
        SettingError: it is no whole number, or outside 0..2^32 - 1.
    """
    number = whole_number(seed, "a seed", SettingError)
    if not 0 <= number < SEEDS:
        raise SettingError(f"the seed {number} is outside 0..{SEEDS - 1}")
    return number


def check_action(action: np.ndarray) -> np.ndarray:
    """Return `action` as a contiguous float64 (7,).

    Raises:
        InvalidActionError: wrong shape, NaN or infinity.
    """
    array = np.ascontiguousarray(action, dtype=np.float64)
    if array.shape != (ACTION_DIM,):
        raise InvalidActionError(f"an action has shape (7,), but the given one has {array.shape}")
    if not all(map(math.isfinite, array.tolist())):
        raise InvalidActionError(f"the action contains NaN or infinity: {array.tolist()}")
    return array
