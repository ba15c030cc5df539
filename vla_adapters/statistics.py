"""Statistics of actions and states: computed once, and kept beside the data."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from common.errors import DatasetError
from common.json_files import read_sealed, write_sealed
from dataset_builders.describing.statistics import openness
from vla_adapters.records import Numbers, Records
from vla_adapters.samples import ACTION_DIM, STATE_DIM, Moments, Statistics

_SIZES = {"action": ACTION_DIM, "state": STATE_DIM, "openness": 1}
_NUMBERS = {"transitions": int, "trajectories": int, "dataset": str, "digest": str}
_REMEDY = "delete the file, and the statistics are computed again from the data"


def statistics_of(records: Records, episodes: Sequence[int] | Numbers) -> Statistics:
    """Return the statistics of chosen episodes, from beside the data if they lie there.

    Otherwise they are computed, in one pass that decodes no picture, and stored.

    Args:
        records: the data.
        episodes: numbers of the episodes, such as a reader's `episodes`.

    Raises:
        DatasetError: a shard is damaged, or the stored statistics are.
        OutputError: they can be written neither beside the data nor in the cache folder.
    """
    digest = records.digest(episodes)
    path = records.folders[0].beside(f"dlr_statistics_{digest[:16]}.json")
    if path.is_file():
        stored = read_statistics(path)
        if stored.digest == digest:
            return dataclasses.replace(stored, dataset=records.name)
    found = compute_statistics(records, episodes)
    write_statistics(path, found)
    return found


def compute_statistics(records: Records, episodes: Sequence[int] | Numbers) -> Statistics:
    """Return the statistics of chosen episodes, read anew; exact quantiles over all steps."""
    chosen = [records.episode(int(number)) for number in episodes]
    actions = np.concatenate([episode.actions for episode in chosen])
    states = np.concatenate([episode.states for episode in chosen])
    return Statistics(
        action=moments(actions),
        state=moments(states),
        openness=moments(openness(actions[:, -1:])),
        transitions=len(actions),
        trajectories=len(chosen),
        dataset=records.name,
        digest=records.digest(episodes),
    )


def moments(values: npt.NDArray[np.float32]) -> Moments:
    """Return the moments of values, (steps, size), over the steps."""
    exact = values.astype(np.float64)
    low, high = np.quantile(exact, (0.01, 0.99), axis=0)
    return Moments(
        exact.mean(axis=0), exact.std(axis=0), exact.min(axis=0), exact.max(axis=0), low, high
    )


def as_json(statistics: Statistics) -> dict[str, Any]:
    """Return the statistics as JSON can hold them, exactly."""
    parts = {name: _as_lists(getattr(statistics, name)) for name in _SIZES}
    return {**parts, **{name: getattr(statistics, name) for name in _NUMBERS}}


def from_json(content: Any, source: str) -> Statistics:
    """Return the statistics that `as_json` made JSON of.

    Args:
        content: the JSON.
        source: where it came from, for messages.

    Raises:
        DatasetError: something is missing, unknown, of another size or not finite.
    """
    fields = _fields(content, {*_SIZES, *_NUMBERS}, source)
    for name, kind in _NUMBERS.items():
        if type(fields[name]) is not kind:
            raise DatasetError(f"{source}: {name} is no {kind.__name__}: {_REMEDY}")
    values: dict[str, Any] = {name: fields[name] for name in _NUMBERS}
    for name, size in _SIZES.items():
        values[name] = _moments(fields[name], size, f"{source}: {name}")
    return Statistics(**values)


def write_statistics(path: Path, statistics: Statistics) -> None:
    """Write statistics as JSON, whole or not at all."""
    write_sealed(path, as_json(statistics))


def read_statistics(path: Path) -> Statistics:
    """Return the statistics that a file holds.

    Raises:
        DatasetError: there is none, or it is not what `write_statistics` writes.
    """
    return from_json(read_sealed(path, "statistics", DatasetError, _REMEDY), str(path))


def _as_lists(part: Moments) -> dict[str, list[float]]:
    return {name: value.tolist() for name, value in vars(part).items()}


def _fields(content: Any, names: set[str], source: str) -> dict[str, Any]:
    if not isinstance(content, dict):
        raise DatasetError(f"{source} is no table of statistics: {_REMEDY}")
    if content.keys() != names:
        missing, unknown = sorted(names - content.keys()), sorted(content.keys() - names)
        raise DatasetError(f"{source} lacks {missing} and has unknown {unknown}: {_REMEDY}")
    return content


def _moments(content: Any, size: int, source: str) -> Moments:
    names = {field.name for field in dataclasses.fields(Moments)}
    arrays = {}
    for name, values in _fields(content, names, source).items():
        numbers = isinstance(values, list) and all(type(value) in (int, float) for value in values)
        if not numbers or len(values) != size or not np.isfinite(values).all():
            raise DatasetError(f"{source}: {name} is not {size} finite numbers: {_REMEDY}")
        arrays[name] = np.array(values, np.float64)
    return Moments(**arrays)
