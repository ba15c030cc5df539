"""Statistics of actions and states that travel with a dataset, in each trainer's own form.

Memory stays flat: the numbers go through a file, one column of which is in memory at a time.
"""

from __future__ import annotations

import base64
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from common.files import write_json

ACTION, STATE, JOINTS = slice(0, 7), slice(7, 15), slice(15, 22)
"""Where they lie in a row of numbers."""
WIDTH = 22
FILES = ("statistics_openvla.json", "statistics_openpi.json", "statistics_lerobot.json")
_QUANTILES = {"q01": 0.01, "q99": 0.99}
_Numbers = dict[str, list[float]]


def encode_numbers(parts: Sequence[np.ndarray]) -> str:
    """Return actions (T, 7), states (T, 8) and joints (T, 7), float32, as text."""
    return base64.b64encode(np.concatenate(parts, axis=1).astype("<f4").tobytes()).decode()


def decode_numbers(text: str) -> np.ndarray:
    """Return what `encode_numbers` was given, side by side: float32 (T, 22)."""
    return np.frombuffer(base64.b64decode(text), "<f4").reshape(-1, WIDTH)


def openness(gripper: np.ndarray) -> np.ndarray:
    """Return OpenVLA's gripper action, 1 to open and 0 to close, of the environment's.

    As `libero_dataset_transform` in OpenVLA's `rlds/oxe/transforms.py`: clipped to [0, 1], then
    inverted. Same shape.
    """
    return 1 - np.clip(gripper, 0, 1)


def write_statistics(folder: Path, name: str, episodes: Iterable[np.ndarray]) -> dict[str, Any]:
    """Write the statistics of all episodes in the forms of OpenVLA, openpi and LeRobot.

    Args:
        folder: receives `FILES`.
        name: the dataset's name, under which OpenVLA looks them up.
        episodes: float32 (T, 22) each: actions, states, joints.

    Returns:
        `action`, `openness` (of the gripper, as OpenVLA takes it) and `state`: statistic -> its
        numbers; and how many `transitions` and `trajectories` they are of.

    Raises:
        OutputError: a file cannot be written.
    """
    with tempfile.TemporaryFile(dir=folder) as file:
        trajectories = 0
        for numbers in episodes:
            trajectories += 1
            file.write(np.ascontiguousarray(numbers[:, : JOINTS.start], "<f4").tobytes())
        file.flush()
        rows = np.memmap(file, "<f4", "r").reshape(-1, JOINTS.start)
        columns = [moments(np.array(rows[:, column])) for column in range(rows.shape[1])]
        gripper = moments(openness(np.array(rows[:, ACTION.stop - 1])))
        transitions = len(rows)
        del rows
    found = {
        "action": _join(columns[ACTION]),
        "openness": _join([gripper]),
        "state": _join(columns[STATE]),
        "transitions": transitions,
        "trajectories": trajectories,
    }
    forms = (openvla_form(name, found), openpi_form(found), lerobot_form(found))
    for file_name, form in zip(FILES, forms, strict=True):
        write_json(folder / file_name, form)
    return found


def moments(values: np.ndarray) -> dict[str, float]:
    """Return mean, deviation, extremes and exact quantiles of numbers, (N,)."""
    exact = values.astype(np.float64)
    found = {"mean": exact.mean(), "std": exact.std(), "min": exact.min(), "max": exact.max()}
    found |= {name: np.quantile(exact, share) for name, share in _QUANTILES.items()}
    return {name: float(value) for name, value in found.items()}


def openvla_form(name: str, found: Mapping[str, Any]) -> dict[str, Any]:
    """Return statistics as OpenVLA's `dataset_statistics.json` holds them.

    The gripper is OpenVLA's (see `openness`) and masked. `proprio` is our state of 8 numbers;
    OpenVLA itself, which does not look at it, writes zeros there.
    """
    action, gripper = found["action"], found["openness"]
    merged = {key: values[:-1] + gripper[key] for key, values in action.items()}
    return {
        name: {
            "action": {**merged, "mask": [True] * 6 + [False]},
            "proprio": found["state"],
            "num_transitions": found["transitions"],
            "num_trajectories": found["trajectories"],
        }
    }


def openpi_form(found: Mapping[str, Any]) -> dict[str, Any]:
    """Return statistics as openpi's `norm_stats.json` holds them, of `state` and `actions`."""

    def kept(part: _Numbers) -> _Numbers:
        return {name: part[name] for name in ("mean", "std", "q01", "q99")}

    return {"norm_stats": {"state": kept(found["state"]), "actions": kept(found["action"])}}


def lerobot_form(found: Mapping[str, Any]) -> dict[str, Any]:
    """Return statistics as `meta/stats.json` of a LeRobotDataset holds them, pictures left out."""
    count = [found["transitions"]]
    return {
        "observation.state": {**found["state"], "count": count},
        "action": {**found["action"], "count": count},
    }


def _join(columns: Sequence[Mapping[str, float]]) -> _Numbers:
    return {name: [column[name] for column in columns] for name in columns[0]}
