"""Actions as OpenVLA has them: seven tokens each, normalised by a dataset's quantiles."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from dataset_builders.describing.statistics import openness
from vla_adapters.adapter import AdapterError
from vla_adapters.samples import ACTION_DIM

Array = npt.NDArray[np.float64]
Tokens = npt.NDArray[np.int64]


class ActionTokenizer:
    """Rounds values in [-1, 1] to intervals, each of which is one of a vocabulary's last tokens.

    Follows prismatic/vla/action_tokenizer.py: interval i = 1, 2, ... is token `vocabulary - i`,
    and the last edge is an interval of its own, read back as the one before it.

    Args:
        vocabulary: tokens of the tokenizer, without padding of the embedding.
        bins: edges of the intervals.
    """

    def __init__(self, vocabulary: int, bins: int = 256) -> None:
        self.vocabulary = vocabulary
        self.bins = bins
        self._edges = np.linspace(-1.0, 1.0, bins)
        self._centres = (self._edges[:-1] + self._edges[1:]) / 2

    def encode(self, actions: npt.NDArray[np.floating[Any]]) -> Tokens:
        """Return the tokens of normalised actions, of the same shape; beyond [-1, 1] is clipped."""
        return self.vocabulary - np.digitize(np.clip(actions, -1.0, 1.0), self._edges)

    def decode(self, tokens: npt.NDArray[np.integer[Any]]) -> Array:
        """Return the middles of the intervals, of the same shape.

        Tokens that are no actions are read as the interval next to them.
        """
        index = np.clip(self.vocabulary - tokens - 1, 0, len(self._centres) - 1)
        return self._centres[index]


@dataclass(frozen=True)
class ActionStatistics:
    """What a dataset's actions are normalised by; the gripper is as OpenVLA has it."""

    q01: Array
    """Quantiles that become -1, (7,)."""
    q99: Array
    """Quantiles that become 1, (7,)."""
    mask: npt.NDArray[np.bool_]
    """Which values are normalised: all but the gripper, (7,)."""
    constant: npt.NDArray[np.bool_]
    """Which normalised values never change in the data, and are learnt as 0, (7,)."""

    @classmethod
    def from_json(cls, norm_stats: Mapping[str, Any], key: str) -> ActionStatistics:
        """Read a dataset's entry of `norm_stats`.

        Raises:
            AdapterError: there is none of this name, or it lacks something.
        """
        if key not in norm_stats:
            known = ", ".join(sorted(norm_stats)) or "none"
            raise AdapterError(f"no action statistics {key!r} in this checkpoint; it has {known}")
        try:
            action = norm_stats[key]["action"]
            q01, q99 = (np.asarray(action[name], np.float64) for name in ("q01", "q99"))
            mask = np.asarray(action.get("mask", [True] * len(q01)), bool)
            low, high = (np.asarray(action.get(n, v)) for n, v in (("min", q01), ("max", q99)))
        except (KeyError, TypeError, ValueError) as error:
            raise AdapterError(f"the action statistics {key!r} are malformed: {error!r}") from error
        if not all(v.shape == (ACTION_DIM,) for v in (q01, q99, mask, low, high)):
            raise AdapterError(f"the action statistics {key!r} are not of {ACTION_DIM} values")
        return cls(q01, q99, mask, (low == high) & mask)

    def normalise(self, actions: npt.NDArray[np.floating[Any]]) -> npt.NDArray[np.float32]:
        """Return what is learnt, float32.

        Follows prismatic/vla/datasets/rlds/utils/data_utils.py, BOUNDS_Q99, but for a gripper that
        the data never move: there 0 is learnt, which closes it, here what it is.

        Args:
            actions: with the gripper of `open_gripper`. Shape: (..., 7).
        """
        scaled = 2 * (actions - self.q01) / (self.q99 - self.q01 + 1e-8) - 1
        result = np.where(self.mask, np.clip(scaled, -1, 1), actions)
        return np.where(self.constant, 0.0, result).astype(np.float32)

    def unnormalise(self, actions: npt.NDArray[np.floating[Any]]) -> Array:
        """Return the actions that normalised ones stand for. Shape: (..., 7)."""
        scaled = 0.5 * (actions + 1) * (self.q99 - self.q01) + self.q01
        return np.where(self.mask, scaled, actions)


def open_gripper(actions: npt.NDArray[np.floating[Any]]) -> Array:
    """Return the environment's actions with OpenVLA's gripper: 1 opens, 0 closes.

    Follows `libero_dataset_transform` in prismatic/vla/datasets/rlds/oxe/transforms.py.

    Args:
        actions: gripper -1 opens, +1 closes. Shape: (..., 7).
    """
    result = np.array(actions, np.float64)
    result[..., -1] = openness(result[..., -1])
    return result


def environment_gripper(actions: npt.NDArray[np.floating[Any]]) -> Array:
    """Return OpenVLA's actions with the environment's gripper, open or closed and nothing between.

    Follows experiments/robot/libero/run_libero_eval.py.

    Args:
        actions: gripper 1 opens, 0 closes. Shape: (..., 7).
    """
    result = np.array(actions, np.float64)
    result[..., -1] = -np.sign(2 * result[..., -1] - 1)
    return result
