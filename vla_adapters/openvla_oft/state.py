"""The robot's state as OpenVLA-OFT is given it: scaled by its dataset's quantiles."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from vla_adapters.adapter import AdapterError
from vla_adapters.samples import STATE_DIM

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class StateStatistics:
    """What a dataset's states are normalised by."""

    q01: Array
    """Quantiles that become -1, (8,)."""
    q99: Array
    """Quantiles that become 1, (8,)."""
    mask: npt.NDArray[np.bool_]
    """Which values are normalised, (8,)."""

    @classmethod
    def from_json(cls, norm_stats: Mapping[str, Any], key: str) -> StateStatistics:
        """Read the `proprio` of a dataset's entry of `norm_stats`.

        Raises:
            AdapterError: there is none, or it is a plain OpenVLA's, which has zeros there.
        """
        try:
            content = norm_stats[key]["proprio"]
            q01, q99 = (np.asarray(content[name], np.float64) for name in ("q01", "q99"))
            mask = np.asarray(content.get("mask", [True] * len(q01)), bool)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise AdapterError(
                f"the state's statistics {key!r} are missing or malformed ({error!r}): copy the "
                "dataset_statistics.json that was saved with the OpenVLA-OFT"
            ) from error
        if not all(v.shape == (STATE_DIM,) for v in (q01, q99, mask)) or not (q99 > q01).any():
            raise AdapterError(
                f"the state's statistics {key!r} are not quantiles of {STATE_DIM} numbers: copy "
                "the dataset_statistics.json that was saved with the OpenVLA-OFT"
            )
        return cls(q01, q99, mask)

    def normalise(self, state: Array) -> npt.NDArray[np.float32]:
        """Return what the network is given, within [-1, 1].

        Follows `normalize_proprio` in experiments/robot/openvla_utils.py, BOUNDS_Q99.

        Args:
            state: end-effector position, axis-angle, fingers. Shape: (..., 8).
        """
        scaled = 2 * (state - self.q01) / (self.q99 - self.q01 + 1e-8) - 1
        return np.clip(np.where(self.mask, scaled, state), -1, 1).astype(np.float32)
