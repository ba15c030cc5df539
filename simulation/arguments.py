"""What callers hand to an environment, checked: seeds, indices, actions and other numbers."""

from __future__ import annotations

import math
import operator
from typing import Any

import numpy as np

from common.errors import DlrError, InvalidActionError, SettingError, one_line
from simulation.physics.control import ACTION_DIM
from simulation.starts import SEEDS


def whole_number(value: Any, what: str, error: type[DlrError]) -> int:
    """Return a whole number, Python's or NumPy's, as an int.

    Raises:
        error: `value` is something else; the message names it by `what`.
    """
    try:
        return operator.index(value)
    except TypeError:
        raise error(f"{what} is a whole number, not a {type(value).__name__}") from None


def real_numbers(values: Any, what: str, error: type[DlrError]) -> np.ndarray:
    """Return an array of real numbers of any shape as contiguous float64.

    Raises:
        error: `values` are ragged, complex, text or a tensor that has to be detached or fetched
            first; the message names them by `what`.
    """
    try:
        array = np.asarray(values)
        return array.astype(np.float64, order="C", casting="same_kind", copy=False)
    except (TypeError, ValueError, RuntimeError) as cause:
        raise error(f"{what} is an array of real numbers: {one_line(cause)}") from cause


def check_seed(seed: Any) -> int:
    """Return a reset's seed as an int.

    Raises:
        SettingError: it is no whole number, or outside 0..2^32 - 1.
    """
    number = whole_number(seed, "a seed", SettingError)
    if not 0 <= number < SEEDS:
        raise SettingError(f"the seed {number} is outside 0..{SEEDS - 1}")
    return number


def check_action(action: Any) -> np.ndarray:
    """Return `action` as a contiguous float64 (7,).

    Raises:
        InvalidActionError: no real numbers, wrong shape, NaN or infinity.
    """
    array = real_numbers(action, "an action", InvalidActionError)
    if array.shape != (ACTION_DIM,):
        raise InvalidActionError(f"an action has shape (7,), but the given one has {array.shape}")
    if not all(map(math.isfinite, array.tolist())):
        raise InvalidActionError(f"the action contains NaN or infinity: {array.tolist()}")
    return array


def check_actions(actions: Any, count: int) -> np.ndarray:
    """Return `actions` as float64 (count, 7).

    Raises:
        InvalidActionError: no real numbers, or wrong shape.
    """
    array = real_numbers(actions, "a batch of actions", InvalidActionError)
    if array.shape != (count, ACTION_DIM):
        raise InvalidActionError(
            f"actions have shape ({count}, {ACTION_DIM}), but the given ones have {array.shape}"
        )
    return array
